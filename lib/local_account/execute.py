"""Running one statement: find its handler, or translate it and let DuckDB run it."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import duckdb
from sqlglot import exp

from . import names, statements
from .errors import SnowflakeError, missing, unsupported
from .results import Column, Result, column_of, counts, status
from .session import Session, strip_comments
from .stages import Transfer
from .tables import create_table_as, create_view
from .translate import generate, translate

QUERIES = (exp.Select, exp.SetOperation, exp.Subquery, exp.Values)
IDENTIFIER_CALL = re.compile(
    rf"({statements.STRING}|\$\$.*?\$\$|\"[^\"]*\")|\bIDENTIFIER\s*\(\s*('[^']*'|\?)\s*\)|\?", re.I | re.S
)


def run(session: Session, sql: str, binds: list | None = None) -> Result | Transfer:
    """Execute one statement. Raises SnowflakeError."""
    sql, binds = inline_identifiers(one_statement(sql), binds or [])
    found = statements.match(inline_binds(sql, binds) if binds else sql)
    with engine_errors():
        if found:
            handler, matched = found
            return handler(session, matched)
        return execute(session, sql, binds)


def one_statement(sql: str) -> str:
    """The statement without comments and closing semicolon. Raises for several: clients send them one by one."""
    sql = strip_comments(sql).rstrip("; \n\t")
    number = 1 + re.sub(rf"{statements.STRING}|\$\$.*?\$\$|\"[^\"]*\"", "", sql, flags=re.S).count(";")
    if number > 1:
        text = f"Actual statement count {number} did not match the desired statement count 1."
        raise SnowflakeError(text, 8, "0A000")
    return sql


def describe(session: Session, sql: str, binds: list | None = None) -> list[Column]:
    """The columns that the statement would answer, without running it."""
    sql, binds = inline_identifiers(strip_comments(sql), binds or [])
    with engine_errors():
        found = statements.match(sql)
        if found:
            if re.match(r"(SHOW|DESC|LIST|LS)\b", sql, re.I):
                handler, matched = found
                return handler(session, matched).columns
            return [Column("status")]
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
        replace(column, kind=kind.value) if column.kind == "VARIANT" and kind.value in ("OBJECT", "ARRAY") else column
        for column, kind in zip(columns, kinds, strict=True)
    ]


def execute(session: Session, sql: str, binds: list) -> Result:
    tree = translate(session, sql, binds)
    if isinstance(tree, QUERIES):
        return query(session, tree, binds)
    if isinstance(tree, exp.Create) and tree.kind == "VIEW":
        return create_view(session, tree, sql)
    if isinstance(tree, exp.Create) and tree.kind == "TABLE":
        return create_table_as(session, tree, binds)
    if isinstance(tree, (exp.Insert, exp.Update, exp.Delete, exp.Merge)):
        return change_rows(session, tree, binds)
    raise unsupported(f"the statement {sql.split('(')[0][:80].strip()!r}", "statements.py")


def query(session: Session, tree: exp.Expression, binds: list) -> Result:
    relation = session.con.sql(generate(tree), params=binds or None)
    return Result(result_columns(tree, relation), table=relation.to_arrow_table())


def target_of(tree: exp.Expression) -> exp.Table:
    return tree.this.this if isinstance(tree.this, exp.Schema) else tree.this


def change_rows(session: Session, tree: exp.Expression, binds: list) -> Result:
    """INSERT, UPDATE, DELETE and MERGE, one writer of a table at a time."""
    target = target_of(tree)
    table = names.quote(target.catalog, target.db, target.name)
    with session.modify(table):
        if isinstance(tree, exp.Insert) and tree.args.get("overwrite"):
            tree.set("overwrite", False)
            session.con.execute(f"DELETE FROM {table}")
        if isinstance(tree, exp.Merge):
            return merge(session, tree, binds)
        if isinstance(tree, exp.Update):
            refuse_ambiguous_update(tree)
        number = session.con.execute(generate(tree), binds or None).fetchall()[0][0]
    return Result(change_columns(tree), rows=[(number, 0) if isinstance(tree, exp.Update) else (number,)])


def refuse_ambiguous_update(tree: exp.Update) -> None:
    for assignment in tree.expressions:
        if isinstance(assignment, exp.EQ) and isinstance(assignment.this, exp.Column):
            assignment.set("this", exp.column(assignment.this.this))


def merge(session: Session, tree: exp.Merge, binds: list) -> Result:
    for insert in tree.find_all(exp.Insert):
        if isinstance(insert.this, exp.Tuple):
            insert.set("this", exp.Tuple(expressions=[exp.column(c.this) for c in insert.this.expressions]))
    for update in tree.find_all(exp.Update):
        refuse_ambiguous_update(update)
    actions = session.con.execute(f"{generate(tree)} RETURNING merge_action", binds or None).fetchall()
    done = Counter(action for (action,) in actions)
    return Result(change_columns(tree), rows=[tuple(done.get(verb, 0) for verb in merge_verbs(tree))])


def merge_verbs(tree: exp.Merge) -> list[str]:
    """Which of INSERT, UPDATE, DELETE the MERGE can do, in the order in which Snowflake counts them."""
    kinds = set()
    for when in tree.args["whens"].expressions:
        then = when.args["then"]
        kinds.add(then.key.upper() if isinstance(then, (exp.Insert, exp.Update)) else "DELETE")
    return [verb for verb in ("INSERT", "UPDATE", "DELETE") if verb in kinds]


def change_columns(tree: exp.Expression) -> list[Column]:
    if isinstance(tree, exp.Merge):
        past = {"INSERT": "inserted", "UPDATE": "updated", "DELETE": "deleted"}
        return counts(**{f"number_of_rows_{past[verb]}": 0 for verb in merge_verbs(tree)}).columns
    if isinstance(tree, exp.Update):
        return [
            *counts(number_of_rows_updated=0).columns,
            Column("number of multi-joined rows updated", "FIXED", 38, 0),
        ]
    past = {exp.Insert: "inserted", exp.Delete: "deleted"}.get(type(tree))
    return counts(**{f"number_of_rows_{past}": 0}).columns if past else status().columns


def insert_many(session: Session, sql: str, columns: list[list]) -> Result:
    """``INSERT ... VALUES (?, ?)`` with a column of values for each parameter: one statement for all rows."""
    import pyarrow as pa

    from .calls import unused_name

    batch = unused_name("BATCH")
    arrays = [pa.array(values) for values in columns]
    session.con.register(batch, pa.Table.from_arrays(arrays, names=[f"p{i}" for i in range(len(arrays))]))
    try:
        with engine_errors():
            tree = translate(session, strip_comments(sql))
            source = batch_source(tree.expression, batch)
            tree.set("expression", source)
            return change_rows(session, tree, [])
    finally:
        session.con.unregister(batch)


def batch_source(rows: exp.Expression, batch: str) -> exp.Expression:
    """The values of one row with its parameters replaced by the batch's columns."""
    if isinstance(rows, exp.Values):
        rows = exp.Select(expressions=list(rows.expressions[0].expressions))
        rows = rows.from_(exp.to_identifier(batch, quoted=True))
    else:
        for values in list(rows.find_all(exp.Values)):
            inner = exp.Select(expressions=[
                exp.alias_(value, f"COLUMN{i + 1}", quoted=True)
                for i, value in enumerate(values.expressions[0].expressions)
            ]).from_(exp.to_identifier(batch, quoted=True))  # fmt: skip
            values.replace(exp.Subquery(this=inner, alias=exp.TableAlias(this=values.args["alias"].this)))
    for i, marker in enumerate(list(rows.find_all(exp.Placeholder, bfs=False))):
        marker.replace(exp.column(f"p{i}"))
    return rows


