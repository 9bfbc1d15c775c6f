"""The objects in the account: make them from `sql/`, and say what is ready and what is not."""

import re
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pandas as pd
from packaging.requirements import Requirement
from snowflake.snowpark import Session
from snowflake.snowpark.exceptions import SnowparkSQLException

from cxr.settings import Settings

_ROOT = Path(__file__).resolve().parents[2]
_BROUGHT = ("torch", "torchvision", "snowflake-ml-python>=2.6")  # by Container Runtime itself
_CREATED = re.compile(r"CREATE (OR REPLACE )?(?P<kind>STAGE|TABLE|VIEW) (IF NOT EXISTS )?(\w+\.)*(?P<name>\w+)")
_VARIABLE = re.compile(r"<%\s*(\w+)\s*%>")


def run_sql_file(session: Session, path: Path, settings: Settings) -> list[tuple[str, str]]:
    """Run the statements of one file of `sql/`; `<% name %>` stands for the setting of that name.

    Returns (statement's first line, status) pairs. Raises whatever the failing statement raises.
    """
    return [(statement.splitlines()[0], run(session, statement)) for statement in read_sql_file(path, settings)]


def read_sql_file(path: Path, settings: Settings) -> list[str]:
    """The file's statements, in order, without comments, with the settings filled in."""
    return [render(text, settings) for text in split_statements(path.read_text())]


def run(session: Session, statement: str) -> str:
    """Run one statement; its status in words. A database that exists is not created.

    Snowflake asks for the right to create a database even where IF NOT EXISTS finds one, and a role that may use this
    database needs no right to create others.
    """
    made = re.match(r"CREATE DATABASE IF NOT EXISTS (\w+)", statement)
    if made and made[1].upper() in {row["name"] for row in session.sql("SHOW DATABASES").collect()}:
        return f"{made[1]} already exists, left as it is."
    answer = session.sql(statement).collect()
    if statement.startswith(("PUT", "REMOVE")):
        return f"{len(answer)} files"
    return str(answer[0][0]) if answer else "done"


def render(text: str, settings: Settings) -> str:
    """Fill in `<% name %>`, the Snowflake CLI's own template form.

    Raises:
        AttributeError: there is no such setting.
        ValueError: its value could end the literal that it stands in.
    """

    def value(match: re.Match) -> str:
        given = str(getattr(settings, match[1]))
        if not re.fullmatch(r"[\w@./ -]*", given):
            raise ValueError(f"{match[1]}={given!r} holds characters that cannot stand in a SQL script")
        return given

    return _VARIABLE.sub(value, text)


def split_statements(text: str) -> list[str]:
    """The statements of a script without its `--` comments; quotes and `$$` bodies may hold semicolons."""
    tokens = re.findall(r"--[^\n]*|'(?:[^']|'')*'|\$\$.*?\$\$|\"(?:[^\"]|\"\")*\"|;|[^;'\"$-]+|.", text, re.DOTALL)
    statements = [""]
    for token in tokens:
        if token == ";":
            statements.append("")
        elif not token.startswith("--"):
            statements[-1] += token
    return [statement.strip() for statement in statements if statement.strip()]


def readiness(session: Session, settings: Settings) -> pd.DataFrame:
    """What the project needs of the account: kind, name, needed for, ready, and the statement that makes it so."""
    rows = [*_objects(session, settings), *_rights(session, settings), *_packages(), _gpu()]
    table = pd.DataFrame(rows, columns=["kind", "name", "needed for", "ready", "if not"])
    return table.assign(**{"if not": table["if not"].mask(table["ready"], "")})


