"""Benchmarks. Each prints the ratio of two rates measured alternately in one run, because machines differ."""

import importlib
from pathlib import Path

from bench_results import Results

RESULTS = Path("build") / "bench.json"
NAMES = ("training", "answering", "ingest", "account", "app", "serving")
ALONE = ("scale", "transfer", "quality")  # take long, and have questions of their own


def run(names: list[str], short: bool = False, sizes: list[int] | None = None, data: str | None = None) -> int:
    """Run the named benchmarks, or all but those that run alone. Returns 1 if a name is unknown."""
    if names == ["scale"]:
        return _scale(sizes)
    if names in (["transfer"], ["quality"]):
        return _on_xrays(names[0], data)
    if unknown := set(names) - set(NAMES):
        print(f"No benchmark is called {', '.join(sorted(unknown))}; there are {', '.join((*NAMES, *ALONE))}.")
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


def _on_xrays(name: str, data: str | None) -> int:
    if not data:
        print(f"python3 ci bench {name} --data DIR: it needs X-rays, phantoms say nothing about {name}.")
        return 1
    importlib.import_module(f"bench_{name}").run(Results(name), Path(data))
    return 0
