"""Calls that depend on the session or the account rather than on their arguments alone: CURRENT_*, SYSTEM$*, session
variables, MODEL(...)!METHOD, service!METHOD and user-defined functions."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlglot import exp

from .errors import compilation_error, unsupported
from .rules import call
from .types import T

if TYPE_CHECKING:
    from .session import Session

SERVER_VERSION = "10.30.0"
CURRENT: dict[str, Callable[[Session], str | None]] = {
    "DATABASE": lambda session: session.database,
    "SCHEMA": lambda session: session.schema,
    "ROLE": lambda session: session.role,
    "WAREHOUSE": lambda session: session.warehouse,
    "USER": lambda session: session.account.user,
    "ACCOUNT": lambda session: session.account.name,
    "ACCOUNT_NAME": lambda session: session.account.name,
    "ORGANIZATION_NAME": lambda session: "LOCAL",
    "REGION": lambda session: "LOCAL",
    "VERSION": lambda session: SERVER_VERSION,
    "SESSION": lambda session: session.id,
    "CLIENT": lambda session: "local",
    "AVAILABLE_ROLES": lambda session: json.dumps([session.role]),
    "SECONDARY_ROLES": lambda session: json.dumps({"roles": "", "value": ""}),
}
FILE_URLS = ("BUILD_SCOPED_FILE_URL", "BUILD_STAGE_FILE_URL")
SYSTEM_FUNCTIONS: dict[str, Callable] = {}
"""SYSTEM$ functions: name -> (session, *text arguments) -> value. Modules add theirs with ``system_function``."""


def system_function(name: str) -> Callable:
    def register(function: Callable) -> Callable:
        SYSTEM_FUNCTIONS[name] = function
        return function

    return register


def call_system_function(session: Session, name: str, arguments: list[str]) -> object:
    if name not in SYSTEM_FUNCTIONS:
        raise unsupported(f"the function {name}", "calls.py")
    return SYSTEM_FUNCTIONS[name](session, *arguments)


@system_function("SYSTEM$ML_PLATFORM_CAPABILITIES")
def ml_platform_capabilities(session: Session) -> str:
    return json.dumps({})


@system_function("SYSTEM$GET_DEFAULT_PYTHON_ARTIFACT_REPOSITORY")
def default_artifact_repository(session: Session, *_: str) -> str:
    return "snowflake.snowpark.pypi_shared_repository"


@system_function("SYSTEM$GET_TAG")
def get_tag(session: Session, tag: str, thing: str, domain: str = "") -> str | None:
    from .catalog import need

    return need(session.con, "MODEL", session.resolve(thing)).properties["tags"].get(str(session.resolve(tag)))


@system_function("SYSTEM$RETURN_CURRENT_ORG_NAME")
def organization_name(session: Session) -> str | None:
    return CURRENT["ORGANIZATION_NAME"](session)


@system_function("SYSTEM$GET_SNOWSIGHT_HOST")
def snowsight_host(session: Session) -> str:
    """The address that `snow` prints for an app leads nowhere: there is no Snowsight here."""
    return "http://local.invalid"


@system_function("SYSTEM$CANCEL_ALL_QUERIES")
def cancel_all_queries(session: Session, *_: str) -> str:
    return "0 queries cancelled"


def resolve_calls(session: Session, tree: exp.Expression) -> exp.Expression:
    """Replace each such call by its value or by the engine function that computes it."""
    for node in reversed(list(tree.walk(bfs=False))):
        made = resolve_call(session, node)
        if made is None:
            continue
        if node is tree:
            tree = made
        else:
            node.replace(made)
    return tree


def resolve_call(session: Session, node: exp.Expression) -> exp.Expression | None:
    kind = type(node).__name__
    if kind.startswith("Current") and isinstance(node, exp.Func):
        key = node.sql_name().removeprefix("CURRENT_")
        return constant(CURRENT[key](session)) if key in CURRENT else None
    if isinstance(node, exp.Parameter) and isinstance(node.this, exp.Var) and node.parent is not None:
        if node.name.upper() in session.variables:
            return session.variables[node.name.upper()].copy()
        called = node.find_ancestor(exp.Anonymous)
        if called is not None and called.name.upper() in FILE_URLS:
            return None  # the stage in BUILD_SCOPED_FILE_URL(@stage, path)
        raise compilation_error(f"Session variable '${node.name.upper()}' does not exist", 1, "02000")
    if kind in ("Seq1", "Seq2", "Seq4", "Seq8"):
        if node.find_ancestor(exp.Window):
            return exp.Literal.number(1)  # as an ORDER BY it only says that any order will do
        return engine(exp.Paren(this=exp.maybe_parse("row_number() OVER () - 1", dialect="duckdb")))
    if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Anonymous):
        if isinstance(node.parent, exp.TableFromRows):
            return None
        parts = [part.name for part in node.flatten() if isinstance(part, exp.Identifier)]
        return user_function(session, parts, node.expression)
    if isinstance(node, exp.Anonymous):
        return resolve_anonymous(session, node)
    return None


def resolve_anonymous(session: Session, node: exp.Anonymous) -> exp.Expression | None:
    name = node.name.upper()
    if isinstance(node.parent, (exp.TableFromRows, exp.Window)) and name == "__MODEL_CALL":
        return None  # a table function: sources.py joins it to the rows beside it
    if name == "__MODEL_CALL":
        from .models import model_function

        model, version, method, *arguments = node.expressions
        return object_call(model_function(session, model.name, version.name, method.name), arguments)
    if name == "__SERVICE_CALL":
        from .services import service_function

        service, method, *arguments = node.expressions
        return object_call(service_function(session, service.name, method.name), arguments)
    if name.startswith("CURRENT_") and name.removeprefix("CURRENT_") in CURRENT:
        return constant(CURRENT[name.removeprefix("CURRENT_")](session))
    if name == "LAST_QUERY_ID":
        return constant(next(reversed(session.results), None))
    if name.startswith("SYSTEM$") and not isinstance(node.parent, exp.TableFromRows):
        return constant(call_system_function(session, name, [a.name for a in node.expressions]))
    if name in FILE_URLS:
        from .staged import file_url

        return engine(file_url(session, node.expressions))
    if isinstance(node.parent, (exp.Dot, exp.TableFromRows)):
        return None
    return user_function(session, [], node)


def user_function(session: Session, qualifier: list[str], node: exp.Anonymous) -> exp.Expression | None:
    from .functions_sql import user_function as find_function

    made = find_function(session, [*qualifier, node.name.upper()], node.expressions)
    if made is None and qualifier:
        name = ".".join([*qualifier, node.name.upper()])
        raise compilation_error(f"Unknown user-defined function {name}.", 2140, "42601")
    return made


def object_call(function: str, arguments: list[exp.Expression]) -> exp.Expression:
    """A call of a registered function, which answers JSON text; it becomes an OBJECT here."""
    inner = engine(call("account_call", exp.Literal.string(function), *arguments))
    made = engine(exp.Cast(this=inner, to=exp.DataType.build("JSON", dialect="duckdb")))
    made.type = exp.DataType(this=T.OBJECT)
    return made


def engine(node: exp.Expression) -> exp.Expression:
    node.meta["engine"] = True
    return node


def constant(value: object) -> exp.Expression:
    if value is None:
        return exp.null()
    return exp.Literal.number(value) if isinstance(value, int) else exp.Literal.string(str(value))


def unused_name(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:10]}"
