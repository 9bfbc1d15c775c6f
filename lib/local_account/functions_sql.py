"""User-defined functions in Python and SQL, and procedures in Python."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
from sqlglot import exp

from . import catalog, statements
from .catalog import Object
from .conversions import rewrite_cast
from .dialect import SNOWFLAKE
from .errors import already_exists, compilation_error, missing, unsupported
from .results import Column, Result, listing, status
from .session import Session
from .show import FILTER, SCOPE, chosen
from .staged import locate
from .stages import copy_whole
from .statements import Matched, options, statement
from .types import T, engine_type

PYTHON = (
    "CREATE [OR REPLACE] [SCOPED] [TEMP|TEMPORARY] [SECURE] {FUNCTION|PROCEDURE} [IF NOT EXISTS] <name> "
    "<arguments:list> [COPY GRANTS] RETURNS <returns:lazy> LANGUAGE PYTHON <options:lazy> [AS <body:body>]"
)
SQL = (
    "CREATE [OR REPLACE] [TEMP|TEMPORARY] FUNCTION [IF NOT EXISTS] <name> <arguments:list> RETURNS <returns:lazy> "
    "[LANGUAGE SQL] AS <body:body>"
)


@statement(PYTHON, "executed")
def create_python(session: Session, s: Matched) -> Result:
    given = options(s["options"])
    returns = s["returns"].split(" NOT NULL")[0].strip()
    if returns.upper().startswith("TABLE"):
        raise unsupported("table functions in Python (RETURNS TABLE)", "functions_sql.py")
    if "HANDLER" not in given:
        raise compilation_error("missing option: HANDLER", 1506)
    arguments = declared_arguments(s["arguments"])
    properties = {"language": "PYTHON", "handler": given["HANDLER"], "returns": returns, "arguments": arguments}
    folder = session.account.new_folder("functions", s["name"].replace('"', ""))
    for source in statements.items(given.get("IMPORTS")):
        for file in locate(session, source).files():
            copy_whole(file, folder / file.name)
    if s["body"]:
        (folder / "body.py").write_text(s.value("body"))
    kinds = [engine_type(build_type(kind)).sql("duckdb") for _, kind in arguments]
    (folder / "function.json").write_text(json.dumps({"arguments": kinds}))
    return keep(session, s, s.choice, properties | {"folder": folder.name})


@statement(SQL, "executed")
def create_sql(session: Session, s: Matched) -> Result:
    if s["returns"].strip().upper().startswith("TABLE"):
        raise unsupported("table functions in SQL (RETURNS TABLE)", "functions_sql.py")
    arguments = declared_arguments(s["arguments"])
    body = s.value("body").strip().rstrip(";")
    return keep(
        session, s, "FUNCTION", {"language": "SQL", "text": body, "returns": s["returns"], "arguments": arguments}
    )


def keep(session: Session, s: Matched, kind: str, properties: dict) -> Result:
    name = session.resolve(s["name"])
    session.need_schema(name.database, name.schema)
    thing = Object(kind, name.database, name.schema, name.name, owner=session.role, properties=properties)
    with session.change(f"{kind} {name}"):
        if session.get(kind, name):
            if s.if_not_exists:
                return status(f"{name.name} already exists, statement succeeded.")
            if not s.or_replace:
                raise already_exists(str(name))
        if s.temp:
            session.temporary[kind, name] = thing
        else:
            catalog.put(session.con, thing)
    return status(f"{kind.capitalize()} {name.name} successfully created.")


def declared_arguments(text: str) -> list[tuple[str, str]]:
    """``(a INT, b NUMBER(10, 2) DEFAULT 1)`` -> [("A", "INT"), ("B", "NUMBER(10, 2)")]."""
    found = exp.maybe_parse(f"CREATE TABLE x {text}", dialect="snowflake") if text.strip("() \n") else None
    columns = found.find_all(exp.ColumnDef) if found else ()
    return [(column.name.upper(), column.kind.sql("snowflake")) for column in columns]


def build_type(text: str) -> exp.DataType:
    return exp.DataType.build(text, dialect="snowflake")


@statement("DROP {FUNCTION|PROCEDURE} [IF EXISTS] <name> [<arguments:list>]", "executed")
def drop_function(session: Session, s: Matched) -> Result:
    kind, name = s.choice, session.resolve(s["name"])
    thing = session.get(kind, name)
    if thing is None:
        if s.if_exists:
            return status(f"Drop statement executed successfully ({name.name} already dropped).")
        raise missing(kind.capitalize(), str(name))
    with session.change(f"{kind} {name}"):
        if session.temporary.pop((kind, name), None) is None:
            catalog.drop(session.con, kind, name)
    if "folder" in thing.properties:
        folder = folder_of(session, thing)
        session.account.workers.forget(folder)
        shutil.rmtree(folder, ignore_errors=True)
    return status(f"{name.name} successfully dropped.")


@statement(f"SHOW [USER] {{FUNCTIONS|PROCEDURES}} [LIKE <like:string>] {SCOPE} {FILTER}", "executed")
def show_functions(session: Session, s: Matched) -> Result:
    rows = [
        {**f.row(), "catalog_name": f.database, "language": f.properties["language"],
         "arguments": f"{f.name}({', '.join(kind for _, kind in f.properties['arguments'])}) RETURN "
         + f.properties["returns"]}
        for f in chosen(session, s, s.choice[:-1])
    ]  # fmt: skip
    return listing("created_on@ name schema_name catalog_name arguments language", rows)


def folder_of(session: Session, function: Object) -> Path:
    return session.account.root / "functions" / function.properties["folder"]


# ---------------------------------------------------------------- calling


def user_function(session: Session, parts: list[str], arguments: list[exp.Expression]) -> exp.Expression | None:
    """The call of a user's function as an engine expression; None when there is no function of that name."""
    if len(parts) < 3 and session.schema is None:
        return None
    found = session.get("FUNCTION", session.qualify(parts))
    if found is None:
        return None
    wanted = found.properties["arguments"]
    if len(arguments) != len(wanted):
        raise compilation_error(f"Function {found.name} takes {len(wanted)} arguments, {len(arguments)} given.", 939)
    typed = [exp.Cast(this=a, to=build_type(kind)) for a, (_, kind) in zip(arguments, wanted, strict=True)]
    if found.properties["language"] == "SQL":
        return inline_sql(found, typed)
    return python_call(session, found, typed)


