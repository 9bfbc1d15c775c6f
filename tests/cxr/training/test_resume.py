"""A run that was killed reaches the same weights as one that was not."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cxr.model.network import PneumoniaNetwork
from cxr.training import loop

LIBRARY = Path(__file__).resolve().parents[3] / "lib"
RECIPE = loop.Recipe(epochs=3, batch_size=8, learning_rate=1e-3, small_epochs=0, head_epochs=1, early_rate=0.5)

# The process dies, as if by the out-of-memory killer, while it writes the second epoch's checkpoint.
DIES = """
import os, signal, sys, torch
from pathlib import Path
from cxr import training
from cxr.network import PneumoniaNetwork

data, recipe = torch.load(sys.argv[1], weights_only=True)
save, written = torch.save, []

def save_or_die(content, file):
    if file.name.endswith("last.part"):
        written.append(file)
        if len(written) == 2:
            file.write(b"half a checkpoint")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    save(content, file)

torch.save = save_or_die
torch.manual_seed(0)
network = PneumoniaNetwork("mobilenet_v3_large")
loop.train(network, *data, loop.Recipe(**recipe), folder=Path(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (48, 32, 32), generator=generator, dtype=torch.uint8)
    labels = (torch.arange(48) % 3 == 0).float()
    return [images[:32], labels[:32], images[32:], labels[32:]]


def started() -> PneumoniaNetwork:
    torch.manual_seed(0)
    return PneumoniaNetwork("mobilenet_v3_large")  # it has dropout, which draws from the global generator


def test_after_kill_9_the_same_weights_are_reached(data, tmp_path):
    torch.save([data, dataclasses.asdict(RECIPE)], tmp_path / "input.pt")
    command = [sys.executable, "-c", DIES, str(tmp_path / "input.pt"), str(tmp_path / "run")]
    # Sums of floats hang on the number of threads.
    environment = os.environ | {"PYTHONPATH": str(LIBRARY), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    died = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert died.returncode == -9, died.stderr
    assert (tmp_path / "run" / "last.part").read_bytes() == b"half a checkpoint"

    told = []
    network = started()
    resumed = loop.train(network, *data, RECIPE, folder=tmp_path / "run", resume=True, on_epoch=told.append)
    straight = started()
    unbroken = loop.train(straight, *data, RECIPE)

    assert [metrics["epoch"] for metrics in told] == [1, 2, 3]
    for ours, theirs in ((network.state_dict(), straight.state_dict()), (resumed.state, unbroken.state)):
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    for ours, theirs in zip(resumed.history, unbroken.history, strict=True):
        assert ours | {"images_per_second": 0} == theirs | {"images_per_second": 0}
    assert torch.load(tmp_path / "run" / "best.pt", weights_only=True).keys() == unbroken.state.keys()


@pytest.fixture
def finished(data, tmp_path):
    recipe = dataclasses.replace(RECIPE, epochs=1)
    seen = []
    loop.train(started(), *data, recipe, folder=tmp_path, on_checkpoint=lambda path: seen.append(path.name))
    assert seen == ["best.pt", "last.pt"]
    return tmp_path, recipe


def test_a_run_that_was_over_trains_no_further(data, finished, monkeypatch):
    folder, recipe = finished
    monkeypatch.setattr(loop._Run, "one_epoch", lambda *_: pytest.fail("it trained"))
    again = loop.train(started(), *data, recipe, folder=folder, resume=True)
    assert len(again.history) == 1 and again.state


def test_a_checkpoint_of_another_recipe_or_a_damaged_one_is_refused(data, finished):
    folder, recipe = finished
    other = dataclasses.replace(recipe, learning_rate=1.0, epochs=2)
    with pytest.raises(ValueError, match="differs in epochs, learning_rate"):
        loop.train(started(), *data, other, folder=folder, resume=True)
    whole = (folder / "last.pt").read_bytes()
    (folder / "last.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="no whole checkpoint"):
        loop.train(started(), *data, recipe, folder=folder, resume=True)


def test_training_leaves_the_global_generator_as_it_was(data):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with torch.random.fork_rng([]):
        network = PneumoniaNetwork("mobilenet_v3_large")
    loop.train(network, *data, dataclasses.replace(RECIPE, epochs=1))
    assert torch.equal(torch.rand(3), expected)
