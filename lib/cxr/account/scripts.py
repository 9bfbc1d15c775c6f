"""Run the scripts of `sql/`: split them into statements, fill in settings, execute."""

import re
from pathlib import Path

from snowflake.snowpark import Session

from cxr.account.project import Project
from cxr.settings import Settings

_VARIABLE = re.compile(r"<%\s*(\w+)\s*%>")
_LIST_OF_ONE = re.compile(r"^[^\n]*\[<%\s*(\w+)\s*%>\]\n", re.MULTILINE)


def run_sql_file(project: Project, path: Path) -> list[tuple[str, str]]:
    """Run the statements of one file of `sql/`, with `<% name %>` replaced by the setting of that name.

    Returns:
        (first line, status) of each statement.

    Raises:
        SnowparkSQLException: a statement failed; those before it took effect.
        AttributeError, ValueError: of :func:`render`.
    """
    return [
        (statement.splitlines()[0], run(project.session, statement))
        for statement in read_sql_file(path, project.settings)
    ]


def read_sql_file(path: Path, settings: Settings) -> list[str]:
    """The file's statements in order, without comments, with the settings filled in. Raises as :func:`render`."""
    return [render(text, settings) for text in split_statements(path.read_text())]


def run(session: Session, statement: str) -> str:
    """Run one statement and return its status in words. `CREATE DATABASE IF NOT EXISTS` is skipped if it exists.

    Snowflake demands the privilege CREATE DATABASE even if the database exists. A role that only uses the database
    should not need it.
    """
    made = re.match(r"CREATE DATABASE IF NOT EXISTS (\w+)", statement)
    if made and made[1].upper() in {row["name"] for row in session.sql("SHOW DATABASES").collect()}:
        return f"{made[1]} already exists, left as it is."
    query = session.sql(statement)
    # A notebook or job may take longer than a connection waits for an answer (network_timeout): it would be cancelled.
    answer = query.collect_nowait().result() if statement.startswith("EXECUTE ") else query.collect()
    if statement.startswith(("PUT", "REMOVE")):
        return f"{len(answer)} files"
    return str(answer[0][0]) if answer else "done"


def render(text: str, settings: Settings) -> str:
    """Replace each `<% name %>`, the template syntax of the Snowflake CLI, by the setting of that name.

    A line that ends with the list `[<% name %>]` is left out if the setting is empty.

    Raises:
        AttributeError: there is no such setting.
        ValueError: the value has a character that could end the SQL literal around it.
    """

    def value(match: re.Match) -> str:
        given = str(getattr(settings, match[1]))
        if not re.fullmatch(r"[\w@./ -]*", given):
            raise ValueError(f"{match[1]}={given!r} has characters that are not allowed in a SQL script")
        return given

    text = _LIST_OF_ONE.sub(lambda match: match[0] if getattr(settings, match[1]) else "", text)
    return _VARIABLE.sub(value, text)


def split_statements(text: str) -> list[str]:
    """The statements of a script, without `--` comments. A semicolon in quotes or in a `$$` body ends none."""
    tokens = re.findall(r"--[^\n]*|'(?:[^']|'')*'|\$\$.*?\$\$|\"(?:[^\"]|\"\")*\"|;|[^;'\"$-]+|.", text, re.DOTALL)
    statements = [""]
    for token in tokens:
        if token == ";":
            statements.append("")
        elif not token.startswith("--"):
            statements[-1] += token
    return [statement.strip() for statement in statements if statement.strip()]
