"""INFER_SCHEMA: the columns of staged Parquet and CSV files, and their types."""

import re

import duckdb

from local_account.account.session import Session
from local_account.engine.results import SIMPLE_TYPES, TIMES, Result, listing
from local_account.engine.types import snowflake_type
from local_account.sql import statement_shapes
from local_account.sql.stage_files import Location, below_header, csv_lines, file_format, locate, read_files
from local_account.sql.statement_shapes import Matched, statement
from local_account.text import identifiers
from local_account.text.errors import compilation_error, unsupported

OF_FILES = ("COLUMN1", "METADATA$FILENAME")
TEXTS = {  # what all values of a column of text look like: their type, the first that fits
    "true|false": "BOOLEAN",
    r"[+-]?\d+(\.\d*)?|[+-]?\.\d+": "NUMBER",
    r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?": "REAL",
    r"\d{4}-\d{1,2}-\d{1,2}": "DATE",
    r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?": "TIME",
    r"\d{4}-\d{1,2}-\d{1,2}[T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?": "TIMESTAMP_NTZ",
}


@statement("SELECT <columns:rest> FROM TABLE ( INFER_SCHEMA <arguments:list> ) [ORDER BY <order:rest>]", "executed")
def infer_schema(session: Session, s: Matched) -> Result:
    pairs = re.findall(rf"(\w+)\s*=>\s*({statement_shapes.STRING})", s["arguments"])
    arguments = {key.upper(): statement_shapes.unquote(value) for key, value in pairs}
    if not {"LOCATION", "FILE_FORMAT"} <= arguments.keys():
        raise compilation_error("INFER_SCHEMA takes LOCATION and FILE_FORMAT", 1006)
    location = locate(session, arguments["LOCATION"])
    spec = file_format(session, {"FORMAT_NAME": arguments["FILE_FORMAT"]}, location)
    kind = spec.get("TYPE", "CSV").upper()
    if kind not in ("PARQUET", "CSV"):
        raise unsupported(f"INFER_SCHEMA of {kind} files", "infer_schema.py")
    infer = infer_parquet if kind == "PARQUET" else infer_csv
    found = [
        {"COLUMN_NAME": name, "TYPE": inferred, "NULLABLE": True, "EXPRESSION": f"{place}::{inferred}",
         "FILENAMES": ", ".join(map(location.relative, location.files())), "ORDER_ID": i}
        for i, (name, inferred, place) in enumerate(infer(session, spec, location))
    ]  # fmt: skip
    everything = list(found[0]) if found else []
    wanted = everything if s["columns"].strip() == "*" else [c.strip().upper() for c in s["columns"].split(",")]
    suffixes = {"ORDER_ID": "#", "NULLABLE": "!"}
    return listing(" ".join(column + suffixes.get(column, "") for column in wanted), found)


def infer_parquet(session: Session, spec: dict, location: Location) -> list[tuple[str, str, str]]:
    """(name, type, where a query finds it) of each column."""
    rows = session.con.sql(read_files(location.files(), spec, location))
    pairs = zip(rows.columns, map(str, rows.types), strict=True)
    return [(name, parquet_type(kind), f"$1:{name}") for name, kind in pairs if name not in OF_FILES]


def parquet_type(engine: str) -> str:
    if engine.endswith("[]") or engine.startswith(("STRUCT", "MAP")):
        return "VARIANT"
    kind = SIMPLE_TYPES.get(engine) or TIMES.get(engine)
    return kind if kind and engine not in ("DATE", "BOOLEAN") else snowflake_type(engine).replace(",", ", ")


def infer_csv(session: Session, spec: dict, location: Location) -> list[tuple[str, str, str]]:
    """The same of CSV files, whose first line may have the names."""
    headed, read = below_header(spec)
    files = location.files()
    rows = session.con.sql(read_files(files, read, location))
    columns = [name for name in rows.columns if name != OF_FILES[1]]
    listed = next(csv_lines(files[0], spec)) if headed else [f"c{i + 1}" for i in range(len(columns))]
    return [
        (name, csv_type(rows, identifiers.quote(column)), f"${i + 1}")
        for i, (name, column) in enumerate(zip(listed, columns, strict=True))
    ]


def csv_type(rows: duckdb.DuckDBPyRelation, column: str) -> str:
    fits = [
        f"coalesce(bool_and(regexp_full_match(trim({column}), {identifiers.literal(p)}, 'i')), false)" for p in TEXTS
    ]
    whole = f"max(length(regexp_extract({column}, '^ *[+-]?([0-9]*)', 1)))"
    rest = f"max(length(regexp_extract({column}, '[.]([0-9]*) *$', 1)))"
    *fitting, whole, rest = rows.aggregate(", ".join([*fits, whole, rest])).fetchall()[0]
    found = next((kind for kind, fits in zip(TEXTS.values(), fitting, strict=True) if fits), "TEXT")
    return f"NUMBER({max(1, whole + rest)}, {rest})" if found == "NUMBER" else found
