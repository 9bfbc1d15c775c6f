"""The training loop, on small images with an obvious class."""

import copy
import dataclasses

import pytest
import torch
from sklearn.metrics import roc_auc_score

from cxr.model.network import XrayNetwork, predict_logits
from cxr.model.probabilities import Calibration
from cxr.training import trainer
from cxr.training.batches import Examples, batches
from cxr.training.losses import WeightedCrossEntropy, class_weights
from cxr.training.recipe import Recipe
from cxr.training.trainer import Trainer

RECIPE = Recipe(epochs=2, batch_size=8, ema_decay=0.8)


def pictures(count: int, seed: int, classes: int = 2) -> Examples:
    """Noise images. Class 1 has a bright patch in the upper left, class 2 in the lower right."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(60, 120, (count, 64, 64), generator=generator, dtype=torch.uint8)
    labels = torch.arange(count) % classes
    images[labels == 1, 8:32, 8:32] += 100
    images[labels == 2, 32:56, 32:56] += 100
    return Examples(images, labels)


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    return Trainer(XrayNetwork(), pictures(64, 0), pictures(32, 1), dataclasses.replace(RECIPE, epochs=3)).fit()


def auroc(network: XrayNetwork, examples: Examples) -> float:
    return roc_auc_score(examples.labels, predict_logits(network, examples.pixels).squeeze(1))


def test_a_network_learns_an_easy_task(trained):
    assert auroc(trained.network, pictures(64, 2)) > 0.95
    assert trained.history[-1]["training_loss"] < trained.history[0]["training_loss"]


def test_the_best_epoch_is_the_one_that_is_kept(trained):
    best = max(metrics["validation_auroc"] for metrics in trained.history)
    assert auroc(trained.network, pictures(32, 1)) == pytest.approx(best)


def test_a_network_learns_three_classes():
    torch.manual_seed(0)
    examples = pictures(96, 0, classes=3)
    result = Trainer(XrayNetwork(classes=3), examples, pictures(48, 1, 3), dataclasses.replace(RECIPE, epochs=3)).fit()
    unseen = pictures(48, 2, classes=3)
    logits = predict_logits(result.network, unseen.pixels)
    assert logits.shape == (48, 3)
    probabilities = Calibration(bias=(0.0,) * 3).probabilities(logits.numpy())
    assert roc_auc_score(unseen.labels, probabilities, multi_class="ovr") > 0.9


@pytest.mark.parametrize("steps", range(1, 9))
def test_few_images_make_few_steps_and_any_number_of_them_trains(steps):
    few = Trainer(XrayNetwork(), pictures(2 * steps, 0), pictures(4, 1), Recipe(epochs=1, batch_size=2))
    for _ in range(steps):
        few.optimizer.step()
        few.scheduler.step()
    assert all(group["lr"] >= 0 for group in few.optimizer.param_groups)


def test_the_given_network_is_not_changed_so_that_a_cell_can_be_run_again():
    torch.manual_seed(0)
    network = XrayNetwork()
    before = copy.deepcopy(network.state_dict())
    first, second = (Trainer(network, pictures(24, 0), pictures(16, 1), RECIPE).fit() for _ in range(2))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    ours, theirs = first.network.state_dict(), second.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours), "the same seed gives the same weights"


def test_a_missing_class_is_refused_with_the_counts():
    both, one = pictures(8, 0), Examples(pictures(8, 0).pixels, torch.ones(8, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"training has \[0, 8\] images of the classes 0 to 1"):
        Trainer(XrayNetwork(), one, both, RECIPE)
    with pytest.raises(ValueError, match=r"validation has \[0, 8\]"):
        Trainer(XrayNetwork(), both, one, RECIPE)


def test_all_classes_have_the_same_total_weight():
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    weights = class_weights(labels, classes=3)
    sums = [float(weights[labels[labels == number]].sum()) for number in range(3)]
    assert sums == pytest.approx([10 / 3] * 3)


def test_the_loss_of_one_output_equals_that_of_a_softmax_over_two_classes():
    logits, labels = torch.randn(20, 1), torch.arange(20) % 2
    criterion = WeightedCrossEntropy(torch.tensor([0.7, 1.3]), label_smoothing=0.1)
    as_two = torch.cat([torch.zeros(20, 1), logits], dim=1)
    assert criterion(logits, labels) == pytest.approx(float(criterion(as_two, labels)), rel=1e-5)


def test_a_nan_loss_stops_the_run():
    network = XrayNetwork()
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="step 1 of 2 in epoch 1"):
        Trainer(network, pictures(16, 0), pictures(16, 1), RECIPE).fit()


def test_the_step_at_which_the_loss_failed_is_named_and_the_checkpoint_before_it_stays(tmp_path, monkeypatch):
    calls = []

    def spoil_the_fourth(batch, generator, strength):
        calls.append(1)
        return batch * float("nan") if len(calls) == 4 else batch

    monkeypatch.setattr(trainer, "augment", spoil_the_fourth)
    with pytest.raises(FloatingPointError, match="step 2 of 2 in epoch 2"):
        Trainer(XrayNetwork(), pictures(16, 0), pictures(16, 1), RECIPE).fit(tmp_path)
    kept = torch.load(tmp_path / "last.pt", weights_only=True)
    assert len(kept["history"]) == 1
    assert all(value.isfinite().all() for value in torch.load(tmp_path / "best.pt", weights_only=True).values())


def test_training_stops_when_validation_does_not_improve(monkeypatch):
    given = iter([0.8, 0.9, 0.7, 0.6, 0.95])
    answer = {"validation_loss": 1.0}
    monkeypatch.setattr(Trainer, "validate", lambda self: answer | {"validation_auroc": next(given)})
    recipe = dataclasses.replace(RECIPE, epochs=5, patience=2)
    result = Trainer(XrayNetwork(), pictures(16, 0), pictures(16, 1), recipe).fit()
    assert len(result.history) == 4 and result.best_epoch == 2


def test_only_the_head_trains_in_the_first_epochs():
    torch.manual_seed(0)
    network = XrayNetwork()
    run = Trainer(network, pictures(16, 0), pictures(16, 1), dataclasses.replace(RECIPE, epochs=1, head_epochs=1))
    run.fit()
    before = dict(network.named_parameters())
    changed = {name for name, value in run.network.named_parameters() if not torch.equal(value, before[name])}
    assert changed == {"backbone.fc.weight", "backbone.fc.bias"}


def test_images_that_do_not_fit_the_device_come_batch_by_batch_and_in_order():
    images = pictures(10, 0).pixels
    chosen = list(torch.randperm(10).view(5, 2))
    elsewhere = list(batches(images, chosen, torch.device("meta")))
    assert [(tuple(batch.shape), batch.device.type) for batch, _ in elsewhere] == [((2, 64, 64), "meta")] * 5
    resident = list(batches(images, chosen, torch.device("cpu")))
    assert all(torch.equal(batch, images[indices]) for (batch, _), indices in zip(resident, chosen, strict=True))


def test_validation_images_are_never_augmented(monkeypatch):
    """If validation were augmented, there would be more calls of `augment`."""
    seen = []
    monkeypatch.setattr(trainer, "augment", lambda batch, generator, strength: seen.append(len(batch)) or batch)
    Trainer(XrayNetwork(), pictures(24, 0), pictures(16, 1), dataclasses.replace(RECIPE, epochs=1)).fit()
    assert sum(seen) == 24
