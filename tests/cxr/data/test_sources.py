"""The same images from a folder, a zip, a stage and a stage's mount give the same catalog."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from subprocess import PIPE

import pytest
from tests.broken_files import write_broken_files

from cxr.account.scratch import remove_abandoned_folders
from cxr.data import catalog, ingest
from cxr.data.sources import Folder, Stage, Zip, open_source, private_folder
from cxr.data.survey import survey
from cxr.model import preprocessing
from cxr.phantoms.dataset import write_phantoms

LIBRARY = Path(__file__).resolve().parents[3] / "lib"
COLUMNS = ["IMAGE_ID", "RELATIVE_PATH", "SOURCE_NAME", "LABEL", "PATIENT_ID", "SPLIT", "BYTES", "FORMAT"]
STAGE = "@MEDICAL_IMAGES.CHEST_XRAY.RAW"
OPTIONS = "DIRECTORY = (ENABLE = TRUE) ENCRYPTION = (TYPE = 'SNOWFLAKE_SSE')"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Phantoms, beside a damaged file, and one whose bare name stands in two folders."""
    home = tmp_path_factory.mktemp("sources")
    write_phantoms(home, patients=6, size=96, seed=5)
    (home / "phantoms.json").unlink()
    (home / "NORMAL" / "IM-0900-0001.jpeg").write_bytes(b"no image")
    twins = sorted((home / "NORMAL").glob("*.jpeg"))[:2]
    for place, twin in zip(("train", "val"), twins, strict=True):
        (home / place / "NORMAL").mkdir(parents=True)
        twin.rename(home / place / "NORMAL" / "IM-0800 (1).jpeg")
    return home


@pytest.fixture(scope="module")
def expected(account, folder):
    return ingested(account, folder)


def ingested(project, data):
    for table in (project.catalog, project.rejected):
        project.session.sql(f"DELETE FROM {table}").collect()
    project.session.sql(f"REMOVE {project.images_stage}").collect()
    counts = ingest.ingest(project, data)
    rows = catalog.read_catalog(project)
    listed = {
        row[0] for row in project.session.sql(f"SELECT RELATIVE_PATH FROM DIRECTORY({project.images_stage})").collect()
    }
    assert listed == set(rows["RELATIVE_PATH"])
    return counts, rows[COLUMNS].to_dict("records")


def test_a_zip_gives_what_the_folder_gives(empty, expected, folder, tmp_path):
    archive = Path(shutil.make_archive(str(tmp_path / "images"), "zip", folder))
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("__MACOSX/NORMAL/IM-0001-0001.jpeg", b"a shadow")
    assert ingested(empty, archive) == expected


def test_copies_that_a_killed_run_left_are_removed_the_next_day(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old, new = tmp_path / "cxr-images-old", tmp_path / "cxr-images-new"
    for left in (old, new):
        left.mkdir()
        (left / "xray.jpeg").write_bytes(b"somebody's")
    yesterday = time.time() - 25 * 3600
    os.utime(old, (yesterday, yesterday))
    with private_folder() as scratch:
        assert Path(scratch).stat().st_mode & 0o077 == 0
        assert not old.exists() and new.exists(), "the other run may still need it"


def test_copies_of_a_process_that_has_ended_are_removed_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    hold = (
        "import os, sys; from cxr.account.scratch import private_folder\n"
        "with private_folder() as own:\n"
        "    open(own + '/xray.jpeg', 'w').close(); print(own, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", hold]
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(LIBRARY)}
    with subprocess.Popen(command, env=environment, stdin=PIPE, stdout=PIPE, text=True) as other:
        left = Path(other.stdout.readline().strip())
        with private_folder() as own:
            assert remove_abandoned_folders() == 0 and left.exists() and Path(own).exists(), "both are in use"
        other.kill()
    assert left.exists()
    assert remove_abandoned_folders() == 1 and not left.exists()


@pytest.fixture
def staged(empty, folder):
    project = empty
    project.session.sql(f"CREATE OR REPLACE STAGE {STAGE[1:]} {OPTIONS}").collect()
    for home in {path.parent for path in folder.rglob("*.jpeg")}:
        target = f"{STAGE}/in/{home.relative_to(folder).as_posix()}"
        project.session.file.put(f"{home}/*", target, auto_compress=False)
    yield f"{STAGE}/in"
    project.session.sql(f"DROP STAGE {STAGE[1:]}").collect()


