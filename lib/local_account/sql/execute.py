"""Running one statement: find its handler, or translate it and let DuckDB run it."""

import re
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import duckdb
import pyarrow as pa
from sqlglot import exp

from local_account.account.session import Session
from local_account.engine.duckdb_errors import engine_errors
from local_account.engine.results import SUCCESS, Column, Result, Transfer, column_of, declare, status
from local_account.engine.types import declared_type
from local_account.sql import statement_shapes
from local_account.sql.translate import QUERIES, generate, translate
from local_account.text import identifiers, literals
from local_account.text.errors import Missing, SnowflakeError, compilation_error, unsupported
from local_account.text.literals import literal, strip_comments

PAST = {"INSERT": "inserted", "UPDATE": "updated", "DELETE": "deleted"}
SYSTEM_CALL = re.compile(r"\bSYSTEM\$\w+\s*\(", re.I)
OVERWRITING = "temp.main.overwriting"
IDENTIFIER_CALL = re.compile(
    rf"({literals.STRING}|\$\$.*?\$\$|\"[^\"]*\")|\bIDENTIFIER\s*\(\s*('[^']*'|\?)\s*\)|\?", re.I | re.S
)


def run(session: Session, sql: str, binds: list | None = None) -> Result | Transfer:
    """Execute one statement. Raises SnowflakeError."""
    sql, binds = inline_names(one_statement(sql), binds or [])
    found = session.handlers.match(inline(sql, binds, literals=True)[0] if binds else sql)
    if binds and not found and SYSTEM_CALL.search(sql):  # answered before the engine has the binds
        sql, binds = inline(sql, binds, literals=True)
    with engine_errors():
        return execute(session, sql, binds) if found is None else handle(session, *found)


def handle(session: Session, handler: Callable, s: statement_shapes.Matched) -> Result | Transfer:
    """Run a statement's handler. With IF EXISTS it is no error if the named object is missing."""
    try:
        return handler(session, s) or status()
    except Missing as error:
        named = identifiers.split(s.groups.get("name") or s.groups.get("column") or "")
        if not s.if_exists or identifiers.split(error.name)[-1] not in named:
            raise
        dropping = s.text[:4].upper() == "DROP"
        return status(f"Drop statement executed successfully ({named[-1]} already dropped)." if dropping else SUCCESS)


def one_statement(sql: str) -> str:
    """The statement without comments and closing semicolon. Raises for several: clients send them one by one."""
    sql = strip_comments(sql).rstrip("; \n\t")
    number = 1 + re.sub(rf"{literals.STRING}|\$\$.*?\$\$|\"[^\"]*\"", "", sql, flags=re.S).count(";")
    if number > 1:
        text = f"Actual statement count {number} did not match the desired statement count 1."
        raise SnowflakeError(text, 8, "0A000")
    return sql


def describe(session: Session, sql: str, binds: list | None = None) -> list[Column]:
    """The columns that the statement would answer, without running it."""
    sql, binds = inline_names(strip_comments(sql), binds or [])
    with engine_errors():
        found = session.handlers.match(sql)
        if found:
            shows = re.match(r"(SHOW|DESC|LIST|LS)\b", sql, re.I)
            return handle(session, *found).columns if shows else status().columns
        tree = translate(session, sql, binds)
        if not isinstance(tree, QUERIES):
            return change_columns(tree)
        relation = session.con.sql(generate(tree), params=binds or [None] * sql.count("?") or None)
        return result_columns(tree, relation)


def result_columns(tree: exp.Expression, relation: duckdb.DuckDBPyRelation) -> list[Column]:
    """The engine's columns with Snowflake's types. It has one type for VARIANT, OBJECT and ARRAY."""
    columns = [column_of(name, kind) for name, kind in zip(relation.columns, relation.types, strict=True)]
    kinds = tree.meta.get("kinds") or []
    if len(kinds) != len(columns):
        return columns
    return [
        replace(declare(column, declared_type(kind)), nullable=kind.args.get("nullable") is not False)
        for column, kind in zip(columns, kinds, strict=True)
    ]


def execute(session: Session, sql: str, binds: list) -> Result:
    tree = translate(session, sql, binds)
    if isinstance(tree, QUERIES):
        relation = session.con.sql(generate(tree), params=binds or None)
        return Result(result_columns(tree, relation), table=relation.to_arrow_table())
    if isinstance(tree, exp.Create) and tree.kind in ("TABLE", "VIEW"):
        return session.handlers.create(session, tree, sql, binds)
    return change_rows(session, tree, binds)


def change_rows(session: Session, tree: exp.Expression, binds: list) -> Result:
    """INSERT, UPDATE, DELETE and MERGE, one writer of a table at a time."""
    target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    table = identifiers.quote(target.catalog, target.db, target.name)
    with session.transaction.modify(table):
        if isinstance(tree, exp.Insert) and tree.args.get("overwrite"):
            tree.set("overwrite", False)
            if isinstance(tree.expression, exp.Query):  # it may read the table that it overwrites
                made = f"CREATE OR REPLACE TEMP TABLE {OVERWRITING} AS {generate(tree.expression)}"
                session.con.execute(made, binds or None)
                tree.set("expression", exp.select("*").from_(OVERWRITING))
                binds = []
            session.con.execute(f"DELETE FROM {table}")
        unqualify_targets(tree)
        if isinstance(tree, exp.Merge):
            return merge(session, tree, binds)
        number = session.con.execute(generate(tree), binds or None).fetchall()[0][0]
    return Result(change_columns(tree), rows=[(number, 0) if isinstance(tree, exp.Update) else (number,)])


