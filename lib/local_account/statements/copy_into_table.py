"""COPY INTO a table, and COPY FILES from a query."""

import re
from pathlib import Path

from sqlglot import exp

from local_account.account.catalog import Object
from local_account.account.session import Session
from local_account.engine.results import Result, listing, status
from local_account.engine.types import T, annotation_type
from local_account.sql import stage_files, statement_shapes
from local_account.sql.execute import run
from local_account.sql.rewrites.casts import rewrite_cast
from local_account.sql.stage_files import Location
from local_account.sql.statement_shapes import Matched, Statement
from local_account.sql.translate import generate
from local_account.statements import options
from local_account.statements.columns import engine_columns, existing
from local_account.statements.stages import copy_whole
from local_account.text import identifiers
from local_account.text.errors import SnowflakeError, demand_columns, unsupported
from local_account.text.literals import is_true

COPY_RESULT = (
    "file status rows_parsed# rows_loaded# error_limit# errors_seen# first_error first_error_line# "
    "first_error_character# first_error_column_name"
)


def copy_into_table(session: Session, s: Matched) -> Result:
    """From @stage, by position or by name with MATCH_BY_COLUMN_NAME; or from (SELECT $1:"A"::INT FROM @stage)."""
    given = s.options()
    table = session.need("TABLE", s["table"])
    if given.get("ON_ERROR", "ABORT_STATEMENT").upper() != "ABORT_STATEMENT":
        raise unsupported(f"COPY INTO with ON_ERROR = {given['ON_ERROR']}", __name__)
    is_query = s["source"].startswith("(")
    place = r"\bFROM\s+" * is_query + f"({statement_shapes.PLACEHOLDERS['stage']})"
    stage = re.search(place, s["source"], re.I)
    if not stage:
        raise unsupported("COPY INTO from a query that does not read a stage", __name__)
    location = stage_files.locate(session, stage[1])
    spec = stage_files.file_format(session, stage_files.format_options(given), location)
    with session.transaction.together(), session.transaction.modify(session.place(table.qualified)):
        files = new_files(session, table, stage_files.chosen(location, given), given)
        insert = insert_query if is_query else insert_rows
        rows = {file: insert(session, s, given, spec, file, location) for file in files}
        if files:
            table.properties["loaded"] = table.properties.get("loaded", {}) | dict(files.values())
            session.put(table)
    if is_true(given, "PURGE"):
        for file in files:
            file.unlink()
    if not files:
        return status("Copy executed with 0 files processed.")
    shared = {"status": "LOADED", "error_limit": 1, "errors_seen": 0}
    listed = [
        {"file": location.label + location.relative(file), "rows_parsed": number, "rows_loaded": number, **shared}
        for file, number in rows.items()
    ]
    return listing(COPY_RESULT, listed)


def new_files(session: Session, table: Object, files: list[Path], given: dict) -> dict[Path, tuple[str, str]]:
    """The files that the table, since it was made or truncated, has not loaded as they are (with FORCE all of them),
    each with its path and digest, by which the table remembers it."""
    marks = {file: (str(file.relative_to(session.account.root)), stage_files.digest(file)) for file in files}
    known = table.properties.get("loaded", {})
    force = is_true(given, "FORCE")
    return {file: mark for file, mark in marks.items() if force or known.get(mark[0]) != mark[1]}


def insert_rows(session: Session, s: Matched, given: dict, spec: dict, file: Path, location: Location) -> int:
    headed, below = stage_files.below_header(spec)
    target, rows = existing(session, s["table"])[1], stage_files.read_files([file], below, location)
    kinds = {column: kind for column, kind, *_ in engine_columns(session, target)}
    columns = (
        [identifiers.fold(part) for part in s["columns"].strip()[1:-1].split(",")] if s["columns"] else list(kinds)
    )
    demand_columns(columns, kinds)
    header = next(stage_files.csv_lines(file, spec), []) if headed else None
    read = session.con.sql(rows)
    pairs = select_columns(columns, read.columns, header, spec, given)
    is_text = spec.get("TYPE", "CSV").upper() == "CSV"
    read_kinds = dict(zip(read.columns, map(str, read.types), strict=True))
    values = ", ".join(
        in_type(own, kinds[column]) if is_text else in_time(own, read_kinds[own], kinds[column])
        for column, own in pairs
    )
    listed = ", ".join(identifiers.quote(column) for column, _ in pairs)
    sql = f"INSERT INTO {target} ({listed}) SELECT {values} FROM ({rows}) AS files"
    return session.con.execute(sql).fetchall()[0][0]


