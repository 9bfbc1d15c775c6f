"""A deployment takes no database from others, and a teardown removes nothing of theirs."""

import argparse
import importlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from snowflake.snowpark import Session

from cxr.account.session import start_local_account
from cxr.settings import load

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    root = tmp_path_factory.mktemp("ownership")
    opened = Session.builder.configs(start_local_account(load(argv=[], environ={}, account_dir=str(root)))).create()
    yield opened
    opened.close()
    subprocess.run([sys.executable, "-m", "local_account", "stop", "--root", str(root)], check=True)


@pytest.fixture
def deploy(session, tmp_path, monkeypatch, capsys):
    """`ci deploy` with this session: (the statements it would run, or None if it refuses; what it prints)."""
    monkeypatch.syspath_prepend(str(ROOT / "ci"))
    module = importlib.import_module("deploy")
    ran = []
    monkeypatch.setattr(module, "connect", lambda *_: session)
    monkeypatch.setattr(module, "execute", lambda _, steps: ran.extend(step.statements for step in steps) or 0)
    asked = dict.fromkeys(("connection", "dry_run", "start", "egress", "weights", "run", "start_schedule", "teardown"))
    asked |= {"run_as": "bundle", "profile": "default", "data": "", "build": str(tmp_path)}

    def run(**changed: str) -> tuple[list[str] | None, str]:
        ran.clear()
        code = module.deploy(argparse.Namespace(**asked | changed))
        assert bool(code) != bool(ran)
        return [text for statements in ran for text in statements] or None, capsys.readouterr().out

    return run


@pytest.fixture
def sql(session):
    def run(*statements: str) -> None:
        for statement in (*statements, "USE ROLE SYSADMIN"):
            session.sql(statement).collect()

    run("CREATE DATABASE MEDICAL_IMAGES", "CREATE SCHEMA MEDICAL_IMAGES.CHEST_XRAY")
    yield run
    run("DROP DATABASE MEDICAL_IMAGES")


def test_a_database_of_another_role_is_not_taken_over(sql, deploy, monkeypatch):
    assert deploy()[0], "it belongs to the role of this session"
    sql("CREATE ROLE TEAM", "USE ROLE TEAM", "CREATE DATABASE ANALYTICS")
    monkeypatch.setenv("CXR_DATABASE", "ANALYTICS")
    statements, said = deploy()
    assert statements is None and said.startswith("The database ANALYTICS exists and belongs to TEAM;")
    assert "CXR_DATABASE" in said and "Nothing was done" in said
    assert deploy(start="objects")[0], "it leaves the owner as it is"
    monkeypatch.setenv("CXR_ENGINEER_ROLE", "TEAM")
    assert deploy()[0]
    sql("DROP DATABASE ANALYTICS", "DROP ROLE TEAM")


def test_a_teardown_refuses_to_remove_other_schemas(sql, deploy, monkeypatch):
    assert "DROP DATABASE IF EXISTS MEDICAL_IMAGES" in deploy(teardown="MEDICAL_IMAGES")[0]
    sql("CREATE SCHEMA MEDICAL_IMAGES.TRIAL")
    monkeypatch.setenv("CXR_SCHEMA", "TRIAL")
    statements, said = deploy(teardown="MEDICAL_IMAGES")
    assert statements is None and "the schema MEDICAL_IMAGES.CHEST_XRAY" in said
    assert "--teardown MEDICAL_IMAGES.TRIAL" in said


def test_a_teardown_that_was_interrupted_can_go_on_without_the_database(deploy):
    statements, _ = deploy(teardown="MEDICAL_IMAGES")
    assert {"DROP DATABASE IF EXISTS MEDICAL_IMAGES", "DROP ROLE IF EXISTS CXR_ENGINEER"} <= set(statements)
    assert not [text for text in statements if " MEDICAL_IMAGES.CHEST_XRAY." in text]


def test_a_teardown_of_one_schema_leaves_all_else(sql, deploy, monkeypatch):
    sql("CREATE SCHEMA MEDICAL_IMAGES.TRIAL")
    monkeypatch.setenv("CXR_SCHEMA", "TRIAL")
    statements, _ = deploy(teardown="MEDICAL_IMAGES.TRIAL")
    first, *rest, last = statements
    assert first == "USE ROLE ACCOUNTADMIN" and last == "DROP SCHEMA IF EXISTS MEDICAL_IMAGES.TRIAL"
    assert "DROP SERVICE IF EXISTS MEDICAL_IMAGES.TRIAL.PNEUMONIA_SERVICE" in rest
    assert all(" MEDICAL_IMAGES.TRIAL." in text for text in rest)
    statements, said = deploy(teardown="MEDICAL_IMAGES.CHEST_XRAY")
    assert statements is None and "this project's schema is MEDICAL_IMAGES.TRIAL" in said
    assert "this project's database is MEDICAL_IMAGES. Nothing was done." in said


def test_a_teardown_refuses_if_the_role_owns_another_database(session, sql, deploy):
    sql("CREATE ROLE CXR_ENGINEER", "USE ROLE CXR_ENGINEER", "CREATE DATABASE RADIOLOGY")
    statements, said = deploy(teardown="MEDICAL_IMAGES")
    assert statements is None and "the database RADIOLOGY of the role CXR_ENGINEER" in said
    sql("DROP DATABASE RADIOLOGY", "DROP ROLE CXR_ENGINEER")


def test_without_the_administrators_role_the_first_statement_says_so(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "ci"))
    ownership = importlib.import_module("ownership")
    lacking = ownership.SnowparkSQLException("not granted to this user")

    def sql(text: str) -> SimpleNamespace:
        if text.startswith("USE ROLE"):
            raise lacking
        return SimpleNamespace(collect=lambda: [("SYSADMIN",)])

    assert ownership.refusal(SimpleNamespace(sql=sql), load(argv=[], environ={}), ["account"]) == ""
