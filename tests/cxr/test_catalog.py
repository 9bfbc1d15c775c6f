"""Finding, checking and splitting images. What needs an account stands in test_ingest.py."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cxr import catalog
from cxr.catalog import Accepted, Rejected

PATIENTS = st.lists(st.text(min_size=1, max_size=12), unique=True, min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("name", "patient", "cause"),
    [
        ("train/PNEUMONIA/person12_bacteria_34.jpeg", "person12", "bacteria"),
        ("test/PNEUMONIA/person0012_virus_3.jpeg", "person12", "virus"),
        ("NORMAL/IM-0115-0001.jpeg", "IM-0115", None),
        ("NORMAL/NORMAL2-IM-0115-0001-0002.jpeg", "IM-0115", None),
    ],
)
def test_file_names_tell_the_patient(name, patient, cause):
    assert catalog.origin_from_name(Path(name)) == catalog.Origin(patient, cause)


def test_a_file_of_no_known_name_is_a_patient_of_its_own():
    first, second = (catalog.origin_from_name(Path(name)).patient_id for name in ("NORMAL/a.png", "NORMAL/b.png"))
    assert first != second and "a.png" not in first


@given(PATIENTS, st.integers(0, 3))
def test_every_patient_has_one_split_and_keeps_it_when_others_come(patients, seed):
    """Far from the exception for small data, a patient's split depends on nobody else."""
    for patient in patients:
        assert catalog.split_of(patient, seed, 0.1, 0.1) in ("train", "validation", "test")
    many = {f"p{i}": ("NORMAL", "PNEUMONIA")[i % 2] for i in range(400)}
    more = many | {patient: "NORMAL" for patient in patients if patient not in many}
    before, after = (catalog.split_patients(group, seed, 0.1, 0.1) for group in (many, more))
    assert all(after[patient] == split for patient, split in before.items())


def test_shares_come_out_as_asked_for_each_label():
    labels = {f"p{i}": ("NORMAL", "PNEUMONIA")[i % 3 > 0] for i in range(6000)}
    splits = catalog.split_patients(labels, 0, 0.10, 0.20)
    for label in ("NORMAL", "PNEUMONIA"):
        own = [splits[p] for p in labels if labels[p] == label]
        assert own.count("validation") / len(own) == pytest.approx(0.10, abs=0.02)
        assert own.count("test") / len(own) == pytest.approx(0.20, abs=0.02)


@given(st.integers(3, 12), st.integers(0, 20))
def test_few_patients_still_give_every_split_both_labels(count, seed):
    labels = {f"{label}{i}": label for label in ("NORMAL", "PNEUMONIA") for i in range(count)}
    splits = catalog.split_patients(labels, seed, 0.1, 0.1)
    for label in ("NORMAL", "PNEUMONIA"):
        assert {splits[p] for p in labels if labels[p] == label} == {"train", "validation", "test"}


def test_another_seed_gives_another_split():
    labels = {f"p{i}": "NORMAL" for i in range(200)}
    assert catalog.split_patients(labels, 0, 0.1, 0.1) != catalog.split_patients(labels, 1, 0.1, 0.1)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for place in ("train/NORMAL/IM-0001-0001.png", "test/PNEUMONIA/person1_virus_1.png", "val/NORMAL/IM-0002-0001.png"):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (64, 64), dtype=np.uint8)).save(path)
    return tmp_path


def test_files_are_found_below_their_labels_in_a_stable_order(folder):
    (folder / "train" / "NORMAL" / ".DS_Store").write_text("not ours")
    found = [(path.relative_to(folder).as_posix(), label) for path, label in catalog.find_files(folder)]
    assert found == [
        ("train/NORMAL/IM-0001-0001.png", "NORMAL"),
        ("val/NORMAL/IM-0002-0001.png", "NORMAL"),
        ("test/PNEUMONIA/person1_virus_1.png", "PNEUMONIA"),
    ]


def test_a_folder_without_labels_says_what_it_lacks(tmp_path):
    with pytest.raises(FileNotFoundError, match="NORMAL"):
        catalog.find_files(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        catalog.find_files(tmp_path / "nowhere")


def test_every_file_is_accepted_or_rejected_with_a_reason(folder):
    source = folder / "train" / "NORMAL" / "IM-0001-0001.png"
    (source.parent / "IM-0003-0001.png").write_bytes(source.read_bytes())
    (source.parent / "IM-0004-0001.png").write_bytes(source.read_bytes()[:200])
    results = {r.source_name.split("/")[-1]: r for r in catalog.check_files(catalog.find_files(folder), folder)}
    assert len(results) == 5
    assert isinstance(results["person1_virus_1.png"], Accepted) and results["person1_virus_1.png"].cause == "virus"
    assert results["IM-0003-0001.png"] == Rejected(
        "train/NORMAL/IM-0003-0001.png", "duplicate", "the same bytes as train/NORMAL/IM-0001-0001.png"
    )
    assert results["IM-0004-0001.png"].reason in ("truncated", "unreadable")


def test_the_stage_never_sees_a_file_name(folder):
    for result in catalog.check_files(catalog.find_files(folder), folder):
        assert result.relative_path == f"xrays/{result.image_id}.png"
