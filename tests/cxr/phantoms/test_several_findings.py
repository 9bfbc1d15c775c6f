"""Phantoms with further findings: four classes are ingested, learnt and evaluated; the default stays as it was."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from cxr.data import catalog, ingest, pixels, splits
from cxr.evaluation.calibration import choose_operating_point
from cxr.evaluation.report import evaluate
from cxr.model.network import XrayNetwork, predict_logits
from cxr.phantoms.dataset import FINDINGS, MANIFEST, phantom, write_phantoms
from cxr.training.batches import Examples
from cxr.training.recipe import Recipe
from cxr.training.trainer import Trainer

FOUR = ("NORMAL", *FINDINGS[:3])
# Means of the sixteen fields of images as the first version of the phantoms drew them, row by row.
DEFAULT = {
    "NORMAL/IM-0001-0001.jpeg": [62, 131, 125, 68, 87, 105, 124, 75, 69, 117, 155, 63, 74, 174, 185, 94],
    "NORMAL/IM-0003-0001.jpeg": [75, 139, 127, 66, 101, 119, 135, 101, 88, 141, 161, 72, 109, 190, 186, 97],
    "PNEUMONIA/person2_virus_1.jpeg": [107, 127, 140, 86, 120, 155, 149, 123, 116, 174, 175, 101, 160, 185, 183, 105],
    "PNEUMONIA/person4_bacteria_2.jpeg": [70, 105, 98, 69, 84, 121, 122, 86, 66, 144, 154, 76, 110, 179, 167, 83],
}


def draw(label, seed):
    return phantom(label, rng=np.random.default_rng(seed), size=128, difficulty=0).astype(int)


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.jpeg"))


def test_the_default_phantoms_are_those_of_the_first_version(tmp_path):
    folder = write_phantoms(tmp_path, patients=4, images_per_patient=1, size=64, difficulty=0)
    assert names(folder) == list(DEFAULT)
    for name, means in DEFAULT.items():
        fields = np.asarray(Image.open(folder / name).reduce(16), int).ravel()
        assert np.abs(fields - means).max() <= 1, name  # decoders round differently
    assert "findings" not in (folder / MANIFEST).read_text(), "a set that was drawn before is still taken for it"


@pytest.mark.parametrize("label", FINDINGS[1:])
def test_a_further_finding_is_the_only_difference_and_brightens_a_part_of_the_lung(label):
    for seed in range(4):
        change = draw(label, seed) - draw("NORMAL", seed)
        bright = np.abs(change) > 15
        assert 0.001 < bright.mean() < 0.2 and change[bright].mean() > 0
        assert np.abs(change[:, :4]).max() <= 12, "outside the chest there is nothing to see"


def test_patients_have_the_findings_in_turn_and_no_patient_has_two(tmp_path):
    folder = write_phantoms(tmp_path, patients=16, images_per_patient=1, size=32, findings=4)
    assert Counter(name.split("/")[0] for name in names(folder)) == {"NORMAL": 8} | dict.fromkeys(FINDINGS, 2)
    assert "EFFUSION/IM-0004-0001.jpeg" in names(folder) and "PNEUMONIA/person2_virus_1.jpeg" in names(folder)
    with pytest.raises(ValueError, match="findings=4, not None"):
        write_phantoms(tmp_path, patients=16, images_per_patient=1, size=32)
    with pytest.raises(ValueError, match="findings=5 is not between 1 and 4"):
        write_phantoms(tmp_path / "five", findings=5)


def test_the_setting_leads_to_a_folder_of_its_own(account):
    settings = account.settings
    assert pixels.phantom_folder(settings).name == "phantoms-36-0.0-0"
    assert pixels.phantom_folder(replace(settings, phantom_findings=3)).name == "phantoms-36-0.0-0-3-findings"


def test_four_classes_are_cataloged_learnt_and_evaluated(empty, tmp_path):
    folder = write_phantoms(tmp_path, patients=60, images_per_patient=1, size=64, difficulty=0, findings=3)
    assert ingest.ingest(empty, folder)["cataloged"] == 60
    rows, labels = catalog.read_catalog(empty), catalog.label_set(empty)
    assert labels.names == ("NORMAL", *sorted(FOUR[1:]))
    stack = pixels.decoded(empty, rows)
    train, validation, test = (splits.take_split(stack, rows, name, labels.names) for name in splits.NAMES)
    assert all(set(split.rows["LABEL"]) == set(FOUR) for split in (train, validation, test)), "stratified"

    torch.manual_seed(0)
    recipe = Recipe(epochs=2, batch_size=8, ema_decay=0.8)
    examples = (Examples(split.pixels, split.labels) for split in (train, validation))
    trained = Trainer(XrayNetwork("mobilenet_v3_large", classes=4), *examples, recipe).fit()
    on_validation, on_test = (predict_logits(trained.network, split.pixels).numpy() for split in (validation, test))
    point = choose_operating_point(validation.rows, on_validation, labels.names)
    report = evaluate(test.rows, on_test, point, labels.names)
    assert {"auroc", "sensitivity", "specificity"} <= report["metrics"].keys()
    by_class = report["by_class"]
    assert 0 <= by_class["macro_auroc"]["value"] <= 1
    assert [row["class"] for row in by_class["classes"]] == list(labels.names)
    assert np.sum(by_class["confusion_matrix"]) == len(test)
