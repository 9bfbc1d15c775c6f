"""What the pages say exists: links, files, commands, settings, statements."""

import re
import sys
from pathlib import Path

import pytest
import sqlglot
import yaml
from sqlglot import exp

from cxr.account.scripts import split_statements
from cxr.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "sql"))
from documented import find_form  # noqa: E402

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = {path: path.read_text() for path in PAGES}
# Variables that are no settings, and objects of that name.
OTHERS = {"CXR_CONNECTION", "CXR_SERVICE_TOKEN", "CXR_CACHE_DIR", "CXR_KILLS", "CXR_CLIENT_SECONDS"}


@pytest.fixture(params=PAGES, ids=lambda path: path.name)
def page(request) -> Path:
    return request.param


def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", TEXT[page]):
        assert "://" in target or (page.parent / target).exists(), target


def test_files_that_are_named_exist(page):
    for name in re.findall(r"`((?:notebooks|lib|sql|jobs|streamlit|ci|docs|tests)/[\w./]*)`", TEXT[page]):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"`(\d\d_\w+\.sql)`", TEXT[page]):
        assert (ROOT / "sql" / name).exists(), name
    for name in re.findall(r"`(0\d_\w+)`", TEXT[page]):
        assert (ROOT / "notebooks" / f"{name}.ipynb").exists(), name


def test_commands_are_those_that_there_are(page):
    source = (ROOT / "ci" / "__main__.py").read_text()
    for job, rest in re.findall(r"python3 ci (\w+)([^\n`#|]*)", TEXT[page]):
        assert f'    "{job}": ' in source, job
        for option in re.findall(r"--[\w-]+", rest):
            assert f'"{option}"' in source, option


def test_variables_and_names_are_those_of_the_settings(page):
    defaults = {str(value) for value in vars(Settings()).values()}
    for name in re.findall(r"\bCXR_[A-Z_]+\b", TEXT[page]):
        known = name in defaults | OTHERS or hasattr(Settings(), name.removeprefix("CXR_").lower())
        assert known, name


def test_statements_are_ones_that_snowflake_documents(page):
    if page.name == "local_account.md":
        return  # it lists what is refused, and a test of its own runs that list
    for block in re.findall(r"```sql\n(.*?)```", TEXT[page], re.DOTALL):
        for statement in split_statements(block):
            tree = sqlglot.parse_one(statement, dialect="snowflake")
            assert not isinstance(tree, exp.Command) or find_form(statement), statement


def test_arguments_of_bundles_name_settings():
    scripts = [path.read_text() for path in (ROOT / "sql").glob("*.sql")]
    given = [words for text in [*scripts, *TEXT.values()] for words in re.findall(r"ARGUMENTS = \(([^)]*)\)", text)]
    names = {name.replace("-", "_") for words in given for name in re.findall(r"'--([\w-]+)'", words)}
    assert {"profile", "keep_service", "epochs"} <= names
    assert all(hasattr(Settings(), name) for name in names), names


def test_the_service_specification_has_the_documented_fields():
    """Service specification reference: spec.containers, spec.endpoints, spec.volumes, spec.logExporters."""
    spec = yaml.safe_load((ROOT / "jobs" / "train_job.yaml").read_text())["spec"]
    assert set(spec) <= {"containers", "endpoints", "volumes", "logExporters"}
    fields = {"name", "image", "command", "args", "env", "readinessProbe", "volumeMounts", "resources", "secrets"}
    for container in spec["containers"]:
        assert {"name", "image"} <= set(container) <= fields
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}
        assert (ROOT / Path(container["command"][1]).relative_to("/opt/cxr")).is_file()
    # The old form, source: "@STAGE", is refused since the bundle 2026_08.
    assert {(volume["source"], *volume["stageConfig"]) for volume in spec["volumes"]} == {("stage", "name")}


def test_the_readme_can_be_read_at_once():
    assert len(TEXT[ROOT / "README.md"].split()) < 900
