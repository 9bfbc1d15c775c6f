"""Two processes on one batch give the result of one process. Whole runs: test_nodes.py."""

import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cxr.model.network import XrayNetwork, to_float
from cxr.training import launch
from cxr.training.batches import Examples
from cxr.training.recipe import Recipe
from cxr.training.trainer import Trainer

LIBRARY = Path(__file__).resolve().parents[3] / "lib"
# Differences of a few units in the last place grow in bfloat16 beyond what a test can tell from an error.
RECIPE = Recipe(epochs=2, batch_size=14, learning_rate=1e-4, bfloat16=False, head_epochs=1)

# Rank 1 is a copy of rank 0: what takes longest here are the imports.
ONE_STEP = """
import os, sys, torch
from pathlib import Path
from cxr.model.network import XrayNetwork, to_float
from cxr.training.batches import Examples
from cxr.training.distributed import DistributedTrainer, end_process, join_group
from cxr.training.recipe import Recipe

pixels, labels, state, recipe = torch.load(Path(sys.argv[1], "input.pt"), weights_only=True)
os.environ["RANK"] = "0" if (other := os.fork()) else "1"
join_group()
network = XrayNetwork("resnet18").double()
network.load_state_dict(state)
examples = Examples(pixels, labels)
trainer = DistributedTrainer(network, examples, examples, Recipe(**recipe))
model = trainer.wrap_network(trainer.network.train())
images = to_float(trainer.local_part(pixels)).double()
loss = trainer.batch_loss(model, images, trainer.local_part(labels), len(pixels))
loss.backward()
loss = float(trainer.sum_over_processes(loss.detach()))
if trainer.is_main_process:
    gradients = {name: parameter.grad for name, parameter in trainer.network.named_parameters()}
    torch.save([loss, gradients, trainer.network.state_dict()], Path(sys.argv[1], "output.pt"))
torch.distributed.destroy_process_group()
if other and os.waitpid(other, 0)[1]:
    sys.exit("rank 1 failed")
end_process()
"""


def pictures(count: int) -> Examples:
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(0, 256, (count, 32, 32), generator=generator, dtype=torch.uint8)
    return Examples(images, (torch.arange(count) % 3 == 0).long())


def test_gradients_of_two_processes_equal_those_of_one(tmp_path):
    """13 images: the two parts differ in size and in their classes. In float64, so that rounding does not matter."""
    torch.manual_seed(0)
    network = XrayNetwork("resnet18").double()
    torch.nn.init.normal_(network.head.weight, std=0.1)  # at zero it would hide all other gradients
    examples = pictures(13)
    torch.save(
        [examples.pixels, examples.labels, network.state_dict(), dataclasses.asdict(RECIPE)], tmp_path / "input.pt"
    )
    (tmp_path / "step.py").write_text(ONE_STEP)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    address |= {"PYTHONPATH": str(LIBRARY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(tmp_path / "step.py"), str(tmp_path)]
    done = subprocess.run(command, env=os.environ | address, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    loss, gradients, state = torch.load(tmp_path / "output.pt", weights_only=True)

    alone = Trainer(network, examples, examples, RECIPE)
    whole = to_float(examples.pixels).double()
    expected = alone.batch_loss(alone.network.train(), whole, examples.labels, 13)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for name, parameter in alone.network.named_parameters():
        assert torch.allclose(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6), name
    for name, value in alone.network.state_dict().items():  # running statistics, which validation uses
        assert torch.allclose(state[name], value, rtol=1e-6), name


def test_a_worker_that_fails_says_why(monkeypatch):
    said = "[rank1]: Traceback\n[rank1]: ValueError: training holds [0, 28] images\nsent SIGTERM\n"
    failed = subprocess.CompletedProcess([], 1, stdout=said)
    monkeypatch.setattr(launch.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(RuntimeError, match=r"ValueError: training holds \[0, 28\] images$"):
        launch.run_with_torchrun([], {})
