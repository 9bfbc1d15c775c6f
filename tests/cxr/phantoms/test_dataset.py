"""Phantoms look like chests, are reproducible, and reveal the label only through the finding."""

import json
import re
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from cxr.model import preprocessing
from cxr.phantoms.dataset import MANIFEST, phantom, write_phantoms


def draw(label="NORMAL", seed=0, **options):
    return phantom(label, rng=np.random.default_rng(seed), **options)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.jpeg"))}


@pytest.fixture(scope="module")
def small_set(tmp_path_factory):
    return write_phantoms(tmp_path_factory.mktemp("phantoms"), patients=8, size=96, seed=3)


@pytest.fixture(scope="module")
def many():
    """Thumbnails and labels of 200 patients with one image each."""
    labels = np.arange(200) % 2
    chests = [draw(("NORMAL", "PNEUMONIA")[label], seed, size=64) for seed, label in enumerate(labels)]
    return np.stack(chests), labels


@pytest.mark.parametrize("size", [32, 65, 256])
def test_image_is_greyscale_bytes_of_the_asked_size(size):
    image = draw(size=size)
    assert image.dtype == np.uint8
    assert image.shape == (size, size)
    assert np.ptp(image) > 128


def test_same_seed_same_image_and_other_seed_another():
    assert np.array_equal(draw(seed=5), draw(seed=5))
    assert not np.array_equal(draw(seed=5), draw(seed=6))


def test_average_chest_has_lungs_spine_and_a_heart_on_the_right_of_the_image():
    mean = np.mean([draw(seed=seed, size=128) for seed in range(16)], axis=0)
    right_lung, left_lung = mean[35:75, 24:44].mean(), mean[35:75, 88:104].mean()
    spine, belly = mean[35:75, 61:67].mean(), mean[116:, 40:88].mean()
    assert max(right_lung, left_lung) + 40 < min(spine, belly)
    # Lower middle, spine left out: the heart leans to the patient's left, which is the image's right.
    assert mean[70:90, 72:90].mean() > mean[70:90, 38:56].mean() + 15
    # The liver lifts the diaphragm on the image's left.
    assert mean[90:100, 30:50].mean() > mean[90:100, 100:112].mean()


@pytest.mark.parametrize("cause", ["bacteria", "virus"])
def test_finding_is_the_only_difference_and_whitens_lung(cause):
    for seed in range(6):
        normal, sick = draw(seed=seed), draw("PNEUMONIA", seed, cause=cause, difficulty=0)
        change = sick.astype(int) - normal
        assert change.mean() > 0.3
        assert np.abs(change[:, :8]).max() <= 12  # outside the chest: only the edge enhancement may carry over
        brightened = change > 15
        assert brightened.any()
        assert normal[brightened].mean() < normal[64:192, 64:192].mean()


def test_virus_is_on_both_sides_and_bacteria_on_one():
    def share_on_weaker_side(cause):
        shares = []
        for seed in range(9):
            change = np.abs(draw("PNEUMONIA", seed, cause=cause, difficulty=0).astype(int) - draw(seed=seed))
            left, right = change[:, :118].sum(), change[:, 138:].sum()
            shares.append(min(left, right) / (left + right))
        return np.median(shares)

    assert share_on_weaker_side("virus") > 0.3
    assert share_on_weaker_side("bacteria") < 0.2


def test_higher_difficulty_makes_the_finding_fainter():
    normal = draw(seed=2).astype(int)
    changes = [np.abs(draw("PNEUMONIA", 2, difficulty=hard) - normal).mean() for hard in (0, 0.5, 1)]
    assert changes[0] > 1.2 * changes[1] > 4 * changes[2] > 0


def test_simple_image_statistics_do_not_reveal_the_label(many):
    chests, labels = many
    statistics = {
        "mean": chests.mean((1, 2)),
        "spread": chests.std((1, 2)),
        "median": np.median(chests, (1, 2)),
        "border": np.concatenate([chests[:, :6].mean((1, 2))[None], chests[:, -6:].mean((1, 2))[None]]).mean(0),
        "noise": np.abs(np.diff(chests.astype(int))).mean((1, 2)),
    }
    areas = {name: roc_auc_score(labels, values) for name, values in statistics.items()}
    assert all(0.3 < area < 0.75 for area in areas.values()), areas


