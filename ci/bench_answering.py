"""How fast the registered model answers on a CPU: warm, and from a new process to the first answer."""

import base64
import copy
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from tests.trained import model_config

from bench_results import ROUNDS, Results
from cxr.model.network import BATCH, XrayNetwork, make_fast, predict_logits
from cxr.phantoms.dataset import write_phantoms
from environment import ROOT

# Prints the seconds of each part of what a new process does before its first answer.
COLD = """
import sys, time
clock, seconds = [time.perf_counter()], {}

def lap(name):
    clock.append(time.perf_counter())
    seconds[name] = clock[-1] - clock[-2]

sys.path.insert(0, sys.argv[1])
import torch
lap("import torch")
import pandas, snowflake.ml.model.custom_model
lap("import snowflake.ml")
from cxr.model.registered import XrayClassifier
lap("import the rest")
from snowflake.ml.model.custom_model import ModelContext
model = XrayClassifier(ModelContext(artifacts={"config": sys.argv[2], "weights": sys.argv[3]}))
lap("load the model")
rows = pandas.DataFrame({"IMAGE": [sys.argv[4]]})
model.predict(rows)
lap("first answer")
model.predict(rows)
lap("second answer")
import json
print(json.dumps(seconds))
"""


def run(results: Results) -> None:
    warm(results)
    cold(results)


def cold(results: Results) -> None:
    """The time of importing PyTorch, which nothing here can shorten, compared with all until the first answer."""
    with tempfile.TemporaryDirectory() as scratch:
        config, weights = Path(scratch, "model.json"), Path(scratch, "network.pt")
        model_config(backbone="resnet18", image_size=128).write(config)
        torch.save(XrayNetwork().state_dict(), weights)
        image = next(write_phantoms(Path(scratch, "set"), patients=1).rglob("*.jpeg"))
        command = [sys.executable, "-c", COLD, str(ROOT / "lib"), str(config), str(weights)]
        command.append(base64.b64encode(image.read_bytes()).decode())
        rounds = [json.loads(subprocess.check_output(command)) for _ in range(ROUNDS)]
    middle = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    whole = [sum(each.values()) - each["second answer"] for each in rounds]
    parts = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in middle.items())
    ratios = [each["import torch"] / all_of_it for each, all_of_it in zip(rounds, whole, strict=True)]
    results.add("import of PyTorch, compared with all from a new process to its first answer", ratios, parts)


def warm(results: Results, side: int = 128, count: int = 4 * BATCH, rounds: int = 20) -> None:
    """Compared with the trained network in PyTorch's default layout, in many short rounds: other work on the machine
    lasts some seconds, and then changes few of the ratios.
    """
    torch.manual_seed(0)
    plain = XrayNetwork().eval()
    torch.nn.init.normal_(plain.head.weight, std=0.1)
    fast = make_fast(copy.deepcopy(plain))
    images = torch.randint(0, 256, (count, side, side), dtype=torch.uint8)
    difference = (predict_logits(fast, images) - predict_logits(plain, images)).abs().max().item()

    def answers_of(network: XrayNetwork):
        return lambda: len(predict_logits(network, images))

    title = (
        f"the registered ResNet-18 at {side} px, compared with plain eager PyTorch (logits differ by {difference:.1e})"
    )
    results.compare_with_each(title, answers_of(fast), {"": answers_of(plain)}, rounds)
