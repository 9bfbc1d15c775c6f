"""Transactions, session parameters and variables, and USE."""

from __future__ import annotations

from . import catalog, names
from .errors import compilation_error, missing, unsupported
from .names import Name
from .results import Result, listing, status
from .session import Session
from .statements import Matched, options, statement

PARAMETERS = {
    # name -> default; a parameter that is not here is refused, for setting it would change nothing
    "AUTOCOMMIT": "true",
    "QUERY_TAG": "",
    "QUOTED_IDENTIFIERS_IGNORE_CASE": "false",
    "TIMEZONE": "UTC",
    "STATEMENT_TIMEOUT_IN_SECONDS": "172800",
    "MULTI_STATEMENT_COUNT": "1",
    "PYTHON_SNOWPARK_USE_SCOPED_TEMP_OBJECTS": "true",
    "ERROR_ON_NONDETERMINISTIC_UPDATE": "false",
    "PYTHON_CONNECTOR_QUERY_RESULT_FORMAT": "arrow",
    "CLIENT_TELEMETRY_ENABLED": "false",
    "JSON_INDENT": "2",
}
FIXED = {"QUOTED_IDENTIFIERS_IGNORE_CASE", "TIMEZONE", "MULTI_STATEMENT_COUNT", "ERROR_ON_NONDETERMINISTIC_UPDATE"}


@statement("BEGIN [WORK|TRANSACTION] [NAME <name>]", "executed")
def begin(session: Session, s: Matched) -> Result:
    session.begin()
    return status()


@statement("START TRANSACTION [NAME <name>]", "executed")
def start(session: Session, s: Matched) -> Result:
    return begin(session, s)


@statement("COMMIT [WORK]", "executed")
def commit(session: Session, s: Matched) -> Result:
    session.commit()
    return status()


@statement("ROLLBACK [WORK]", "executed")
def rollback(session: Session, s: Matched) -> Result:
    session.rollback()
    return status()


@statement("ALTER SESSION SET <options:rest>", "executed")
def alter_session(session: Session, s: Matched) -> Result:
    for key, value in options(s["options"]).items():
        set_parameter(session, key, value)
    return status()


def set_parameter(session: Session, key: str, value: str) -> None:
    """Raises for a parameter that is unknown, or that asks for behaviour which is not there."""
    key = key.upper()
    if key not in PARAMETERS:
        raise unsupported(f"the session parameter {key}", "transactions.py")
    if key in FIXED and str(value).upper() != PARAMETERS[key].upper():
        raise unsupported(f"the session parameter {key} = {value}", "transactions.py")
    session.parameters[key] = str(value)
    if key == "AUTOCOMMIT":
        session.autocommit = str(value).upper() == "TRUE"


@statement("ALTER SESSION UNSET <names:rest>", "executed")
def unset_session(session: Session, s: Matched) -> Result:
    for key in s["names"].split(","):
        session.parameters.pop(key.strip().upper(), None)
    return status()


@statement("SHOW PARAMETERS [LIKE <like:string>] [IN SESSION] [IN ACCOUNT] [FOR SESSION]", "executed")
def show_parameters(session: Session, s: Matched) -> Result:
    rows = [
        {"key": key, "value": session.parameters.get(key, default), "default": default, "level": "", "description": ""}
        for key, default in PARAMETERS.items()
        if names.like(s.value("like"), key)
    ]
    return listing("key value default level description", rows)


@statement("SET <name:word> = <value:rest>", "executed")
def set_variable(session: Session, s: Matched) -> Result:
    from sqlglot import exp

    from .execute import run

    row = run(session, f"SELECT {s['value']}").to_arrow().to_pylist()[0]
    value = next(iter(row.values()))
    known = value if isinstance(value, (int, float, str, bool)) or value is None else str(value)
    session.variables[s["name"].upper()] = exp.convert(known)
    return status()


@statement("UNSET <name:word>", "executed")
def unset_variable(session: Session, s: Matched) -> Result:
    session.variables.pop(s["name"].upper(), None)
    return status()


# ---------------------------------------------------------------- USE


@statement("USE SECONDARY ROLES {ALL|NONE}", "recorded")
def use_secondary_roles(session: Session, s: Matched) -> Result:
    return status()


@statement("USE {DATABASE|SCHEMA|ROLE|WAREHOUSE} <name>", "executed")
def use(session: Session, s: Matched) -> Result:
    parts = names.split(s["name"])
    if s.choice == "DATABASE":
        session.use_database(parts[-1])
    elif s.choice == "SCHEMA":
        use_schema(session, parts)
    else:
        use_account_object(session, s.choice, parts[-1])
    return status()


@statement("USE <name>", "executed")
def use_name(session: Session, s: Matched) -> Result:
    parts = names.split(s["name"])
    if len(parts) == 1:
        session.use_database(parts[0])
    else:
        use_schema(session, parts)
    return status()


def use_schema(session: Session, parts: list[str]) -> None:
    if len(parts) == 1:
        if session.database is None:
            raise compilation_error("Cannot perform USE SCHEMA. This session does not have a current database.", 90105)
        parts = [session.database, *parts]
    if len(parts) > 2:
        raise compilation_error(f"syntax error: a schema's name has two parts, not {'.'.join(parts)}", 1003)
    session.use_schema(*parts)


def use_account_object(session: Session, kind: str, name: str) -> None:
    if catalog.get(session.con, kind, Name("", "", name)) is None:
        raise missing(kind.capitalize(), name)
    setattr(session, kind.lower(), name)