def insert_query(session: Session, s: Matched, given: dict, spec: dict, file: Path, location: Location) -> int:
    """An INSERT whose source, the stage, reads this file in this format."""
    session.load = spec, [file]
    try:
        query = parquet_columns(s["source"].strip()[1:-1], spec)
        return run(session, f"INSERT INTO {s['table']} {s['columns'] or ''} {query}").rows[0][0]
    finally:
        session.load = None


def select_columns(
    columns: list[str], found: list[str], header: list[str] | None, spec: dict, given: dict
) -> list[tuple[str, str]]:
    """(target column, the file's column) pairs. ``found`` are the engine's columns of the file, ``header`` its own
    names for them, if it has any."""
    parquet, how = spec.get("TYPE", "CSV").upper() == "PARQUET", given.get("MATCH_BY_COLUMN_NAME", "NONE").upper()
    if how != "NONE" and (parquet or header is not None):
        fold = str.upper if how == "CASE_INSENSITIVE" else str
        have = {fold(name): column for name, column in zip(found if parquet else header, found, strict=False)}
        return [(column, have[fold(column)]) for column in columns if fold(column) in have]
    if parquet:
        return [(columns[0], "COLUMN1")]
    have = [column for column in found if re.fullmatch(r"COLUMN\d+", column)]
    if len(have) != len(columns) and spec.get("ERROR_ON_COLUMN_COUNT_MISMATCH", "TRUE").upper() == "TRUE":
        raise SnowflakeError(
            f"Number of columns in file ({len(have)}) does not match that of the corresponding table ({len(columns)}).",
            100080, "22000",
        )  # fmt: skip
    return list(zip(columns, have, strict=False))


def in_type(column: str, engine: str) -> str:
    """A column of text as Snowflake converts it to the type of its target."""
    cell = exp.column(exp.to_identifier(column, quoted=True))
    cell.type = exp.DataType(this=T.TEXT)
    target = exp.DataType.build(annotation_type(engine), dialect="snowflake")
    return generate(rewrite_cast(exp.Cast(this=cell, to=target)))


def in_time(column: str, engine: str, target: str) -> str:
    """A column of Parquet; a number that goes into a timestamp counts seconds."""
    seconds = engine == "BIGINT" and target.startswith("TIMESTAMP")
    return f"sf_seconds({identifiers.quote(column)})" if seconds else identifiers.quote(column)


def parquet_columns(query: str, spec: dict[str, str]) -> str:
    """In Parquet ``$1:"A"`` is the file's column A with its own type, not a path into a JSON text."""
    if spec.get("TYPE", "CSV").upper() != "PARQUET":
        return query

    def column(found: re.Match) -> str:
        return found[1] if found[1].startswith('"') else identifiers.quote(found[1])

    return re.sub(r'\$1:("(?:[^"]|"")+"|\w+)', column, query)


def copy_files_of_query(session: Session, s: Matched) -> Result:
    """COPY FILES INTO @b FROM (SELECT '@a/x.jpeg', 'new_name.jpeg' ...): one file a row, renamed by a second column."""
    target = stage_files.locate(session, s["target"])
    s.options()
    rows = []
    pairs = run(session, s["query"].strip()[1:-1]).to_arrow()
    for place, *name in zip(*(column.to_pylist() for column in pairs.columns), strict=True):
        source = stage_files.locate(session, place)
        if not source.target.is_file():
            raise SnowflakeError(f"Remote file '{place}' was not found.", 91016, "22000")
        new = target.target / stage_files.safe_path(name[0] if name else source.path)
        copy_whole(source.target, new)
        rows.append({"file": target.relative(new)})
    return listing("file", rows)


STATEMENTS = [
    Statement("COPY INTO <table> [<columns:list>] FROM <source:list> [<options:rest>]", copy_into_table,
              options=options.LOAD),
    Statement("COPY INTO <table> [<columns:list>] FROM <source:stage> [<options:rest>]", copy_into_table,
              options=options.LOAD),
    Statement("COPY FILES INTO <target:stage> FROM <query:list> [<options:rest>]", copy_files_of_query),
]  # fmt: skip
