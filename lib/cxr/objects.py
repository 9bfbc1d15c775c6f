"""The objects in the account: make them from `sql/`, and say what is ready and what is not."""

import re
from pathlib import Path

import pandas as pd
from snowflake.snowpark import Session

from cxr.settings import Settings

_VARIABLE = re.compile(r"<%\s*(\w+)\s*%>")


def run_sql_file(session: Session, path: Path, settings: Settings) -> list[tuple[str, str]]:
    """Run the statements of one file of `sql/`; `<% name %>` stands for the setting of that name.

    Returns (statement's first line, status) pairs. Raises whatever the failing statement raises.
    """
    done = []
    for statement in [render(text, settings) for text in split_statements(path.read_text())]:
        answer = session.sql(statement).collect()
        done.append((statement.splitlines()[0], str(answer[0][0]) if answer else "done"))
    return done


def render(text: str, settings: Settings) -> str:
    """Fill in `<% name %>`, the Snowflake CLI's own template form. Raises AttributeError for an unknown name."""
    return _VARIABLE.sub(lambda match: str(getattr(settings, match[1])), text)


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
    """What the other notebooks need: kind, name, ready, and the statement that makes what is missing."""
    schema = f"{settings.database}.{settings.schema}"
    needed = [
        (
            "WAREHOUSE",
            settings.warehouse,
            "",
            f"CREATE WAREHOUSE {settings.warehouse} WAREHOUSE_SIZE = XSMALL AUTO_SUSPEND = 60",
        ),
        ("COMPUTE POOL", settings.service_pool, "", _pool_statement(settings.service_pool)),
    ]
    stages = (settings.images_stage, settings.artifacts_stage, settings.code_stage)
    tables = (settings.catalog_table, settings.rejected_table, settings.predictions_table, settings.training_log_table)
    remedy = "run sql/20_objects.sql"
    needed += [("STAGE", name, f" IN SCHEMA {schema}", remedy) for name in stages]
    needed += [("TABLE", name, f" IN SCHEMA {schema}", remedy) for name in tables]
    rows = []
    for kind, name, where, statement in needed:
        found = session.sql(f"SHOW {kind}S LIKE '{name}'{where}").collect()
        rows.append({"kind": kind, "name": name, "ready": bool(found), "if not": "" if found else statement})
    return pd.DataFrame(rows)


def _pool_statement(name: str) -> str:
    return f"CREATE COMPUTE POOL {name} MIN_NODES = 1 MAX_NODES = 1 INSTANCE_FAMILY = CPU_X64_S AUTO_SUSPEND_SECS = 300"