def unqualify_targets(tree: exp.Expression) -> None:
    """``SET T.A = ...`` -> ``SET A = ...``: the engine wants no table there."""
    for assignment in [assignment for update in tree.find_all(exp.Update) for assignment in update.expressions]:
        if isinstance(assignment, exp.EQ) and isinstance(assignment.this, exp.Column):
            assignment.set("this", exp.column(assignment.this.this))


def merge(session: Session, tree: exp.Merge, binds: list) -> Result:
    columns = change_columns(tree)
    for insert in tree.find_all(exp.Insert):
        if isinstance(insert.this, exp.Tuple):
            insert.set("this", exp.Tuple(expressions=[exp.column(c.this) for c in insert.this.expressions]))
    actions = session.con.execute(f"{generate(tree)} RETURNING merge_action", binds or None).fetchall()
    done = Counter(action for (action,) in actions)
    return Result(columns, rows=[tuple(done.get(verb, 0) for verb in merge_verbs(tree))])


def merge_verbs(tree: exp.Merge) -> list[str]:
    """Which of INSERT, UPDATE, DELETE the MERGE can do, in the order in which Snowflake counts them."""
    kinds = set()
    for when in tree.args["whens"].expressions:
        if when.args.get("source"):
            raise unsupported("WHEN NOT MATCHED BY SOURCE, and neither does Snowflake", __name__)
        then = when.args["then"]
        kinds.add(then.key.upper() if isinstance(then, (exp.Insert, exp.Update)) else "DELETE")
    return [verb for verb in PAST if verb in kinds]


def change_columns(tree: exp.Expression) -> list[Column]:
    """The result columns of a change of rows: counts."""
    verbs = merge_verbs(tree) if isinstance(tree, exp.Merge) else [tree.key.upper()]
    if set(verbs) - PAST.keys():
        return status().columns
    counted = [f"rows {PAST[verb]}" for verb in verbs]
    if isinstance(tree, exp.Update):
        counted.append("multi-joined rows updated")
    return [Column(f"number of {what}", "FIXED", 38, 0) for what in counted]


def insert_many(session: Session, sql: str, columns: list[list]) -> Result:
    """``INSERT ... VALUES (?, ?)`` with a column of values for each parameter: one statement for all rows."""
    batch = f"BATCH_{uuid.uuid4().hex[:10]}"
    arrays = [pa.array(values) for values in columns]
    session.con.register(batch, pa.Table.from_arrays(arrays, names=[f"p{i}" for i in range(len(arrays))]))
    try:
        with engine_errors():
            tree = translate(session, strip_comments(sql), [first(values) for values in columns])
            tree.set("expression", batch_source(tree.expression, batch))
            return change_rows(session, tree, [])
    finally:
        session.con.unregister(batch)


def first(values: list) -> object:
    return next((value for value in values if value is not None), None)


def batch_source(rows: exp.Expression, batch: str) -> exp.Expression:
    """The values of one row with its parameters replaced by the batch's columns."""
    for i, marker in enumerate(list(rows.find_all(exp.Placeholder, bfs=False))):
        marker.replace(exp.column(f"p{i}"))
    for values in list(rows.find_all(exp.Values)):
        cells = enumerate(values.expressions[0].expressions, 1)
        made = exp.select(*(exp.alias_(cell, f"COLUMN{i}", quoted=True) for i, cell in cells))
        made = made.from_(exp.to_identifier(batch, quoted=True))
        if values is rows:
            return made
        values.replace(exp.Subquery(this=made, alias=exp.TableAlias(this=values.args["alias"].this)))
    return rows


def inline_names(sql: str, binds: list) -> tuple[str, list]:
    """What must be known before the engine runs: names, and the arguments of system functions."""
    return inline(sql, binds, literals=bool(binds) and SYSTEM_CALL.search(sql) is not None)


def inline(sql: str, binds: list, literals: bool = False) -> tuple[str, list]:
    """``IDENTIFIER(?)`` and ``IDENTIFIER('x')`` become the name itself, and with ``literals`` other parameters their
    values, for statements that are not queries. The binds that are left go on."""
    rest, left = list(binds), []

    def put(found: re.Match) -> str:
        if found[1]:
            return found[0]
        if binds and not rest and found[2] in (None, "?"):
            raise compilation_error("Bind variable ? not set.", 2049)
        if found[2]:
            return str(rest.pop(0)) if found[2] == "?" else found[2][1:-1]
        if not literals:
            left.extend(rest[:1])
            del rest[:1]
            return "?"
        value = rest.pop(0)
        return str(value) if isinstance(value, (int, float)) else "NULL" if value is None else literal(value)

    return IDENTIFIER_CALL.sub(put, sql), left
