"""The code of the functions in the account: whole, alone, and named by its content."""

import hashlib
import json
import subprocess
import sys
from dataclasses import asdict

from tests.broken_files import write_broken_files

from cxr.data.in_account import functions, handlers
from cxr.data.in_account.examining import Origin, examine
from cxr.data.patient_ids.rules import PatientRules
from cxr.model import preprocessing

ALONE = """
import json, sys
code, *files = sys.argv[1:]
sys.path.insert(0, code)
from cxr.data.in_account import handlers
assert handlers.__file__.startswith(code) and not {"torch", "snowflake.connector"} & set(sys.modules)
for file in files:
    print(json.dumps([
        handlers.examine(lambda: open(file, "rb"), None, None, "NORMAL/a.dcm", None, None, 2, "key"),
        handlers.pixels(lambda: open(file, "rb"), "x", 64),
    ]))
"""


def test_the_code_runs_with_nothing_else_of_the_project_and_says_what_it_says_here(tmp_path):
    expected = write_broken_files(tmp_path / "files")
    files = sorted(tmp_path.joinpath("files").iterdir())
    code = tmp_path / "code.zip"
    code.write_bytes(functions.pack())
    command = [sys.executable, "-I", "-c", ALONE, code, *files]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    origin, rules = Origin(None), PatientRules(2, "key")
    for file, line in zip(files, lines, strict=True):
        data, (found, square) = file.read_bytes(), json.loads(line)
        assert found == asdict(examine(data, "NORMAL/a.dcm", origin, rules)), file.name
        assert ("pixels" in square) == (expected[file.name] in ("ok", "duplicate")), file.name


def test_the_same_code_has_the_same_name_and_other_code_another(account, monkeypatch):
    first = functions.define(account, "pixels", {"image_id": "STRING", "side": "INT"})
    assert functions.define(account, "pixels", {"image_id": "STRING", "side": "INT"}) == first
    assert functions.pack() == functions.pack()
    monkeypatch.setattr(functions, "SHIPPED", (*functions.SHIPPED, "cxr/settings.py"))
    second = functions.define(account, "pixels", {"image_id": "STRING", "side": "INT"})
    assert second != first
    listed = account.session.sql(f"LIST {account.artifacts_stage}/functions/").collect()
    assert {row["name"].rpartition("-")[2].upper() for row in listed} >= {
        f"{name.rpartition('_')[2]}.ZIP" for name in (first, second)
    }


def unopened():
    raise AssertionError("the file was opened")


def broken():
    raise RuntimeError("its message may hold a name")


def test_a_file_that_cannot_be_read_is_an_answer_and_not_the_end_of_the_statement(monkeypatch):
    found = handlers.examine(broken, 5, None, None, None, None, 2, "")
    assert found == {"reason": "unreadable", "detail": "reading it stopped with RuntimeError"}
    assert handlers.pixels(broken, "x", 64) == found
    monkeypatch.setattr("cxr.model.limits.MAX_BYTES", 1000)
    assert handlers.examine(unopened, 1001, None, None, None, None, 2, "")["reason"] == "too_large"


def test_a_file_with_other_content_than_before_has_changed(tmp_path):
    file = tmp_path / "x"
    file.write_bytes(b"now")
    for name in (None, "NORMAL/x.png"):
        answer = handlers.examine(lambda: file.open("rb"), 3, "a" * 64, name, None, None, 2, "")
        assert answer["reason"] == "changed"
    assert handlers.pixels(lambda: file.open("rb"), "a" * 64, 64)["reason"] == "changed"


def test_a_file_that_cannot_be_read_is_told_from_one_with_other_content(tmp_path):
    file = tmp_path / "x"
    file.write_bytes(b"now")
    assert handlers.check(lambda: file.open("rb"), hashlib.sha256(b"now").hexdigest()) is None
    assert handlers.check(lambda: file.open("rb"), "a" * 64) == "changed"
    assert handlers.check(broken, "a" * 64) == "unreadable: reading it stopped with RuntimeError"


def test_the_packages_of_a_function_are_those_that_decode():
    assert functions._PACKAGES[1:] == functions.DECODING
    assert preprocessing.PREPROCESSING_VERSION == 2, "PIXELS keeps the rows of other versions apart"
