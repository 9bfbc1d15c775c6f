"""Training and its augmentation, on tiny pictures whose answer is plain to see."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from cxr.data.pixels import split_tensors
from cxr.model.gradcam import grad_cam, to_png
from cxr.model.network import BACKBONES, PneumoniaNetwork, predict_logits, to_float
from cxr.training import loop
from cxr.training.augmentation import augment, shifted

RECIPE = loop.Recipe(epochs=2, batch_size=8, average_decay=0.8, small_epochs=0)


def pictures(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise; the ill ones have a bright patch in the upper left."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(60, 120, (count, 64, 64), generator=generator, dtype=torch.uint8)
    labels = (torch.arange(count) % 2).float()
    images[labels == 1, 8:32, 8:32] += 100
    return images, labels


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    network = PneumoniaNetwork()
    recipe = dataclasses.replace(RECIPE, epochs=3)
    result = loop.train(network, *pictures(64, 0), *pictures(32, 1), recipe)
    network.load_state_dict(result.state)
    return network, result


def test_a_network_learns_what_is_plain_to_see(trained):
    network, result = trained
    images, labels = pictures(64, 2)
    assert roc_auc_score(labels, predict_logits(network, images)) > 0.95
    assert result.history[-1]["training_loss"] < result.history[0]["training_loss"]


def test_the_best_epoch_is_the_one_that_is_kept(trained):
    network, result = trained
    best = max(metrics["validation_auroc"] for metrics in result.history)
    images, labels = pictures(32, 1)
    assert roc_auc_score(labels, predict_logits(network, images)) == pytest.approx(best)


def test_the_heat_map_hangs_on_the_weights(trained):
    network, _ = trained
    images, labels = pictures(16, 3)
    maps = grad_cam(network, images[labels == 1])
    assert maps.shape == (8, 64, 64) and maps.min() >= 0 and maps.max() == pytest.approx(1)
    torch.manual_seed(1)
    assert abs(maps - grad_cam(PneumoniaNetwork(), images[labels == 1])).mean() > 0.05
    assert to_png(maps[0]).startswith(b"\x89PNG")


@pytest.mark.parametrize("backbone", BACKBONES)
def test_heat_maps_of_every_backbone_follow_its_weights(backbone):
    """The sanity check of Adebayo et al. (2018): a map that randomised weights leave as it is shows the image alone."""
    images, maps = pictures(2, 3)[0], []
    torch.manual_seed(0)
    network = PneumoniaNetwork(backbone)
    torch.nn.init.normal_(network.head.weight, std=0.5)  # a new head is zero, and so would be its maps
    for _ in range(2):
        speaks_for = grad_cam(network, images)
        with torch.no_grad():
            network.head.weight.neg_()
        maps.append(speaks_for - grad_cam(network, images))  # a random network may find nothing that speaks for it
        with torch.no_grad():
            for weights in network.parameters():  # in reverse, which is as random and quicker than drawn anew
                weights.copy_(weights.flatten().flip(0).view_as(weights))
    assert maps[0].shape == (2, 64, 64) and np.isfinite(maps).all() and np.abs(maps).max() <= 1
    assert (np.abs(maps[0]).max(axis=(1, 2)) > 0).all()
    assert np.abs(maps[0] - maps[1]).mean() > 0.05


@pytest.mark.parametrize(
    ("bfloat16", "images", "epochs"), [(True, 4000, 12), (True, 7000, 7), (False, 4000, 5), (False, 300, 8)]
)
def test_a_device_without_bfloat16_sees_fewer_images(monkeypatch, bfloat16, images, epochs):
    monkeypatch.setattr(loop, "has_bfloat16", lambda device: bfloat16)
    assert loop.recipe_for(images, 0, 32, 3e-3, 0).epochs == epochs
    assert loop.recipe_for(images, 3, 32, 3e-3, 0).epochs == 3


def test_the_same_seed_gives_the_same_weights():
    def run():
        torch.manual_seed(0)
        return loop.train(PneumoniaNetwork(), *pictures(24, 0), *pictures(16, 1), RECIPE).state

    first, second = run(), run()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_one_class_only_is_refused_with_the_counts():
    images, labels = pictures(8, 0)
    with pytest.raises(ValueError, match="training holds 8 images of PNEUMONIA and 0 of NORMAL"):
        loop.train(PneumoniaNetwork(), images, torch.ones(8), images, labels, RECIPE)
    with pytest.raises(ValueError, match="validation holds 0"):
        loop.train(PneumoniaNetwork(), images, labels, images, torch.zeros(8), RECIPE)


def test_a_loss_that_is_no_number_stops_the_run():
    network = PneumoniaNetwork()
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="step 1 of 2 in epoch 1"):
        loop.train(network, *pictures(16, 0), *pictures(16, 1), RECIPE)


def test_the_step_at_which_the_loss_failed_is_named_and_the_checkpoint_before_it_stays(tmp_path, monkeypatch):
    calls = []

    def spoil_the_fourth(batch, generator):
        calls.append(1)
        return batch * float("nan") if len(calls) == 4 else batch

    monkeypatch.setattr(loop, "augment", spoil_the_fourth)
    with pytest.raises(FloatingPointError, match="step 2 of 2 in epoch 2"):
        loop.train(PneumoniaNetwork(), *pictures(16, 0), *pictures(16, 1), RECIPE, folder=tmp_path)
    kept = torch.load(tmp_path / "last.pt", weights_only=True)
    assert len(kept["trained"]["history"]) == 1
    assert all(value.isfinite().all() for value in torch.load(tmp_path / "best.pt", weights_only=True).values())


def test_a_run_ends_when_validation_gets_no_better(monkeypatch):
    given = iter([0.8, 0.9, 0.7, 0.6, 0.95])
    answer = {"validation_loss": 1.0}
    monkeypatch.setattr(loop, "_validate", lambda *_: answer | {"validation_auroc": next(given)})
    recipe = dataclasses.replace(RECIPE, epochs=5, patience=2)
    result = loop.train(PneumoniaNetwork(), *pictures(16, 0), *pictures(16, 1), recipe)
    assert len(result.history) == 4 and result.best_epoch == 2


def test_the_head_learns_alone_at_first():
    torch.manual_seed(0)
    network = PneumoniaNetwork()
    before = {name: value.clone() for name, value in network.named_parameters()}
    recipe = dataclasses.replace(RECIPE, epochs=1, head_epochs=1)
    loop.train(network, *pictures(16, 0), *pictures(16, 1), recipe)
    changed = {name for name, value in network.named_parameters() if not torch.equal(value, before[name])}
    assert changed == {"backbone.fc.weight", "backbone.fc.bias"}


def test_images_that_do_not_fit_the_device_come_batch_by_batch_and_in_order():
    images, _ = pictures(10, 0)
    chosen = list(torch.randperm(10).view(5, 2))
    batches = list(loop._batches(images, chosen, torch.device("meta")))
    assert [(tuple(batch.shape), batch.device.type) for batch, _ in batches] == [((2, 64, 64), "meta")] * 5
    resident = list(loop._batches(images, chosen, torch.device("cpu")))
    assert all(torch.equal(batch, images[which]) for (batch, _), which in zip(resident, chosen, strict=True))


def test_validation_images_are_never_augmented(monkeypatch):
    """A leak planted on purpose: were validation augmented, the batch counts would tell."""
    seen = []
    monkeypatch.setattr(loop, "augment", lambda batch, generator: seen.append(len(batch)) or batch)
    loop.train(PneumoniaNetwork(), *pictures(24, 0), *pictures(16, 1), dataclasses.replace(RECIPE, epochs=1))
    assert sum(seen) == 24


def test_a_patient_in_two_splits_is_refused():
    """A leak planted on purpose."""
    rows = pd.DataFrame({"PATIENT_ID": list("aabc"), "LABEL": "NORMAL", "SPLIT": ["train", "train", "test", "test"]})
    stack = np.zeros((4, 8, 8), np.uint8)
    assert len(split_tensors(stack, rows, "train")[0]) == 2
    rows.loc[1, "SPLIT"] = "validation"
    with pytest.raises(ValueError, match="1 patients stand in more than one split"):
        split_tensors(stack, rows, "train")


def test_no_validation_patients_is_said():
    rows = pd.DataFrame({"PATIENT_ID": ["a"], "LABEL": ["NORMAL"], "SPLIT": ["train"]})
    with pytest.raises(ValueError, match="no image in the validation split; more patients"):
        split_tensors(np.zeros((1, 8, 8), np.uint8), rows, "validation")


def test_augmentation_keeps_shape_and_range_and_follows_its_seed():
    images = to_float(pictures(8, 0)[0])
    first, second, other = (augment(images.clone(), torch.Generator().manual_seed(s)) for s in (5, 5, 6))
    assert first.shape == images.shape and 0 <= first.min() and first.max() <= 1
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_augmentation_never_mirrors():
    """The heart has a side: a bright left half stays on the left in every one of 200 draws."""
    images = torch.zeros(200, 1, 64, 64)
    images[..., :32] = 0.8
    changed = augment(images, torch.Generator().manual_seed(0))
    assert (changed[..., :20].mean(dim=(1, 2, 3)) > changed[..., -20:].mean(dim=(1, 2, 3))).all()


def test_shifted_images_are_images_again():
    images = pictures(10, 0)[0]
    changed = shifted(images, seed=0)
    assert changed.shape == images.shape and changed.dtype == torch.uint8
    assert torch.equal(changed, shifted(images, seed=0)) and not torch.equal(changed, images)
