"""Calls that depend on the session or the account: CURRENT_*, SYSTEM$*, session variables, MODEL(...)!METHOD,
service!METHOD and user-defined functions."""

import json
from collections.abc import Callable
from itertools import islice

from sqlglot import exp

from local_account.account.session import Session
from local_account.engine.types import T
from local_account.sql.rewrites.nodes import call, engine_node, engine_tree
from local_account.text.errors import compilation_error, unsupported

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


def last_query_id(session: Session, arguments: list[exp.Expression]) -> exp.Expression:
    before = -int(arguments[0].sql()) if arguments else 1
    if before < 1:
        raise unsupported("LAST_QUERY_ID counted from the session's first query", __name__)
    return constant(next(islice(reversed(session.results), before - 1, None), None))


def call_system_function(session: Session, name: str, arguments: list[str]) -> object:
    if name not in session.handlers.system_functions:
        raise unsupported(f"the function {name}", __name__)
    return session.handlers.system_functions[name](session, *arguments)


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
        name = node.sql_name()
        return CALLS[name](session, []) if name in CALLS else None
    if isinstance(node, exp.Parameter) and isinstance(node.this, exp.Var) and node.parent is not None:
        called, name = node.find_ancestor(exp.Anonymous), node.name.upper()
        if name in session.variables:
            return session.variables[name].copy()
        if called is not None and called.name.upper().startswith("GET_"):
            raise unsupported(f"the function {called.name.upper()}", __name__)
        if called is None or not called.name.upper().endswith("_FILE_URL"):  # whose argument is a @stage
            raise compilation_error(f"Session variable '${name}' does not exist", 1, "02000")
    if kind in ("Seq1", "Seq2", "Seq4", "Seq8"):
        if node.find_ancestor(exp.Window):
            return exp.Literal.number(1)  # in an ORDER BY it means: in any order
        return engine_tree(exp.Paren(this=exp.maybe_parse("row_number() OVER () - 1", dialect="duckdb")))
    if kind == "Rand" and node.this is not None:
        return seeded(node)
    if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Anonymous):
        name = [part.name for part in node.flatten() if isinstance(part, exp.Identifier)]
        name.append(node.expression.name.upper())
        return None if in_table(node) else user_function(session, name, node.expression)
    if not isinstance(node, exp.Anonymous) or in_table(node) or isinstance(node.parent, exp.Dot):
        return None
    name = node.name.upper()
    if name in session.handlers.calls:
        return session.handlers.calls[name](session, node.expressions)
    if name.startswith("SYSTEM$"):
        return constant(call_system_function(session, name, [argument.name for argument in node.expressions]))
    return user_function(session, [name], node)


def seeded(node: exp.Expression) -> exp.Expression:
    """RANDOM(seed): the same numbers for the same rows, but not Snowflake's."""
    if node.find_ancestor(exp.Where, exp.Join, exp.AggFunc):
        raise unsupported("RANDOM with a seed in a condition or an aggregate", __name__)
    mixed = f"hash(row_number() OVER (), {node.this.sql('duckdb')})"
    numbers = exp.maybe_parse(f"CAST(CAST({mixed} AS HUGEINT) - 9223372036854775808 AS BIGINT)", dialect="duckdb")
    numbers.type = exp.DataType(this=T.BIGINT)
    numbers.meta["random"] = True
    return engine_tree(numbers)


def in_table(node: exp.Expression) -> bool:
    """Whether the call is a table function, which sources.py joins to the rows beside it."""
    return isinstance(node.parent, exp.TableFromRows) or (
        node.name.upper() == "__MODEL_CALL" and isinstance(node.parent, exp.Window)
    )


def user_function(session: Session, name: list[str], node: exp.Anonymous) -> exp.Expression | None:
    made = session.handlers.user_function(session, name, node.expressions)
    if made is None and len(name) > 1:
        raise compilation_error(f"Unknown user-defined function {'.'.join(name)}.", 2140, "42601")
    return made


def object_call(function: str, arguments: list[exp.Expression]) -> exp.Expression:
    """A call of a registered function, which answers JSON text; it becomes an OBJECT here. The engine wants at least
    one argument."""
    if any(isinstance(argument, exp.Kwarg) for argument in arguments):
        raise unsupported("named arguments (=>) in the call of a method or function", __name__)
    inner = engine_node(call("account_call", exp.Literal.string(function), *(arguments or [exp.null()])))
    made = engine_node(exp.Cast(this=inner, to=exp.DataType.build("JSON", dialect="duckdb")))
    made.type = exp.DataType(this=T.OBJECT)
    return made


def constant(value: object) -> exp.Expression:
    if value is None:
        return exp.null()
    return exp.Literal.number(value) if isinstance(value, int) else exp.Literal.string(str(value))


CALLS = {
    **{f"CURRENT_{key}": lambda session, _, value=value: constant(value(session)) for key, value in CURRENT.items()},
    "LAST_QUERY_ID": last_query_id,
}

SYSTEM_FUNCTIONS = {
    "SYSTEM$ML_PLATFORM_CAPABILITIES": lambda session: "{}",
    "SYSTEM$GET_DEFAULT_PYTHON_ARTIFACT_REPOSITORY": lambda session, *_: "snowflake.snowpark.pypi_shared_repository",
    "SYSTEM$RETURN_CURRENT_ORG_NAME": CURRENT["ORGANIZATION_NAME"],
    "SYSTEM$CANCEL_ALL_QUERIES": lambda session, *_: "0 queries cancelled",  # earlier ones have ended when it runs
    "SYSTEM$GET_SNOWSIGHT_HOST": lambda session: "http://local.invalid",  # `snow` prints this address; nothing answers
}
