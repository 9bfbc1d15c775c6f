"""A version on images from elsewhere: what is measured, what is left out, and that nothing of it is cataloged."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tests.cxr.data.test_any_labels import draw, rows_of, with_settings
from tests.trained import model_config, probability, report_of, two

from cxr.data.ingest import ingest
from cxr.lifecycle import runs
from cxr.lifecycle.external_evaluation import evaluate_outside, to_logits
from cxr.lifecycle.external_report import to_markdown, write_report
from cxr.lifecycle.registry import version_name
from cxr.model.preprocessing import decode, from_base64
from cxr.model.probabilities import Calibration
from cxr.serving.rest_client import ANSWER

TRAINING = [f"PNEUMONIA/person{number}_virus_1.png" for number in range(1, 7)]
TRAINING += [f"NORMAL/IM-{number:04}-0001.png" for number in range(1, 7)]


class Version:
    """A registered version that says how bright the first pixel is."""

    def __init__(self, run_id: str, labels: tuple[str, ...]):
        self.version_name, self.labels = version_name(run_id), labels

    def run(self, images: pd.DataFrame, function_name: str, service_name: str | None) -> pd.DataFrame:
        answers = []
        for text in images["IMAGE"]:
            bright = (decode(from_base64(text)).pixels[0, 0] + 1) / 258
            others = [bright / (len(self.labels) - 1)] * (len(self.labels) - 1)
            said = dict(zip(self.labels, (1 - bright, *others), strict=True))
            answers.append((bright, self.labels[int(bright >= 0.5)], "ok", json.dumps(said)))
        return pd.DataFrame(answers, columns=ANSWER[:-1])  # as those that were logged before triage


@pytest.fixture
def project(empty, tmp_path, monkeypatch):
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))
    empty.session.sql(f"REMOVE {empty.artifacts_stage}/runs/").collect()
    ingest(empty, draw(tmp_path / "training", *TRAINING))
    return empty


def save_version(project, labels: tuple[str, ...] = ("NORMAL", "PNEUMONIA"), kept: bool = True, **changes) -> Version:
    rows = project.session.table(project.catalog).sort("IMAGE_ID").to_pandas()
    logits = np.linspace(-1, 1, len(rows))
    outputs = 1 if len(labels) == 2 else len(labels)
    config = model_config(**{"labels": labels, "bias": (0.0,) * outputs} | changes)
    run = runs.save(
        project,
        network=torch.nn.Linear(3, 2),
        config=config,
        evaluation={"test": report_of(rows, logits)},
        history=[{"epoch": 1, "loss": 0.7}],
        scores=runs.scores_of(rows, two(probability(logits)), labels[:2]),
        images=rows if kept else None,
    )
    return Version(run, labels)


@pytest.fixture
def elsewhere(tmp_path):
    """Twenty images under other names of the classes."""
    names = [f"Healthy/h{number}.png" for number in range(12)] + [f"pneumonia/p{number}.png" for number in range(8)]
    return draw(tmp_path / "elsewhere", *names)


def test_it_measures_what_the_version_says_and_catalogs_nothing(project, elsewhere):
    version, before = save_version(project), rows_of(project)
    found = evaluate_outside(project, version, elsewhere)
    assert found.report["images"] == 20 and found.report["positive"] == 8 and not found.outside.left_out
    assert set(found.outside.rows["LABEL"]) == {"NORMAL", "PNEUMONIA"}, "negative is negative, whatever it is called"
    said = found.outside.rows["P_POSITIVE"].to_numpy(dtype=float)
    truth = (found.outside.rows["LABEL"] == "PNEUMONIA").to_numpy()
    pairs = said[truth][:, None] - said[~truth]
    expected = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    assert found.report["metrics"]["auroc"]["value"] == pytest.approx(expected)
    assert found.report["metrics"]["sensitivity"]["value"] == (said[truth] >= 0.5).mean()
    assert found.report["threshold"] == 0.5 and found.thresholds[0]["threshold"] == 0.5, "none is chosen here"
    pd.testing.assert_frame_equal(rows_of(project), before)
    assert (
        not project.session.table(project.predictions).count() and not project.session.table(project.rejected).count()
    )


def test_what_the_version_may_have_seen_is_left_out_by_reason(project, elsewhere):
    version, rows = save_version(project), rows_of(project)
    training = rows[rows["SPLIT"] == "train"]
    own_test = rows[rows["SPLIT"] == "test"]
    home = elsewhere.parent / "training"
    person = next(name for name in training.index if "person" in name)
    shutil.copy(home / person, elsewhere / "pneumonia" / "same.png")  # the same bytes
    draw(elsewhere, f"pneumonia/{person.split('/')[1].replace('_1.png', '_9.png')}")  # the same patient
    shutil.copy(home / own_test.index[0], elsewhere / "Healthy" / "held_out.png")  # the version never saw it
    shutil.copy(elsewhere / "Healthy/h1.png", elsewhere / "Healthy" / "twice.png")
    shutil.copy(elsewhere / "Healthy/h2.png", elsewhere / "pneumonia" / "both.png")
    draw(elsewhere, "TB/t.png", "unsorted/u.png")
    (elsewhere / "Healthy" / "broken.png").write_bytes(b"no image")
    found = evaluate_outside(project, version, elsewhere)
    left = dict(found.outside.left_out)
    assert left.pop("the same bytes as an image of training") == 1
    assert left.pop("a patient who also stands in training") == 1 and found.outside.known_patients == 1
    assert left.pop("the same bytes as another file here") == 2
    assert left.pop("under two classes") == 1
    assert left.pop("a class that the version does not know") == 2
    assert found.outside.unknown_classes == {"TB": 1, "UNSORTED": 1}
    assert left.pop("no usable X-ray: unreadable") == 1 and not left
    assert found.report["images"] == 20 - 1 + 1 and found.own_test_images == 1
    assert found.outside.files == found.report["images"] + sum(found.outside.left_out.values())
    assert found.with_known["images"] == found.report["images"] + 1


def test_only_an_id_that_means_one_person_in_both_sources_makes_a_patient_known(project, tmp_path):
    """A file without a patient has an id by its name, and a phantom may have the name of a patient's file."""
    ingest(project, draw(tmp_path / "training", "NORMAL/1.png", "PNEUMONIA/2.png"))
    (tmp_path / "other" / "1").mkdir(parents=True)
    other = draw(tmp_path / "other" / "1", "NORMAL/1.png", "PNEUMONIA/2.png")
    for image in sorted(other.rglob("*.png")):
        Image.fromarray(255 - np.asarray(Image.open(image))).save(image)
    named = draw(tmp_path / "named", "PNEUMONIA/person1_virus_8.png", "NORMAL/IM-0001-0008.png")
    project.session.sql(f"UPDATE {project.catalog} SET SPLIT = 'train'").collect()
    version = save_version(project)
    assert not evaluate_outside(project, version, other).outside.left_out
    with pytest.raises(ValueError, match="patients who also stand in training"):
        evaluate_outside(project, version, named)
    project.session.sql(f"UPDATE {project.catalog} SET SOURCE = 'phantoms/made'").collect()
    assert not evaluate_outside(project, version, named).outside.left_out


