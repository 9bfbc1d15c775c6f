"""Endurance of an account: kills amid ingest, logging of versions, promotion and predictions.

A worker does the four things again and again and says what was acknowledged. The worker or the server is killed at a
random moment; the next worker looks first whether all of that is there, and whether production and default agree.
"""

import json
import os
import random
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import torch
from tests.registration import log_version
from tests.trained import model_config, probability, report_of, two

from cxr.account import scripts
from cxr.account.project import Project, open_project
from cxr.account.session import PROJECT
from cxr.data import catalog, ingest
from cxr.data.pixels import fetch_files, provenance
from cxr.lifecycle import promotion, promotion_records, runs
from cxr.model import preprocessing
from cxr.model.network import XrayNetwork
from cxr.serving import scoring
from cxr.serving.scoring_job import score_new_images
from cxr.settings import LABELS

STEPS = ("ingest", "log_model", "promotion", "predictions")
IMAGES_A_ROUND = 6
Say = Callable[[str, object], None]


class Lost(Exception):
    """What was acknowledged is not there, or what has to agree does not."""


def kill_often(count: int, write_images: Callable[[Path, int], None]) -> int:
    """Kill worker or server `count` times. `write_images(folder, count)` makes labelled images."""
    # An interrupted promotion would otherwise stop the next look for a minute.
    promotion_records._RECENT = promotion_records._RECENT.replace(str(promotion_records.STALE_SECONDS), "1")
    chance, killed = random.Random(0), {"worker": 0, "server": 0}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        os.environ |= {"CXR_CACHE_DIR": f"{scratch}/cache", "CXR_ACCOUNT_DIR": f"{scratch}/account"}
        write_images(Path(scratch, "pool"), IMAGES_A_ROUND * (count + 20))
        done: dict[str, list] = {"images": [], "version": [], "promoting": [], "production": [], "predicted": []}
        done |= {step: [] for step in STEPS}
        while sum(killed.values()) < count:
            worker = Worker(Path(scratch), done)
            step = chance.choice(STEPS)
            if not worker.wait_for(f"begin {step}" if done[STEPS[-1]] else "round"):
                return worker.report()
            end = time.monotonic() + chance.uniform(0, 1.1 * max(done[step][-5:]))
            while time.monotonic() < end and worker.read():
                time.sleep(0.01)
            victim = chance.choice(list(killed))
            if victim == "server":
                _server(scratch).kill()
                time.sleep(0.3)
            worker.kill()
            killed[victim] += 1
            amounts = ", ".join(
                f"{len(set(done[name]))} {name}" for name in ("images", "version", "production", "predicted")
            )
            print(f"kill {sum(killed.values())} ({victim} amid {step}): acknowledged {amounts}", flush=True)
        worker = Worker(Path(scratch), done)
        whole = worker.wait_for("round")
        worker.kill()
        _server(scratch).terminate()
        if not whole:
            return worker.report()
    print(f"{killed['worker']} workers and {killed['server']} servers killed: nothing acknowledged is lost")
    return 0


def _server(root: str) -> psutil.Process:
    named = (p for p in psutil.process_iter(["cmdline"]) if f"{root}/account" in (p.info["cmdline"] or []))
    return next(p for p in named if "local_account" in " ".join(p.info["cmdline"]))


