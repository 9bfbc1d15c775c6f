"""Is the account ready? What the project needs, what exists, and the statements that create the rest."""

import re
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import pandas as pd
from packaging.requirements import Requirement
from snowflake.snowpark import Session
from snowflake.snowpark.exceptions import SnowparkSQLException

from cxr.account.channel import channel_rows
from cxr.account.project import Project
from cxr.account.scripts import read_sql_file
from cxr.account.session import PROJECT

ADMINISTRATOR = "ACCOUNTADMIN"  # has every privilege on the account
_RUNTIME_PACKAGES = ("torch", "torchvision", "snowflake-ml-python>=1.26")  # Container Runtime has these
_CREATED = re.compile(r"CREATE (OR REPLACE )?(?P<kind>STAGE|TABLE|VIEW) (IF NOT EXISTS )?(\w+\.)*(?P<name>\w+)")


def readiness(project: Project) -> pd.DataFrame:
    """What the project needs of the account, one row each.

    Returns:
        Columns `kind`, `name`, `needed for`, `ready` (bool), and `if not`: the statement that creates or grants it,
        empty where it is ready.
    """
    rows = [*_objects(project), *_rights(project), *_packages(), *channel_rows(project.session), _gpu()]
    table = pd.DataFrame(rows, columns=["kind", "name", "needed for", "ready", "if not"])
    return table.assign(**{"if not": table["if not"].mask(table["ready"], "")})


def _objects(project: Project) -> Iterator[tuple]:
    """Warehouse, pools, stages, tables and views, with the statements of `sql/` that create them."""
    account = read_sql_file(PROJECT / "sql" / "10_account.sql", project.settings)
    objects = read_sql_file(PROJECT / "sql" / "20_objects.sql", project.settings)
    where = f" IN SCHEMA {project.settings.database}.{project.settings.schema}"
    needed = [
        ("WAREHOUSE", project.settings.warehouse, "SQL, scoring", "", account),
        ("COMPUTE POOL", project.settings.service_pool, "the model's service", "", account),
        ("COMPUTE POOL", project.settings.gpu_pool, "headless runs on a GPU", "", account),
        ("COMPUTE POOL", project.settings.app_pool, "the app", "", account),
    ]
    made = [found for text in objects if (found := _CREATED.match(text))]
    needed += [(found["kind"], found["name"], "all notebooks", where, objects) for found in made]
    for kind, name, purpose, scope, statements in needed:
        found = project.session.sql(f"SHOW {kind}S LIKE '{name}'{scope}").collect()
        yield kind, name, purpose, bool(found), _creating_statement(statements, kind, name)


def _creating_statement(statements: list[str], kind: str, name: str) -> str:
    made = re.compile(rf"CREATE (OR REPLACE )?{kind} (IF NOT EXISTS )?(\w+\.)*{name}\b")
    found = next((" ".join(text.split()) for text in statements if made.match(text)), None)
    # Only the pool that Snowflake provides has no such statement.
    return f"{found};" if found else "set CXR_SERVICE_POOL to a pool that exists"


def _rights(project: Project) -> Iterator[tuple]:
    """Privileges on other objects than the project's own: its creator has all privileges on those."""
    role = _current_role(project.session)
    held = _privileges_of(project.session, role)
    needed = [
        ("USAGE", "DATABASE_ROLE", "SNOWFLAKE.PYPI_REPOSITORY_USER", "packages in bundle and app"),
        ("BIND SERVICE ENDPOINT", "ACCOUNT", "ACCOUNT", "REST calls from outside"),
        ("EXECUTE TASK", "ACCOUNT", "ACCOUNT", "retraining and scoring by schedule"),
        ("EXECUTE ALERT", "ACCOUNT", "ACCOUNT", "the alert on drift"),
    ]
    for privilege, kind, name, purpose in needed:
        what = f"{privilege} ON ACCOUNT" if kind == "ACCOUNT" else f"{kind.replace('_', ' ')} {name}"
        has = role == ADMINISTRATOR or (privilege, kind, name.split(".")[-1]) in held
        yield "RIGHT", what, purpose, has, f"GRANT {what} TO ROLE {role};"


def holds(session: Session, privilege: str) -> bool:
    """Whether the active role has a privilege on the account, direct or through other roles."""
    role = _current_role(session)
    return role == ADMINISTRATOR or (privilege, "ACCOUNT", "ACCOUNT") in _privileges_of(session, role)


def _current_role(session: Session) -> str:
    return session.sql("SELECT CURRENT_ROLE()").collect()[0][0]


def _privileges_of(session: Session, role: str) -> set[tuple[str, str, str]]:
    """(privilege, kind, last part of the name) of every grant to a role, direct or through other roles."""
    held, roles, seen = set(), [role], set()
    while roles:
        seen.add(current := roles.pop())
        try:
            grants = session.sql(f'SHOW GRANTS TO ROLE "{current}"').collect()
        except SnowparkSQLException:  # this role cannot see the grants of that one
            continue
        for row in grants:
            name = row["name"].split(".")[-1].strip('"') if row["granted_on"] != "ACCOUNT" else "ACCOUNT"
            held.add((row["privilege"], row["granted_on"], name))
            if row["granted_on"] == "ROLE" and name not in seen:
                roles.append(name)
    return held


def _packages() -> Iterator[tuple]:
    for line in [*_RUNTIME_PACKAGES, *(PROJECT / "requirements.txt").read_text().splitlines()]:
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
    if shutil.which("nvidia-smi"):  # part of the driver, which torch needs; importing torch takes seconds
        import torch

        device = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return "GPU", device or "none here", "training at full size", bool(device), "choose a GPU pool to run on"