def test_even_a_linear_classifier_learns_something(many):
    chests, labels = many
    pixels = chests.reshape(len(chests), 32, 2, 32, 2).mean((2, 4)).reshape(len(chests), -1) / 255
    model = LogisticRegression(C=0.1, max_iter=300).fit(pixels[:140], labels[:140])
    assert roc_auc_score(labels[140:], model.decision_function(pixels[140:])) > 0.7


def test_wrong_arguments_are_named():
    for wrong in (dict(label="HEALTHY"), dict(size=8), dict(difficulty=1.5), dict(cause="virus")):
        with pytest.raises(ValueError, match=str(*wrong)):
            draw(**wrong)
    with pytest.raises(ValueError, match="cause"):
        draw("PNEUMONIA", cause="fungus")


def test_set_follows_the_naming_rules_and_decodes(small_set):
    rule = r"NORMAL/IM-\d{4}-\d{4}\.jpeg|PNEUMONIA/person\d+_(bacteria|virus)_\d+\.jpeg"
    for name in files(small_set):
        assert re.fullmatch(rule, name)
        xray = preprocessing.decode((small_set / name).read_bytes())
        assert (xray.width, xray.height) == (96, 96)
        assert Image.open(small_set / name).mode == "L"
    assert json.loads((small_set / MANIFEST).read_text())["seed"] == 3


def test_set_has_the_asked_patients_share_and_images(tmp_path):
    write_phantoms(tmp_path, patients=24, images_per_patient=1.5, pneumonia_share=0.25, size=32)
    images_of = Counter(re.match(r"NORMAL/IM-(\d+)|PNEUMONIA/person(\d+)", name).groups() for name in files(tmp_path))
    assert len(images_of) == 24
    assert sum(sick is not None for _, sick in images_of) == 6
    assert 1.2 < np.mean(list(images_of.values())) < 1.8


def test_same_arguments_same_bytes_and_more_patients_change_nothing(small_set, tmp_path):
    assert files(write_phantoms(tmp_path / "again", patients=8, size=96, seed=3)) == files(small_set)
    longer = files(write_phantoms(tmp_path / "longer", patients=11, size=96, seed=3))
    assert len(longer) > len(files(small_set))
    assert {name: longer[name] for name in files(small_set)} == files(small_set)


def test_second_call_writes_nothing_and_an_interrupted_one_is_completed(small_set):
    before, times = files(small_set), {path: path.stat().st_mtime_ns for path in small_set.rglob("*.jpeg")}
    write_phantoms(small_set, patients=8, size=96, seed=3)
    assert {path: path.stat().st_mtime_ns for path in small_set.rglob("*.jpeg")} == times
    lost = next(iter(times))
    lost.unlink()
    write_phantoms(small_set, patients=8, size=96, seed=3)
    assert files(small_set) == before
    assert not list(small_set.rglob(".*")), "nothing half-written stays behind"


def test_two_sets_never_mix(small_set, tmp_path):
    with pytest.raises(ValueError, match="patients=8, not 9"):
        write_phantoms(small_set, patients=9, size=96, seed=3)
    (tmp_path / "NORMAL").mkdir()
    (tmp_path / "NORMAL" / "real.jpeg").write_bytes(b"")
    with pytest.raises(ValueError, match="not phantoms"):
        write_phantoms(tmp_path, patients=1)


def test_images_of_a_patient_share_anatomy(tmp_path):
    write_phantoms(tmp_path, patients=10, images_per_patient=3, size=64, pneumonia_share=0)
    patients = {}
    for path in sorted((tmp_path / "NORMAL").iterdir()):
        patients.setdefault(path.name.split("-")[1], []).append(np.asarray(Image.open(path)).ravel())
    chests = [chest for group in patients.values() for chest in group]
    group = np.repeat(np.arange(len(patients)), [len(group) for group in patients.values()])
    alike = np.corrcoef(chests)
    same = group[:, None] == group
    assert len({chest.tobytes() for chest in chests}) == len(chests), "each image is another exposure"
    assert alike[same & ~np.eye(len(chests), dtype=bool)].mean() > alike[~same].mean()