def test_nearly_the_same_picture_is_left_out(project, elsewhere):
    version, rows = save_version(project), rows_of(project)
    name = rows.index[rows["SPLIT"] == "train"][0]
    with Image.open(elsewhere.parent / "training" / name) as image:
        image.save(elsewhere / "Healthy" / "again.tiff")
    left = evaluate_outside(project, version, elsewhere).outside.left_out
    assert left == {"nearly the same picture as one of training": 1}


def test_three_classes_and_ones_from_causes(project, tmp_path):
    labels = ("NORMAL", "BACTERIA", "VIRUS")
    version = save_version(project, labels)
    names = [f"NORMAL/n{number}.png" for number in range(6)]
    names += [
        f"PNEUMONIA/person{number}_{cause}_2.png" for number in (801, 802, 803) for cause in ("bacteria", "virus")
    ]
    folder = draw(tmp_path / "causes", *names)
    found = evaluate_outside(with_settings(project, label_from="cause"), version, folder)
    by_class = {row["class"]: row["images"] for row in found.report["by_class"]["classes"]}
    assert by_class == {"NORMAL": 6, "BACTERIA": 3, "VIRUS": 3}
    text = write_report(found, tmp_path / "report").read_text()
    assert "Macro AUROC" in text and "| VIRUS |" in text


def test_the_report_says_what_a_reader_must_know_and_nobodys_name(project, elsewhere, tmp_path):
    version = save_version(project, kept=False)
    draw(elsewhere, "pneumonia/person1_virus_7.png")
    found = evaluate_outside(project, version, elsewhere)
    report = write_report(found, tmp_path / "out" / "evaluation")
    text, numbers = report.read_text(), json.loads((report.parent / "evaluation.json").read_text())
    for words in (
        "Not a medical device", "threshold was not chosen on these images", "95%", "bootstrap resamples of patients",
        "intercept", "slope", "ECE", "own test patients", "40.0% of the images are positive here", "kept no list",
        "Only 8 positive images of 8 patients, and 12 negative of 12", "patients are also in training",
    ):  # fmt: skip
        assert words in text, words
    everything = text + json.dumps(numbers)
    assert not any(image_id in everything for image_id in found.outside.rows["IMAGE_ID"])
    assert "person1" not in everything and "h1.png" not in everything and "file-" not in everything
    assert {path.name for path in report.parent.iterdir()} == {
        "report.md", "evaluation.json", "roc.png", "calibration.png"
    }  # fmt: skip
    assert report.parent.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in report.parent.iterdir())


def test_one_class_alone_leaves_figures_undefined_and_no_images_is_said(project, tmp_path):
    version = save_version(project)
    one = evaluate_outside(project, version, draw(tmp_path / "one", *[f"normal/n{number}.png" for number in range(5)]))
    text = write_report(one, tmp_path / "report").read_text()
    assert "All images are of one class" in text and one.thresholds == []
    assert not (tmp_path / "report" / "roc.png").exists()
    certain = dict(one.report["metrics"], specificity={"value": 1.0, "interval": [1.0, 1.0]})
    said = to_markdown(replace(one, report=one.report | {"metrics": certain}))
    assert "exact binomial 95% interval for 5 patients is 0.478 to 1" in said, "0.025 ** (1 / 5)"
    with pytest.raises(ValueError, match="No image .* can be measured on: 1 no label"):
        evaluate_outside(project, version, draw(tmp_path / "none", "inbox/a.png"))


@pytest.mark.parametrize("outputs", [1, 3])
def test_logits_are_found_back_from_probabilities(outputs):
    calibration = Calibration(1.7, (0.3, -0.2, 0.9)[:outputs])
    logits = np.random.default_rng(0).normal(size=(20, outputs)) * 4
    again = to_logits(calibration.probabilities(logits), calibration)
    np.testing.assert_allclose(calibration.probabilities(again), calibration.probabilities(logits), rtol=1e-9)
    np.testing.assert_allclose(Calibration(1.0, (0.0,) * outputs).probabilities(again),
                               Calibration(1.0, (0.0,) * outputs).probabilities(logits), rtol=1e-9)  # fmt: skip