def _objects(session: Session, settings: Settings) -> Iterator[tuple]:
    """The statements are those of `sql/`, so that there is one place to change them."""
    account = read_sql_file(_ROOT / "sql" / "10_account.sql", settings)
    objects = read_sql_file(_ROOT / "sql" / "20_objects.sql", settings)
    where = f" IN SCHEMA {settings.database}.{settings.schema}"
    needed = [
        ("WAREHOUSE", settings.warehouse, "SQL, scoring", "", account),
        ("COMPUTE POOL", settings.service_pool, "the model's service", "", account),
        ("COMPUTE POOL", settings.gpu_pool, "headless runs on a GPU", "", account),
        ("COMPUTE POOL", settings.app_pool, "the app", "", account),
    ]
    made = [found for text in objects if (found := _CREATED.match(text))]
    needed += [(found["kind"], found["name"], "all notebooks", where, objects) for found in made]
    for kind, name, purpose, scope, statements in needed:
        found = session.sql(f"SHOW {kind}S LIKE '{name}'{scope}").collect()
        yield kind, name, purpose, bool(found), _making(statements, kind, name)


def _making(statements: list[str], kind: str, name: str) -> str:
    made = re.compile(rf"CREATE (OR REPLACE )?{kind} (IF NOT EXISTS )?(\w+\.)*{name}\b")
    found = next((" ".join(text.split()) for text in statements if made.match(text)), None)
    return f"{found};" if found else f"name one that exists: CXR_{kind.replace(' ', '_')}"


def _rights(session: Session, settings: Settings) -> Iterator[tuple]:
    """Rights beyond this project's own objects, which whoever made them has."""
    role = session.sql("SELECT CURRENT_ROLE()").collect()[0][0]
    held = _held(session, role)
    needed = [
        ("USAGE", "DATABASE_ROLE", "SNOWFLAKE.PYPI_REPOSITORY_USER", "packages in bundle and app"),
        ("BIND SERVICE ENDPOINT", "ACCOUNT", "ACCOUNT", "REST calls from outside"),
        ("EXECUTE TASK", "ACCOUNT", "ACCOUNT", "retraining and scoring by schedule"),
        ("EXECUTE ALERT", "ACCOUNT", "ACCOUNT", "the alert on drift"),
    ]
    for privilege, kind, name, purpose in needed:
        what = f"{privilege} ON ACCOUNT" if kind == "ACCOUNT" else f"{kind.replace('_', ' ')} {name}"
        has = role == "ACCOUNTADMIN" or (privilege, kind, name.split(".")[-1]) in held
        yield "RIGHT", what, purpose, has, f"GRANT {what} TO ROLE {role};"


def _held(session: Session, role: str) -> set[tuple[str, str, str]]:
    """(privilege, kind, last part of the name) of everything that a role was granted, itself or through other roles."""
    held, roles, seen = set(), [role], set()
    while roles:
        seen.add(current := roles.pop())
        try:
            grants = session.sql(f'SHOW GRANTS TO ROLE "{current}"').collect()
        except SnowparkSQLException:  # this role may not look into that one: what it holds cannot be told
            continue
        for row in grants:
            name = row["name"].split(".")[-1].strip('"') if row["granted_on"] != "ACCOUNT" else "ACCOUNT"
            held.add((row["privilege"], row["granted_on"], name))
            if row["granted_on"] == "ROLE" and name not in seen:
                roles.append(name)
    return held


def _packages() -> Iterator[tuple]:
    for line in [*_BROUGHT, *(_ROOT / "requirements.txt").read_text().splitlines()]:
        if not line or line.startswith("#"):
            continue
        wanted = Requirement(line)
        try:
            found = version(wanted.name)
        except PackageNotFoundError:
            found = None
        has = found is not None and wanted.specifier.contains(found, prereleases=True)
        yield "PACKAGE", f"{wanted.name} {found or ''}".strip(), "all notebooks", has, f'pip install "{wanted}"'


def _gpu() -> tuple:
    device = None
    if shutil.which("nvidia-smi"):  # it comes with the driver; torch, which takes seconds to import, needs that too
        import torch

        device = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return "GPU", device or "none here", "training at full size", bool(device), "choose a GPU pool to run on"
