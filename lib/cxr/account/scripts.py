"""The objects in the account: make them from `sql/`, and say what is ready and what is not."""

import re
from pathlib import Path

from snowflake.snowpark import Session

from cxr.account.project import Project
from cxr.settings import Settings

_VARIABLE = re.compile(r"<%\s*(\w+)\s*%>")


def run_sql_file(project: Project, path: Path) -> list[tuple[str, str]]:
    """Run the statements of one file of `sql/`; `<% name %>` stands for the setting of that name.

    Returns (statement's first line, status) pairs. Raises whatever the failing statement raises.
    """
    return [
        (statement.splitlines()[0], run(project.session, statement))
        for statement in read_sql_file(path, project.settings)
    ]


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