# ---------------------------------------------------------------- parameters


def inline_identifiers(sql: str, binds: list) -> tuple[str, list]:
    """``IDENTIFIER(?)`` and ``IDENTIFIER('x')`` become the name itself; the binds that are left go on."""
    rest = list(binds)
    left: list = []

    def put(found: re.Match) -> str:
        if found[1]:
            return found[0]
        if found[0] == "?":
            if rest:
                left.append(rest.pop(0))
            return "?"
        return str(rest.pop(0)) if found[2] == "?" else found[2][1:-1]

    return IDENTIFIER_CALL.sub(put, sql), left


def inline_binds(sql: str, binds: list) -> str:
    """Parameters as literals, for statements that are not queries."""
    rest = iter(binds)

    def put(found: re.Match) -> str:
        if found[0] != "?":
            return found[0]
        value = next(rest)
        return str(value) if isinstance(value, (int, float)) else "NULL" if value is None else names.literal(value)

    return IDENTIFIER_CALL.sub(put, sql)


# ---------------------------------------------------------------- errors


@contextlib.contextmanager
def engine_errors() -> Iterator[None]:
    """DuckDB's errors in Snowflake's codes and words, as far as Snowflake has words for them."""
    try:
        yield
    except duckdb.CatalogException as error:
        raise catalog_error(str(error)) from error
    except duckdb.BinderException as error:
        raise binder_error(str(error)) from error
    except duckdb.ParserException as error:
        raise unsupported(
            f"a clause of this statement, which the engine cannot read ({error})", "functions.py"
        ) from error
    except duckdb.InterruptException as error:
        raise SnowflakeError("SQL execution canceled", 604, "57014") from error
    except duckdb.ConstraintException as error:
        raise constraint_error(str(error)) from error
    except duckdb.TransactionException as error:
        raise transaction_error(str(error)) from error
    except duckdb.Error as error:
        raise other_error(str(error)) from error


