"""Benchmarks. Each prints the ratio of two rates measured alternately in one run, because machines differ."""

import importlib
from pathlib import Path

from bench_results import Results

RESULTS = Path("build") / "bench.json"
NAMES = ("training", "answering", "ingest", "account", "app", "serving")


def run(names: list[str], short: bool = False, sizes: list[int] | None = None, data: str | None = None) -> int:
    """Run the named benchmarks, or all but `scale` and `transfer`. Returns 1 if a name is unknown."""
    if names == ["scale"]:  # takes long and has a question of its own, so it is no part of the others
        return _scale(sizes)
    if names == ["transfer"]:
        return _transfer(data)
    if unknown := set(names) - set(NAMES):
        print(f"No benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}, scale, transfer.")
        return 1
    results = Results()
    for name in names or NAMES:
        results.benchmark = name
        module = importlib.import_module(f"bench_{name}")  # each needs others of the heavy libraries
        module.run(results, **({"short": short} if name == "serving" else {}))
    results.write(RESULTS)
    return 0


def _scale(sizes: list[int] | None) -> int:
    import bench_scale

    results = Results("scale")
    bench_scale.run(results, tuple(sizes or bench_scale.SIZES))
    return 0


def _transfer(data: str | None) -> int:
    if not data:
        print("python3 ci bench transfer --data DIR: it needs X-rays, phantoms say nothing about transfer.")
        return 1
    import bench_transfer

    bench_transfer.run(Results("transfer"), Path(data))
    return 0