def inline_sql(function: Object, arguments: list[exp.Expression]) -> exp.Expression:
    """A SQL function is its body with the arguments put in."""
    values = dict(zip((name for name, _ in function.properties["arguments"]), arguments, strict=True))
    body = exp.maybe_parse(function.properties["text"], dialect=SNOWFLAKE)
    if isinstance(body, exp.Query):
        body = exp.Subquery(this=body)
    for column in list(body.find_all(exp.Column)):
        if not column.table and column.name.upper() in values:
            value = values[column.name.upper()].copy()
            if column is body:
                return value
            column.replace(value)
    return exp.Cast(this=exp.Paren(this=body), to=build_type(function.properties["returns"]))


def python_call(session: Session, function: Object, arguments: list[exp.Expression]) -> exp.Expression:
    from .calls import object_call

    account, folder = session.account, folder_of(session, function)
    handler = function.properties["handler"]

    def call(*columns: pa.ChunkedArray) -> pa.Array:  # the first column is there for its length alone
        table = pa.Table.from_arrays(list(columns), names=[str(i) for i in range(len(columns))])
        return pa.array(account.workers.call("udf_worker", folder, handler, table), pa.string())

    made = object_call(account.register_function(str(folder), call), arguments)
    made.type = exp.DataType(this=T.VARIANT)
    answer = rewrite_cast(exp.Cast(this=made, to=build_type(function.properties["returns"])))
    for node in (answer, answer.this):
        if isinstance(node, exp.Expression):
            node.meta["engine"] = True
    return answer


def run_procedure(session: Session, name: str, arguments: str) -> Result:
    """CALL: the handler runs in a process of its own, with a Snowpark session on this same account."""
    from .execute import run

    procedure = session.need("PROCEDURE", session.resolve(name))
    wanted = procedure.properties["arguments"]
    values: list = []
    if wanted:
        row = run(session, f"SELECT {arguments.strip()[1:-1]}").to_arrow().to_pylist()[0]
        values = list(row.values())
    context = {
        "database": session.database, "schema": session.schema, "role": session.role, "port": session.account.port,
        "password": session.account.token, "user": session.account.user, "account": session.account.name,
    }  # fmt: skip
    request = json.dumps({"connection": context, "arguments": values}, default=str)
    table = pa.table({"request": [request]})
    (answer,) = session.account.workers.call(
        "procedure_worker", folder_of(session, procedure), procedure.properties["handler"], table
    )
    value = json.loads(answer)
    shown = value if value is None or isinstance(value, str) else json.dumps(value)
    column = Column(procedure.name, "FIXED", 38, 0) if isinstance(value, int) else Column(procedure.name)
    return Result([column], rows=[(shown,)])
