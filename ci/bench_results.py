"""What benchmarks measure: ratios with their spread, printed as they come and kept in a file."""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

ROUNDS = 5


@dataclass(frozen=True)
class Ratio:
    """Ours against a yardstick, measured in one run."""

    benchmark: str
    title: str
    median: float
    lowest: float
    highest: float
    rounds: int
    detail: str = ""


@dataclass
class Results:
    """All ratios of one call of `python3 ci bench`."""

    benchmark: str = ""
    ratios: list[Ratio] = field(default_factory=list)

    def add(self, title: str, ratios: list[float], detail: str = "") -> None:
        found = Ratio(self.benchmark, title, statistics.median(ratios), min(ratios), max(ratios), len(ratios), detail)
        self.ratios.append(found)
        print(
            f"{title}: ratio {found.median:.3g} ({found.lowest:.3g} to {found.highest:.3g}, {found.rounds} rounds)"
            + (f"; {detail}" if detail else ""),
            flush=True,
        )

    def compare(self, title: str, ours: Callable[[], int], yardstick: Callable[[], int]) -> None:
        """Measure two rates in images per second, in turn. Each callable does its work once and returns its images.

        The ratio of CPU times is told too, where this process does the work: it varies less on a busy machine.
        """
        self.compare_with_each(title, ours, {"": yardstick})

    def compare_with_each(
        self, title: str, ours: Callable[[], int], yardsticks: dict[str, Callable[[], int]], rounds: int = ROUNDS
    ) -> None:
        """The same with several yardsticks, by their names: a round runs each of them, and ours once."""
        works = {"ours": ours, **yardsticks}
        rates, costs = ({name: [] for name in works} for _ in range(2))
        for _ in range(rounds):
            for name, work in works.items():
                start, before = time.perf_counter(), sum(os.times()[:4])
                images = work()
                rates[name].append(images / (time.perf_counter() - start))
                costs[name].append((sum(os.times()[:4]) - before) / images)
        for name in yardsticks:
            detail = f"{statistics.median(rates['ours']):.1f} against {statistics.median(rates[name]):.1f} images/s"
            ours_cost, their_cost = (statistics.median(costs[each]) for each in ("ours", name))
            if min(ours_cost * statistics.median(rates["ours"]), their_cost * statistics.median(rates[name])) > 0.5:
                detail += f", ratio of CPU times {their_cost / ours_cost:.2f}"
            ratios = [a / b for a, b in zip(rates["ours"], rates[name], strict=True)]
            self.add(f"{title}, compared with {name}" if name else title, ratios, detail)

    def write(self, path: Path) -> None:
        """As JSON, and beside it the table for docs/performance.md in Markdown."""
        machine = {
            "date": datetime.now(UTC).date().isoformat(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "torchvision", "snowflake-ml-python", "duckdb")},
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"machine": machine, "ratios": [asdict(ratio) for ratio in self.ratios]}
        path.write_text(json.dumps(content, indent=2) + "\n")
        path.with_suffix(".md").write_text(self._table(machine))
        print(f"{path} and {path.with_suffix('.md').name}", file=sys.stderr)

    def _table(self, machine: dict) -> str:
        lines = ["| benchmark | ratio | lowest to highest | figures |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {each.title} | {each.median:.3g} | {each.lowest:.3g} to {each.highest:.3g} | {each.detail} |"
            for each in self.ratios
        ]
        told = ", ".join(f"{name} {value}" for name, value in machine.items())
        return "\n".join([*lines, "", f"Measured with {told}."]) + "\n"


def seconds_of(work: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
