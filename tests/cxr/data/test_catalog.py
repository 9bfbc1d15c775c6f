"""Checks and fingerprints. What needs an account stands in test_ingest.py and test_sources.py."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from tests.broken_files import write_broken_files

from cxr.data import checking
from cxr.data.labels import Describer
from cxr.data.patient_ids.rules import PatientRules
from cxr.data.sources import Folder


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for place in ("train/NORMAL/IM-0001-0001.png", "test/PNEUMONIA/person1_virus_1.png", "val/NORMAL/IM-0002-0001.png"):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (64, 64), dtype=np.uint8)).save(path)
    return tmp_path


def checked(folder, **options):
    source = Folder(folder)
    batches = checking.check_files(source, ((name, Describer()(name)) for name in source.names()), **options)
    return [(batch.found, batch.accepted) for batch in batches]


def test_files_are_listed_in_a_stable_order_without_hidden_ones(folder):
    (folder / "train" / "NORMAL" / ".DS_Store").write_text("not ours")
    assert list(Folder(folder).names()) == [
        "test/PNEUMONIA/person1_virus_1.png",
        "train/NORMAL/IM-0001-0001.png",
        "val/NORMAL/IM-0002-0001.png",
    ]


def test_every_file_is_accepted_or_refused_with_a_reason(folder):
    home = folder / "train" / "NORMAL"
    data = (home / "IM-0001-0001.png").read_bytes()
    (home / "IM-0003-0001.png").write_bytes(data)
    (home / "IM-0004-0001.png").write_bytes(data[:200])
    (home / "IM-0005-0001.png").symlink_to(folder / "nowhere.png")
    ((found, accepted),) = checked(folder)
    reasons = {file.source_name.split("/")[-1]: file.reason for file in found}
    assert reasons.pop("IM-0004-0001.png") in ("truncated", "unreadable")
    assert reasons.pop("IM-0005-0001.png") == "unreadable"
    assert len(reasons) == 4 and set(reasons.values()) == {None}
    # Of two files with the same bytes one is decoded; the account says which one is the duplicate.
    assert [row.source_name for row in accepted].count("train/NORMAL/IM-0001-0001.png") == 1 and len(accepted) == 3


def test_the_stage_never_sees_a_file_name(folder):
    for row in checked(folder)[0][1]:
        assert row.relative_path == f"xrays/{row.image_id[:2]}/{row.image_id}.png"


def test_patients_of_dicom_files_come_from_the_header_behind_the_key(tmp_path):
    write_broken_files(tmp_path / "NORMAL")
    keep = {"one_frame.dcm", "plain.jpeg"}
    for path in (tmp_path / "NORMAL").iterdir():
        if path.name not in keep:
            path.unlink()
    ids = [
        {row.source_name: row.patient_id for row in checked(tmp_path, rules=PatientRules(key=key))[0][1]}
        for key in ("a", "b", "a")
    ]
    assert ids[0] == ids[2]
    assert ids[0]["NORMAL/one_frame.dcm"] != ids[1]["NORMAL/one_frame.dcm"]
    assert ids[0]["NORMAL/one_frame.dcm"].startswith("patient-") and "P0001" not in str(ids)
    assert ids[0]["NORMAL/plain.jpeg"].startswith("file-"), "no id found: a patient of its own"
    assert ids[0]["NORMAL/plain.jpeg"] != ids[1]["NORMAL/plain.jpeg"], "which is under the key too"


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_batches_change_nothing(folder, monkeypatch, batch):
    """Twins on both sides of a border are accepted once, and damaged twins refused twice."""
    for number in range(2, 8):
        home = folder / "val" / "NORMAL"
        (home / f"IM-{number:04}-0002.png").write_bytes((home / "IM-0002-0001.png").read_bytes())
        (home / f"IM-{number:04}-0003.png").write_bytes(b"no image")
    (whole,) = checked(folder)
    monkeypatch.setattr(checking, "BATCH", batch)
    parts = list(checked(folder))
    assert len(parts) > 1
    # Nobody tells this run what the batches before have accepted, so a twin in a later one is new to it.
    old = [replace(file, is_new=False) for found, _ in parts for file in found]
    assert old == [replace(file, is_new=False) for file in whole[0]]
    # What the batch before holds is not handed out again; what came earlier the account knows.
    accepted, source = {}, Folder(folder)
    files = ((name, Describer()(name)) for name in source.names())
    for part in checking.check_files(source, files, known=lambda ids: set(accepted) & set(ids)):
        accepted.update({row.image_id: row for row in part.accepted})
    assert list(accepted.values()) == whole[1]


def test_known_images_are_not_decoded_again(folder, monkeypatch):
    ids = {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.png")}
    monkeypatch.setattr(checking.preprocessing, "decode", lambda *_, **__: pytest.fail("decoded"))
    ((found, accepted),) = checked(folder, known=lambda asked: ids)
    assert {file.image_id for file in found} == ids and not accepted
