"""A killed and resumed run reaches the same weights as an uninterrupted one."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cxr.model.network import XrayNetwork
from cxr.training.batches import Examples
from cxr.training.recipe import Recipe
from cxr.training.starting_weights import digest
from cxr.training.trainer import Trainer

LIBRARY = Path(__file__).resolve().parents[3] / "lib"
RECIPE = Recipe(epochs=3, batch_size=8, learning_rate=1e-3, head_epochs=1, early_factor=0.5)

# The process dies, as if by the out-of-memory killer, while it writes the second epoch's checkpoint.
DIES = """
import os, signal, sys, torch
from pathlib import Path
from cxr.model.network import XrayNetwork
from cxr.training.batches import Examples
from cxr.training.recipe import Recipe
from cxr.training.trainer import Trainer

data, recipe = torch.load(sys.argv[1], weights_only=True)
save, written = torch.save, []

def save_or_die(content, file):
    if "last.pt" in str(file.name) or isinstance(content, dict) and "history" in content:
        written.append(file)
        if len(written) == 2:
            file.write(b"half a checkpoint")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    save(content, file)

torch.save = save_or_die
torch.manual_seed(0)
network = XrayNetwork("mobilenet_v3_large")
Trainer(network, Examples(*data[:2]), Examples(*data[2:]), Recipe(**recipe)).fit(Path(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (48, 32, 32), generator=generator, dtype=torch.uint8)
    labels = (torch.arange(48) % 3 == 0).long()
    return [Examples(images[:32], labels[:32]), Examples(images[32:], labels[32:])]


def started() -> XrayNetwork:
    torch.manual_seed(0)
    return XrayNetwork("mobilenet_v3_large")  # it has dropout, which draws from the global generator


def test_a_killed_and_resumed_run_reaches_the_same_weights(data, tmp_path):
    tensors = [tensor for part in data for tensor in (part.pixels, part.labels)]
    torch.save([tensors, dataclasses.asdict(RECIPE)], tmp_path / "input.pt")
    command = [sys.executable, "-c", DIES, str(tmp_path / "input.pt"), str(tmp_path / "run")]
    # Sums of floats hang on the number of threads.
    environment = os.environ | {"PYTHONPATH": str(LIBRARY), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    died = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert died.returncode == -9, died.stderr
    (half,) = (tmp_path / "run").glob(".last.pt.*.part")
    assert half.stat().st_size, "it died while it wrote, and the checkpoint before is whole"

    told = []
    resumed = Trainer(started(), *data, RECIPE).fit(tmp_path / "run", resume=True, on_epoch=told.append)
    unbroken = Trainer(started(), *data, RECIPE).fit()

    assert [metrics["epoch"] for metrics in told] == [1, 2, 3]
    ours, theirs = resumed.network.state_dict(), unbroken.network.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    for ours, theirs in zip(resumed.history, unbroken.history, strict=True):
        assert ours | {"images_per_second": 0} == theirs | {"images_per_second": 0}
    assert torch.load(tmp_path / "run" / "best.pt", weights_only=True).keys() == unbroken.network.state_dict().keys()


@pytest.fixture
def finished(data, tmp_path):
    recipe = dataclasses.replace(RECIPE, epochs=1)
    seen = []
    Trainer(started(), *data, recipe).fit(tmp_path, on_checkpoint=lambda path: seen.append(path.name))
    assert seen == ["best.pt", "last.pt"]
    return tmp_path, recipe


def test_a_finished_run_trains_no_further(data, finished, monkeypatch):
    folder, recipe = finished
    monkeypatch.setattr(Trainer, "train_one_epoch", lambda *_: pytest.fail("it trained"))
    again = Trainer(started(), *data, recipe).fit(folder, resume=True)
    assert len(again.history) == 1 and again.best_epoch == 1


def test_a_checkpoint_of_another_recipe_or_a_damaged_one_is_refused(data, finished):
    folder, recipe = finished
    other = dataclasses.replace(recipe, learning_rate=1.0, epochs=2)
    with pytest.raises(ValueError, match="differs in epochs, learning_rate"):
        Trainer(started(), *data, other).fit(folder, resume=True)
    whole = (folder / "last.pt").read_bytes()
    (folder / "last.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged checkpoint"):
        Trainer(started(), *data, recipe).fit(folder, resume=True)


def test_a_checkpoint_of_other_labels_is_refused(data, finished):
    folder, recipe = finished
    train, validation = data
    for corrected in ([Examples(train.pixels, train.labels.flip(0)), validation],
                      [train, Examples(validation.pixels, validation.labels.flip(0))]):  # fmt: skip
        with pytest.raises(ValueError, match="differs in labels"):
            Trainer(started(), *corrected, recipe).fit(folder, resume=True)


def test_a_checkpoint_of_a_training_that_started_elsewhere_is_refused(data, finished):
    """It has other weights than the card would say: ImageNet's were not there when it began, and now they are."""
    folder, recipe = finished
    torch.manual_seed(1)
    with pytest.raises(ValueError, match="differs in start"):
        Trainer(XrayNetwork("mobilenet_v3_large"), *data, recipe).fit(folder, resume=True)


def test_where_a_training_starts_does_not_depend_on_the_layout_of_its_weights():
    network = started()
    told = digest(network.state_dict())
    assert told == digest(started().to(memory_format=torch.channels_last).state_dict())
    with torch.no_grad():
        network.head.bias += 1e-3
    assert told != digest(network.state_dict())


def test_training_does_not_change_the_global_generator(data):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with torch.random.fork_rng([]):
        network = XrayNetwork("mobilenet_v3_large")
    Trainer(network, *data, dataclasses.replace(RECIPE, epochs=1)).fit()
    assert torch.equal(torch.rand(3), expected)
