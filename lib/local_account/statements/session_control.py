"""Transactions, session parameters and variables, and USE."""

import re
from decimal import Decimal

from sqlglot import exp

from local_account.account.session import Session
from local_account.engine.results import Result, listing
from local_account.sql.execute import run
from local_account.sql.statement_shapes import Matched, Statement
from local_account.text import identifiers
from local_account.text.errors import compilation_error, unsupported
from local_account.text.literals import free_options

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
FIXED = {"QUOTED_IDENTIFIERS_IGNORE_CASE", "TIMEZONE", "MULTI_STATEMENT_COUNT", "ERROR_ON_NONDETERMINISTIC_UPDATE",
         "STATEMENT_TIMEOUT_IN_SECONDS", "JSON_INDENT"}  # fmt: skip
ANSWERS_DIFFER = r"(BINARY|DATE|TIME|TIMESTAMP|WEEK|TWO_DIGIT|ROWS_PER|LOCK|STRICT_JSON)_.+"


def begin(session: Session, s: Matched) -> None:
    session.transaction.begin()


def end(session: Session, s: Matched) -> None:
    if s.choice == "COMMIT":
        session.transaction.commit()
    else:
        session.transaction.end("ROLLBACK")


def alter_session(session: Session, s: Matched) -> None:
    for key, value in free_options(s["options"]).items():
        set_parameter(session, key, value)


def check_parameters(given: dict, strict: bool = False) -> None:
    """Raises for parameters that ask for unsupported behaviour. Clients send parameters of their own with a login or a
    statement; unknown ones of these are ignored unless ``strict``."""
    for key, value in given.items():
        if key.upper() not in PARAMETERS and (strict or re.fullmatch(ANSWERS_DIFFER, key.upper())):
            raise unsupported(f"the session parameter {key}", __name__)
        if key.upper() in FIXED and str(value).upper() != PARAMETERS[key.upper()].upper():
            raise unsupported(f"the session parameter {key} = {value}", __name__)


def set_parameter(session: Session, key: str, value: str) -> None:
    check_parameters({key: value}, strict=True)
    key = key.upper()
    session.parameters[key] = str(value)
    if key == "AUTOCOMMIT":
        session.transaction.autocommit = str(value).upper() == "TRUE"


def unset_session(session: Session, s: Matched) -> None:
    for key in s["names"].upper().split(","):
        set_parameter(session, key.strip(), PARAMETERS.get(key.strip(), ""))


def show_parameters(session: Session, s: Matched) -> Result:
    rows = [
        {"key": key, "value": default if s.in_account else session.parameters.get(key, default), "default": default,
         "level": "", "description": ""}
        for key, default in PARAMETERS.items()
        if identifiers.like(s.value("like"), key)
    ]  # fmt: skip
    return listing("key value default level description", rows)


def set_variable(session: Session, s: Matched) -> None:
    (value,) = run(session, f"SELECT {s['value']}").to_arrow().to_pylist()[0].values()
    if not isinstance(value, str | bool | int | float | Decimal | None):
        raise unsupported(f"session variables of Python's type {type(value).__name__}", __name__)
    session.variables[s["name"].upper()] = exp.convert(value)


def unset_variable(session: Session, s: Matched) -> None:
    session.variables.pop(s["name"].upper(), None)


def use(session: Session, s: Matched) -> None:
    name = session.named(s.choice, s["name"])
    if session.get(s.choice, name) is None:
        raise compilation_error("Object does not exist, or operation cannot be performed.", 2043, "02000")
    if s.choice == "DATABASE":
        session.use_database(name.name)
    elif s.choice == "SCHEMA":
        session.use_schema(name.database, name.name)
    else:
        setattr(session, s.choice.lower(), session.need(s.choice, name).name)


def use_name(session: Session, s: Matched) -> Result:
    s.groups["choice"] = "SCHEMA" if len(identifiers.split(s["name"])) > 1 else "DATABASE"
    return use(session, s)


STATEMENTS = [
    Statement("START TRANSACTION", begin),
    Statement("BEGIN [WORK|TRANSACTION]", begin),
    Statement("{COMMIT|ROLLBACK} [WORK]", end),
    Statement("ALTER SESSION SET <options:rest>", alter_session),
    Statement("ALTER SESSION UNSET <names:rest>", unset_session),
    Statement("SHOW PARAMETERS [LIKE <like:string>] [IN SESSION] [IN ACCOUNT] [FOR SESSION]", show_parameters),
    Statement("SET <name:word> = <value:rest>", set_variable),
    Statement("UNSET <name:word>", unset_variable),
    Statement("USE SECONDARY ROLES {ALL|NONE}", lambda *_: None, "recorded"),
    Statement("USE {DATABASE|SCHEMA|ROLE|WAREHOUSE} <name>", use),
    Statement("USE <name>", use_name),
]  # fmt: skip