@pytest.mark.parametrize("mounted", [False, True])
def test_the_files_of_a_stage_can_be_read_here_through_its_mount_or_from_copies(empty, staged, folder, mounted):
    """For whoever must have their bytes: ingest does without (in_account/test_in_place.py)."""
    source = Stage(empty.session, staged, folder if mounted else None)
    names = list(source.names())
    assert len(names) == len(list(folder.rglob("*.jpeg")))
    with source.reading(names) as reader:
        assert all(reader.read(name) == (folder / name).read_bytes() for name in names)


@pytest.mark.parametrize("named", ["@MEDICAL_IMAGES.CHEST_XRAY.FULL", "@chest_xray.full", "@FULL/in"])
def test_a_stage_whose_files_no_function_can_read_is_refused_before_it_is_listed(empty, staged, named):
    empty.session.sql("CREATE OR REPLACE STAGE MEDICAL_IMAGES.CHEST_XRAY.FULL DIRECTORY = (ENABLE = TRUE)").collect()
    create = f"CREATE STAGE {named[1:].split('/')[0]}_SSE {OPTIONS}"
    with pytest.raises(ValueError, match=rf"default encryption \(SNOWFLAKE_FULL\).*{re.escape(create)}"):
        list(Stage(empty.session, named).names())
    empty.session.sql("DROP STAGE MEDICAL_IMAGES.CHEST_XRAY.FULL").collect()


@pytest.mark.parametrize("url", ["@RAW; DROP TABLE X", "@'RAW'", "@a.b.c.d/x", "@"])
def test_what_is_no_stage_never_reaches_sql(url):
    with pytest.raises(ValueError, match="not of the form"):
        Stage(None, url)


def test_a_source_that_is_not_there_and_a_zip_that_is_none_are_named(account, tmp_path):
    project = account
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_source(project, tmp_path / "nowhere")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(ValueError, match=r"text\.zip is no zip"):
        open_source(project, tmp_path / "text.zip")


def test_entries_of_a_zip_that_lie_or_are_damaged_are_refused(tmp_path, monkeypatch):
    for module in ("cxr.data.sources", "cxr.model.limits"):
        monkeypatch.setattr(f"{module}.MAX_BYTES", 1000)
    path = tmp_path / "odd.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb", bytes(100_000))
        file.writestr("torn", bytes(range(256)))
    data = bytearray(path.read_bytes())
    # The directory at the end says that the bomb is small.
    entry = data.rfind(b"PK\x01\x02", 0, data.rfind(b"torn"))
    first = data.rfind(b"PK\x01\x02", 0, entry)
    data[first + 24 : first + 28] = (10).to_bytes(4, "little")
    start = data.find(b"torn") + 4
    data[start : start + 20] = bytes(20)
    path.write_bytes(data)
    source = Zip(path)
    for name in source.names():
        with pytest.raises((OSError, preprocessing.BadImage)):
            source.read(name)


def test_an_entry_that_cannot_be_read_is_refused_and_the_rest_of_the_zip_is_cataloged(empty, folder, tmp_path):
    image = next((folder / "PNEUMONIA").glob("*.jpeg")).read_bytes()
    path = tmp_path / "odd.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name in ("NORMAL/torn.jpeg", "NORMAL/unknown.jpeg", "NORMAL/locked.jpeg"):
            file.writestr(name, image + name.encode())
        file.writestr("NORMAL\\windows.jpeg", image)
    data = bytearray(path.read_bytes())
    data[data.find(image) + 500] ^= 255  # no longer what its checksum says
    for name, offset, value in (("unknown", 10, 99), ("locked", 8, 1)):  # method of compression, flags
        entry = data.rfind(b"PK\x01\x02", 0, data.rfind(f"NORMAL/{name}".encode()))
        local = data.find(b"PK\x03\x04", data.find(f"NORMAL/{name}".encode()) - 40)
        data[entry + offset : entry + offset + 2] = data[local + offset - 2 : local + offset] = value.to_bytes(
            2, "little"
        )
    path.write_bytes(data)
    counts = ingest.ingest(empty, path)
    assert (counts["cataloged"], counts["rejected"]) == (1, 3)
    assert catalog.read_catalog(empty)["SOURCE_NAME"].tolist() == ["NORMAL/windows.jpeg"]


