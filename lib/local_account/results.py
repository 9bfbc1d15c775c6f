"""What a statement answers: columns with Snowflake types, and their encodings for the connector (Arrow and JSON)."""

from __future__ import annotations

import datetime as dt
import decimal
import re
from dataclasses import dataclass

import pyarrow as pa

from . import json_functions
from .errors import unsupported

CHUNK_BYTES = 16 << 20  # one part of a large answer; the connector fetches further parts one by one
CHUNK_ROWS = 100_000
EPOCH = dt.datetime(1970, 1, 1)
INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
SIMPLE_TYPES = {
    "DOUBLE": "REAL",
    "FLOAT": "REAL",
    "BOOLEAN": "BOOLEAN",
    "DATE": "DATE",
    "VARCHAR": "TEXT",
    "BLOB": "BINARY",
    "JSON": "VARIANT",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMP_LTZ",
    "NULL": "TEXT",
    '"NULL"': "TEXT",
}


@dataclass(frozen=True)
class Column:
    """A result column. ``kind`` is one of the protocol's type names: FIXED, REAL, TEXT, BOOLEAN, DATE, TIME,
    TIMESTAMP_NTZ, TIMESTAMP_LTZ, BINARY, VARIANT, OBJECT, ARRAY."""

    name: str
    kind: str = "TEXT"
    precision: int | None = None
    scale: int | None = None

    @property
    def length(self) -> int | None:
        return {"TEXT": 16777216, "VARIANT": 16777216, "OBJECT": 16777216, "ARRAY": 16777216, "BINARY": 8388608}.get(
            self.kind
        )

    def describe(self) -> dict:
        """The ``rowtype`` entry of the connector's protocol."""
        return {
            "name": self.name,
            "type": self.kind.lower(),
            "length": self.length,
            "byteLength": self.length,
            "precision": self.precision,
            "scale": self.scale,
            "nullable": True,
            "database": "",
            "schema": "",
            "table": "",
            "collation": None,
        }


def column_of(name: str, duckdb_type: object) -> Column:
    """The Snowflake column that a DuckDB column of this type stands for."""
    text = str(duckdb_type)
    if text.startswith("DECIMAL"):
        precision, scale = map(int, re.findall(r"\d+", text))
        return Column(name, "FIXED", precision, scale)
    if text in INTEGERS:
        return Column(name, "FIXED", 38, 0)
    if text in SIMPLE_TYPES:
        return Column(name, SIMPLE_TYPES[text], scale=9 if text.startswith("TIMESTAMP") else None)
    if text.startswith("TIMESTAMP"):
        return Column(name, "TIMESTAMP_NTZ", 0, 9)
    if text == "TIME":
        return Column(name, "TIME", 0, 9)
    raise unsupported(f"a result column of the engine's type {text} ({name})", "results.py")


class Result:
    """Rows with their columns. Holds either an Arrow table (queries) or Python rows (commands)."""

    def __init__(self, columns: list[Column], rows: list[tuple] | None = None, table: pa.Table | None = None):
        self.columns = columns
        self.rows = rows
        self.table = table

    @property
    def count(self) -> int:
        return len(self.rows) if self.table is None else self.table.num_rows

    def to_arrow(self) -> pa.Table:
        """The rows as an Arrow table with the engine's own types (for RESULT_SCAN)."""
        if self.table is not None:
            return self.table
        types = {"FIXED": pa.int64(), "REAL": pa.float64(), "BOOLEAN": pa.bool_()}
        types |= {"TIMESTAMP_LTZ": pa.timestamp("us", "UTC"), "TIMESTAMP_NTZ": pa.timestamp("us")}
        arrays = [
            pa.array([row[i] for row in self.rows], types.get(column.kind, pa.string()))
            for i, column in enumerate(self.columns)
        ]
        return pa.Table.from_arrays(arrays, names=[column.name for column in self.columns])

    def json_rows(self) -> list[list[str | None]]:
        """Every cell as the text that the connector's JSON converter reads."""
        return [[json_cell(value) for value in row] for row in self.rows]

    def arrow_parts(self) -> list[bytes]:
        """The table as Arrow IPC streams of at most about CHUNK_BYTES each, in the connector's encoding."""
        table = encode(self.table, self.columns)
        parts, start = [], 0
        while start < table.num_rows:
            rows = min(CHUNK_ROWS, table.num_rows - start)
            while rows > 1 and table.slice(start, rows).nbytes > CHUNK_BYTES:
                rows //= 2
            parts.append(ipc(table.slice(start, rows)))
            start += rows
        return parts or [ipc(table)]


def ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def encode(table: pa.Table, columns: list[Column]) -> pa.Table:
    arrays, fields = [], []
    for array, column in zip(table.columns, columns, strict=True):
        array = encode_column(array, column)
        arrays.append(array)
        fields.append(pa.field(column.name, array.type, metadata=arrow_metadata(column)))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def arrow_metadata(column: Column) -> dict[str, str]:
    scale = 6 if column.kind.startswith("TIME") else column.scale or 0
    return {
        "logicalType": column.kind,
        "precision": str(column.precision or 38),
        "scale": str(scale),
        "charLength": str(column.length or 0),
        "byteLength": str(column.length or 0),
    }


def encode_column(array: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    """The engine's Arrow column in the form that the connector's Arrow converters expect."""
    if column.kind in ("VARIANT", "OBJECT", "ARRAY"):
        return pa.chunked_array([pa.array([json_functions.pretty(v) for v in array.to_pylist()], pa.string())])
    if column.kind in ("TIMESTAMP_NTZ", "TIMESTAMP_LTZ"):
        return array.cast(pa.timestamp("us", array.type.tz)).cast(pa.int64())
    if column.kind == "TIME":
        return array.cast(pa.time64("us")).cast(pa.int64())
    if column.kind == "FIXED" and column.scale == 0:
        try:
            return array.cast(pa.int64())
        except pa.ArrowInvalid:  # wider than 64 bits: it travels as the decimal that it is
            return array.cast(pa.decimal128(38, 0))
    targets = {"TEXT": pa.string(), "BINARY": pa.binary(), "REAL": pa.float64()}
    return array.cast(targets.get(column.kind, array.type))


def json_cell(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, dt.datetime):
        naive = value.astimezone(dt.UTC).replace(tzinfo=None) if value.tzinfo else value
        return f"{(naive - EPOCH).total_seconds():.9f}"
    return str(value)


def status(message: str = "Statement executed successfully.") -> Result:
    return Result([Column("status")], rows=[(message,)])


def counts(**numbers: int) -> Result:
    """DML answers, such as ``number of rows inserted``."""
    columns = [Column(name.replace("_", " "), "FIXED", 38, 0) for name in numbers]
    return Result(columns, rows=[tuple(numbers.values())])


def listing(names: str, rows: list[dict]) -> Result:
    """A SHOW-like answer. ``names`` is the column order, separated by spaces; a suffix sets the type:
    ``#`` a number, ``@`` a timestamp."""
    kinds = {"#": ("FIXED", 38, 0), "@": ("TIMESTAMP_LTZ", 0, 9)}
    columns = [Column(name.rstrip("#@"), *kinds.get(name[-1], ("TEXT",))) for name in names.split()]
    return Result(columns, rows=[tuple(row.get(column.name) for column in columns) for row in rows])


def read_bind(kind: str, value: str | None) -> object:
    """A bind parameter as sent by the connector -> the Python value that the engine binds."""
    if value is None:
        return None
    if kind == "FIXED":
        return int(value) if re.fullmatch(r"-?\d+", str(value)) else decimal.Decimal(value)
    if kind == "BOOLEAN":
        return str(value).lower() == "true"
    if kind == "DATE":
        return (EPOCH + dt.timedelta(milliseconds=int(value))).date()
    if kind == "TIME":
        return (EPOCH + dt.timedelta(microseconds=int(value) // 1000)).time()
    if kind == "TIMESTAMP_NTZ":
        return EPOCH + dt.timedelta(microseconds=int(value) // 1000)
    if kind in ("TIMESTAMP_LTZ", "TIMESTAMP_TZ"):
        return (EPOCH + dt.timedelta(microseconds=int(str(value).split()[0]) // 1000)).replace(tzinfo=dt.UTC)
    converters = {"REAL": float, "BINARY": bytes.fromhex, "TEXT": str}
    if kind not in converters:
        raise unsupported(f"a bind parameter of type {kind}", "results.py")
    return converters[kind](value)
