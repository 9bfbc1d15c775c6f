"""The broken files are what they claim to be, and the project's own reader agrees with each claim."""

from collections import Counter

import numpy as np
import pytest
from tests.broken_files import DUPLICATE, mutate, write_broken_files

from cxr.model import preprocessing


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("broken")
    return folder, write_broken_files(folder, seed=1)


def test_every_kind_of_trouble_is_there(broken):
    folder, reasons = broken
    assert {path.name for path in folder.iterdir()} == set(reasons)
    assert set(reasons.values()) == {
        *("ok", "empty", "unreadable", "truncated", "unsupported", "multiframe", "too_large", "too_small"),
        *("aspect_ratio", "blank", "not_greyscale", "duplicate"),
    }


def test_reader_gives_each_file_its_reason(broken):
    folder, reasons = broken

    def answer(name):
        try:
            preprocessing.decode((folder / name).read_bytes())
        except preprocessing.BadImage as bad:
            return bad.reason
        return "ok"

    # Which file is a duplicate only a catalog can say: alone it is a good image.
    assert {name: answer(name) for name in reasons} == reasons | {DUPLICATE: "ok"}


def test_the_bomb_is_small_and_the_duplicate_exact(broken):
    folder, _ = broken
    assert (folder / "bomb.png").stat().st_size < 1000
    assert (folder / DUPLICATE).read_bytes() == (folder / "plain.jpeg").read_bytes()


def test_other_files_are_not_duplicates_of_each_other(broken):
    folder, reasons = broken
    contents = [(folder / name).read_bytes() for name in reasons if name != DUPLICATE]
    assert len(set(contents)) == len(contents)


def test_same_seed_same_bytes(broken, tmp_path):
    folder, reasons = broken
    assert write_broken_files(tmp_path, seed=1) == reasons
    assert all((tmp_path / name).read_bytes() == (folder / name).read_bytes() for name in reasons)


@pytest.mark.parametrize("name", ["plain.jpeg", "alpha.png", "one_frame.dcm", "empty.jpeg"])
def test_mutations_differ_stay_bounded_and_repeat(broken, name):
    data = (broken[0] / name).read_bytes()
    mutants = [mutate(data, np.random.default_rng(seed)) for seed in range(60)]
    assert mutants == [mutate(data, np.random.default_rng(seed)) for seed in range(60)]
    assert max(map(len, mutants)) <= len(data) + 3 * 8192
    if data:
        assert len(set(mutants)) > 50
        assert sum(mutant == data for mutant in mutants) <= 1


def test_mutated_files_are_cataloged_or_refused_with_a_reason(broken):
    """The long form, with 20,000 files and limits of time and memory, is `python3 ci soak mutations`."""
    folder, reasons = broken
    whole = [(folder / name).read_bytes() for name in sorted(reasons)]
    said = Counter()
    for seed in range(260):
        try:
            preprocessing.decode(mutate(whole[seed % len(whole)], np.random.default_rng(seed)), at_least=256)
            said["ok"] += 1
        except preprocessing.BadImage as bad:
            said[bad.reason] += 1
    assert set(said) <= set(reasons.values()) and len(said) > 5
    assert 10 < said["ok"] < 130