def test_what_is_no_file_is_refused_and_the_rest_of_the_folder_is_cataloged(empty, folder, tmp_path):
    (tmp_path / "NORMAL").mkdir()
    shutil.copyfile(next((folder / "NORMAL").glob("*.jpeg")), tmp_path / "NORMAL" / "IM-0001-0001.jpeg")
    os.mkfifo(tmp_path / "NORMAL" / "pipe.jpeg")
    (tmp_path / "NORMAL" / "gone.jpeg").symlink_to(tmp_path / "nowhere")
    counts = ingest.ingest(empty, tmp_path)
    assert (counts["cataloged"], counts["rejected"]) == (1, 2)


def lock(monkeypatch, ending: str) -> None:
    """Folders whose path ends so cannot be listed, as under root no mode of a folder can do."""
    scan = os.scandir

    def refusing(path="."):
        if str(path).endswith(ending):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)


def test_what_cannot_be_read_for_now_is_not_taken_for_gone(empty, folder, tmp_path, monkeypatch):
    project, images = empty, sorted((folder / "NORMAL").glob("*.jpeg"))
    names = ["NORMAL/IM-0001.jpeg", "NORMAL/IM-0002.jpeg", "PNEUMONIA/part2/person1_virus_1.jpeg"]
    for name, image in zip(names, images, strict=False):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, tmp_path / name)
    (tmp_path / "PNEUMONIA" / "part2" / "broken.png").write_text("no image")
    assert ingest.ingest(project, tmp_path)["rejected"] == 1
    (tmp_path / "NORMAL" / "IM-0001.jpeg").unlink()
    (tmp_path / "NORMAL" / "IM-0002.jpeg").rename(tmp_path / "away")
    (tmp_path / "NORMAL" / "IM-0002.jpeg").symlink_to(tmp_path / "NORMAL" / "offline")
    (tmp_path / "away").rename(tmp_path.with_suffix(".away"))
    shutil.copyfile(images[3], tmp_path / "NORMAL" / "IM-0003.jpeg")
    with monkeypatch.context() as patched:
        lock(patched, "part2")
        found = survey(project, tmp_path)
        assert any("what the catalog holds of them stays" in line for line in found.summary())
        assert ingest.ingest(project, found)["vanished"] == 1, "the file that was removed"
    assert set(catalog.read_catalog(project)["SOURCE_NAME"]) == {*names[1:], "NORMAL/IM-0003.jpeg"}
    assert catalog.label_set(project).names == ("NORMAL", "PNEUMONIA")
    rejected = {row["SOURCE_NAME"] for row in project.session.table(project.rejected).collect()}
    assert rejected == {"PNEUMONIA/part2/broken.png", "NORMAL/IM-0002.jpeg"}
    shutil.rmtree(tmp_path / "PNEUMONIA" / "part2")
    assert ingest.ingest(project, tmp_path)["vanished"] == 2, "a folder that is gone is gone"


def test_folders_that_cannot_be_looked_into_are_counted(empty, folder, tmp_path, monkeypatch):
    (tmp_path / "NORMAL").mkdir()
    shutil.copyfile(next((folder / "NORMAL").glob("*.jpeg")), tmp_path / "NORMAL" / "IM-0001-0001.jpeg")
    (tmp_path / "locked").mkdir()
    lock(monkeypatch, "locked")
    found = survey(empty, tmp_path)
    assert found.summary()[-2].startswith("1 folders cannot be looked into")
    assert ingest.ingest(empty, found)["folders_unread"] == 1


def test_a_folder_lists_what_is_no_plain_file_and_refuses_to_read_it(tmp_path):
    write_broken_files(tmp_path / "NORMAL")
    (tmp_path / "NORMAL" / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "NORMAL" / "pipe")
    source = Folder(tmp_path)
    assert "NORMAL/pipe" in set(source.names())
    with pytest.raises(OSError, match="not a regular file"):
        source.read("NORMAL/pipe")