def transaction_error(text: str) -> SnowflakeError:
    if "aborted" in text:
        return SnowflakeError(
            "An earlier statement of this transaction failed: ROLLBACK and begin again.", 625, "40000"
        )
    return SnowflakeError(f"The transaction conflicts with another one; run it again. ({text})", 625, "57014")


def other_error(text: str) -> SnowflakeError:
    """Errors of values; the engine's own SQL, which it quotes below the message, is left out."""
    text = re.sub(r"^(Invalid Input|Conversion|Out of Range) Error: ", "", text.split("\n\nLINE ")[0])
    text = re.sub(r"^Python exception occurred while executing the UDF: \w+: ", "", text)
    if text.startswith("Malformed JSON"):
        return SnowflakeError(f"Error parsing JSON: {text}", 100069, "22P02")
    value = re.match(r"Could not convert string '(.*)' to (?:U?INT\d+|DOUBLE|DECIMAL)", text, re.S)
    if value:
        return SnowflakeError(f"Numeric value '{value[1]}' is not recognized", 100038, "22018")
    return SnowflakeError(text, 100051 if "Division by zero" in text else 100038, "22000")


def catalog_error(text: str) -> SnowflakeError:
    found = re.search(r"(?:Table|View) with name (.*?) does not exist", text)
    if found:
        return missing("Object", found[1])
    found = re.search(r'with name "(.*?)" already exists', text)
    if found:
        return SnowflakeError(f"SQL compilation error:\nObject '{found[1]}' already exists.", 2002, "42710")
    return SnowflakeError(f"SQL compilation error:\n{text}", 2140, "42601")


def binder_error(text: str) -> SnowflakeError:
    found = re.search(r'(?:column|Column) (?:named )?"?([^"\s]+)"? (?:not found|must appear)', text)
    if found and "not found" in text:
        return SnowflakeError(f"SQL compilation error:\ninvalid identifier '{found[1]}'", 904, "42000")
    return SnowflakeError(f"SQL compilation error:\n{text}", 904, "42000")


def constraint_error(text: str) -> SnowflakeError:
    found = re.search(r"NOT NULL constraint failed: .*\.(\S+)", text)
    if found:
        return SnowflakeError(f"NULL result in a non-nullable column: {found[1]}", 100072, "22000")
    return SnowflakeError(text, 100038, "22000")