class Worker:
    """A forked process that works and says what was acknowledged, a line of JSON each; `done` collects it."""

    def __init__(self, scratch: Path, done: dict[str, list]):
        self.done, self.lines, self.rest = done, [], b""
        self.errors = scratch / "errors"
        self.pipe, writer = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.dup2(os.open(self.errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            os.dup2(2, 1)
            try:
                _work(scratch, done, lambda kind, what: os.write(writer, json.dumps([kind, what]).encode() + b"\n"))
            finally:
                traceback.print_exc()
                os._exit(1)
        os.close(writer)
        os.set_blocking(self.pipe, False)

    def read(self) -> bool:
        """Take in what it has said; False at its end."""
        try:
            data = os.read(self.pipe, 1 << 20)
        except BlockingIOError:
            return True
        *whole, self.rest = (self.rest + data).split(b"\n")
        for kind, what in map(json.loads, whole):
            self.lines.append(kind)
            if kind in self.done:
                self.done[kind] += what if isinstance(what, list) else [what]
        return bool(data)

    def wait_for(self, kind: str) -> bool:
        while kind not in self.lines and self.read():
            time.sleep(0.01)
        return kind in self.lines

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        while self.read():
            pass
        os.close(self.pipe)

    def report(self) -> int:
        print(self.errors.read_text()[-3000:])
        return 1


def _work(scratch: Path, done: dict[str, list], say: Say) -> None:
    project = open_project(argv=[], environ=dict(os.environ))
    scripts.run_sql_file(project, PROJECT / "sql" / "20_objects.sql")
    _check(project, done, say)
    seed = int.from_bytes(os.urandom(4), "big")
    while True:
        _round(project, scratch, seed, say)
        say("round", None)
        seed += 1


def _check(project: Project, done: dict[str, list], say: Say) -> None:
    """Raises Lost."""
    rows = project.session.table(project.catalog).select("IMAGE_ID", "RELATIVE_PATH").to_pandas()
    there = {
        "images": set(rows["IMAGE_ID"]),
        "predicted": {row[0] for row in project.session.table(project.predictions).select("SCORING_ID").collect()},
    }
    listed = {row["name"].split("/", 1)[1] for row in project.session.sql(f"LIST {project.images_stage}").collect()}
    if without := set(rows["RELATIVE_PATH"]) - listed:
        raise Lost(f"{len(without)} images of the catalog have no file")
    if done["version"] or done["promoting"]:
        model = scoring.open_registry(project).get_model(project.settings.model_name)
        there["version"] = set(model.show_versions()["name"])
        production = promotion.repair(project, model)
        named = promotion.aliases(model).get(promotion.PRODUCTION)
        if production != named or production is not None and model.default.version_name != production:
            raise Lost(f"production is {production}, its alias {named}, the default {model.default.version_name}")
        last = done["production"][-1] if done["production"] else None
        if production not in (last, done["promoting"][-1] if done["promoting"] else None):
            raise Lost(f"{last} went into production, and now {production} is there")
        if production:
            say("production", production)
    for kind, found in there.items():
        if gone := set(done[kind]) - found:
            raise Lost(f"{len(gone)} of {kind} were acknowledged and are gone")


def _round(project: Project, scratch: Path, seed: int, say: Say) -> None:
    pool, folder = scratch / "pool", scratch / f"set-{seed}"  # few files, so that a kill meets the later steps too
    for file in sorted(pool.rglob("*.jpeg"), key=lambda file: int(file.stem.split("_")[-1]))[:IMAGES_A_ROUND]:
        place = folder / file.relative_to(pool)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.rename(place)
    with _step("ingest", say):
        ingest.ingest(project, folder)
    rows = catalog.read_catalog(project)
    say("images", list(rows["IMAGE_ID"]))
    run = _save_run(project, rows.head(30).assign(SPLIT="test"), seed)
    with _step("log_model", say):
        version = log_version(project, run, runs.fetch(project, run, scratch / "runs" / run))
    say("version", version.version_name)
    say("promoting", version.version_name)
    with _step("promotion", say):
        decision = promotion.promote(project, version)
    if decision.promoted:
        say("production", decision.production)
    in_use, _ = promotion.version_in_use(project)
    with _step("predictions", say):
        score_new_images(project, in_use)
    say("predicted", [row[0] for row in project.session.table(project.predictions).select("SCORING_ID").collect()])


@contextmanager
def _step(name: str, say: Say) -> Iterator[None]:
    """Says when the step begins, and how many seconds it took."""
    say(f"begin {name}", None)
    start = time.monotonic()
    yield
    say(name, time.monotonic() - start)


def _save_run(project: Project, rows, seed: int) -> str:
    """A run with random weights, whose invented scores are good enough for production."""
    torch.manual_seed(seed)
    stack = np.stack([preprocessing.load(path.read_bytes(), 64) for path in fetch_files(project, rows)])
    truth = (rows["LABEL"] == LABELS[1]).to_numpy()
    logits = 4.0 * (2 * truth - 1) + np.random.default_rng(seed).normal(size=len(rows))
    report = report_of(rows, logits)
    return runs.save(
        project,
        network=XrayNetwork("mobilenet_v3_large"),
        config=model_config(data="other", **provenance(stack, rows) | {"seed": seed}),
        evaluation={"validation": report, "test": report},
        history=[{"epoch": 1, "loss": 0.7}],
        scores=runs.scores_of(rows, two(probability(logits)), LABELS),
    )
