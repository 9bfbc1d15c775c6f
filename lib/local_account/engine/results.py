"""Results of statements: columns with Snowflake types, and their encodings for the connector (Arrow and JSON)."""

import contextlib
import datetime as dt
import decimal
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from local_account.engine import variant_functions
from local_account.text.errors import unsupported

CHUNK_BYTES = 1 << 20  # one part of a large answer; a client fetches several ahead, and holds each several times
CHUNK_ROWS = 100_000
SUCCESS = "Statement executed successfully."
EPOCH = dt.datetime(1970, 1, 1)
INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
SIMPLE_TYPES = {"DOUBLE": "REAL", "FLOAT": "REAL", "BOOLEAN": "BOOLEAN", "DATE": "DATE", "VARCHAR": "TEXT",
                "BLOB": "BINARY", "JSON": "VARIANT", "NULL": "TEXT", '"NULL"': "TEXT"}  # fmt: skip
TIMES = {"TIME": "TIME", "TIMESTAMP WITH TIME ZONE": "TIMESTAMP_LTZ", "TIMESTAMP": "TIMESTAMP_NTZ",
         "TIMESTAMP_NS": "TIMESTAMP_NTZ", "TIMESTAMP_MS": "TIMESTAMP_NTZ", "TIMESTAMP_S": "TIMESTAMP_NTZ",
         "TIMESTAMPTZ_NS": "TIMESTAMP_LTZ"}  # fmt: skip
LENGTHS = {"TEXT": 16777216, "VARIANT": 16777216, "OBJECT": 16777216, "ARRAY": 16777216, "BINARY": 8388608}
ARROW_TYPES = {"FIXED": pa.int64(), "REAL": pa.float64(), "BOOLEAN": pa.bool_(), "TEXT": pa.string(),
               "BINARY": pa.binary(), "TIMESTAMP_LTZ": pa.timestamp("us", "UTC"),
               "TIMESTAMP_NTZ": pa.timestamp("us")}  # fmt: skip


MOMENT = pa.struct([("epoch", pa.int64()), ("fraction", pa.int32())])


@dataclass(frozen=True)
class Column:
    """A result column. ``kind`` is one of the protocol's type names: FIXED, REAL, TEXT, BOOLEAN, DATE, TIME,
    TIMESTAMP_NTZ, TIMESTAMP_LTZ, BINARY, VARIANT, OBJECT, ARRAY."""

    name: str
    kind: str = "TEXT"
    precision: int | None = None
    scale: int | None = None
    size: int | None = None
    nullable: bool = True

    @property
    def length(self) -> int | None:
        """The most characters or bytes that a value may have."""
        return self.size or LENGTHS.get(self.kind)

    def describe(self) -> dict:
        """The ``rowtype`` entry of the connector's protocol."""
        length = self.length
        return {
            "name": self.name, "type": self.kind.lower(), "length": length, "byteLength": length,
            "precision": self.precision, "scale": self.scale, "nullable": self.nullable, "database": "", "schema": "",
            "table": "", "collation": None,
        }  # fmt: skip

    def arrow_metadata(self) -> dict[str, str]:
        scale = 6 if self.kind == "TIME" else self.scale or 0
        length = self.length or 0
        given = {"precision": self.precision or 38, "scale": scale, "charLength": length, "byteLength": length}
        return {"logicalType": self.kind} | {key: str(value) for key, value in given.items()}


def column_of(name: str, duckdb_type: object) -> Column:
    """The Snowflake column that a DuckDB column of this type stands for."""
    text = str(duckdb_type)
    if text.startswith("DECIMAL"):
        return Column(name, "FIXED", *map(int, re.findall(r"\d+", text)))
    if text in INTEGERS:
        return Column(name, "FIXED", 38, 0)
    if text in SIMPLE_TYPES:
        return Column(name, SIMPLE_TYPES[text])
    if text in TIMES:
        return Column(name, TIMES[text], 0, 9)
    raise unsupported(f"a result column of the engine's type {text} ({name})", __name__)


def declare(column: Column, declared: str | None) -> Column:
    """The column with its declared type, from ``types.declared_type``."""
    if declared in ("ARRAY", "OBJECT"):
        return replace(column, kind=declared) if column.kind == "VARIANT" else column
    sized = declared and column.kind in ("TEXT", "BINARY")
    return replace(column, size=int(re.search(r"\d+", declared)[0])) if sized else column


class Result:
    """Rows with their columns. Holds either an Arrow table (queries) or Python rows (commands)."""

    def __init__(self, columns: list[Column], rows: list[tuple] | None = None, table: pa.Table | None = None):
        self.columns, self.rows, self.table = columns, rows, table

    @property
    def count(self) -> int:
        return len(self.rows) if self.table is None else self.table.num_rows

    def to_arrow(self) -> pa.Table:
        """The rows as an Arrow table with the engine's own types (for RESULT_SCAN)."""
        if self.table is not None:
            return self.table
        arrays = [
            pa.array([row[i] for row in self.rows], ARROW_TYPES.get(column.kind, pa.string()))
            for i, column in enumerate(self.columns)
        ]
        return pa.Table.from_arrays(arrays, names=[column.name for column in self.columns])

    def json_rows(self) -> list[list[str | None]]:
        """Every cell as the text that the connector's JSON converter reads."""
        return [[json_cell(value) for value in row] for row in self.rows]

    def arrow_parts(self) -> list[tuple[bytes, int]]:
        """The table as Arrow IPC streams of at most about CHUNK_BYTES each, in the connector's encoding, and the number
        of rows of each."""
        arrays = [encode(array, column) for array, column in zip(self.table.columns, self.columns, strict=True)]
        fields = [
            pa.field(column.name, array.type, metadata=column.arrow_metadata())
            for array, column in zip(arrays, self.columns, strict=True)
        ]
        table = pa.Table.from_arrays(arrays, schema=pa.schema(fields))
        return [(ipc(part), part.num_rows) for part in slices(table, CHUNK_ROWS, CHUNK_BYTES)]


@dataclass
class Transfer:
    """An answer that makes the connector copy files itself: the fields of its PUT / GET protocol."""

    data: dict


def slices(table: pa.Table, most_rows: int, most_bytes: int) -> Iterator[pa.Table]:
    """Parts of a table of at most so many rows, and about so many bytes."""
    start = 0
    while start < table.num_rows:
        rows = min(most_rows, table.num_rows - start)
        while rows > 1 and table.slice(start, rows).nbytes > most_bytes:
            rows //= 2
        yield table.slice(start, rows)
        start += rows


def ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def encode(array: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    """The engine's Arrow column in the form that the connector's Arrow converters expect."""
    if column.kind in ("VARIANT", "OBJECT", "ARRAY"):
        return pa.chunked_array([pa.array([variant_functions.pretty(v) for v in array.to_pylist()], pa.string())])
    if column.kind.startswith("TIMESTAMP"):
        return pa.chunked_array([moments(chunk) for chunk in array.chunks], MOMENT)
    if column.kind == "TIME":
        return array.cast(pa.time64("us")).cast(pa.int64())
    if column.kind == "FIXED":
        return integers(array, column.scale)
    return array.cast(ARROW_TYPES.get(column.kind, array.type))


def moments(array: pa.Array) -> pa.StructArray:
    """Seconds and nanoseconds."""
    since = array.cast(pa.timestamp("us", array.type.tz)).cast(pa.int64())
    seconds = pc.divide(since, 1_000_000)  # towards zero: before 1970 both parts are negative
    rest = pc.multiply(pc.subtract(since, pc.multiply(seconds, 1_000_000)), 1000)
    return pa.StructArray.from_arrays([seconds, rest.cast(pa.int32())], fields=list(MOMENT), mask=array.is_null())


def integers(array: pa.ChunkedArray, scale: int) -> pa.ChunkedArray:
    """NUMBERs without their point, in the smallest type that holds them all, as Snowflake sends them."""
    whole = array
    if not pa.types.is_integer(array.type):
        array, plain = array.cast(pa.decimal128(38, scale)), pa.decimal128(38, 0)
        bare = [pa.Array.from_buffers(plain, len(c), c.buffers(), offset=c.offset) for c in array.chunks]
        whole = pa.chunked_array(bare, plain)
    for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64()):
        with contextlib.suppress(pa.ArrowInvalid):
            return whole.cast(kind)
    return array


def json_cell(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, dt.datetime):
        naive = value.astimezone(dt.UTC).replace(tzinfo=None) if value.tzinfo else value
        return f"{(naive - EPOCH).total_seconds():.9f}"
    return str(value)


def status(message: str = SUCCESS) -> Result:
    return listing("status", [{"status": message}])


def listing(names: str, rows: list[dict]) -> Result:
    """A SHOW-like answer. ``names`` is the column order, separated by spaces; a suffix sets the type:
    ``#`` a number, ``@`` a timestamp, ``!`` a boolean."""
    kinds = {"#": ("FIXED", 38, 0), "@": ("TIMESTAMP_LTZ", 0, 9), "!": ("BOOLEAN",)}
    columns = [Column(name.rstrip("#@!"), *kinds.get(name[-1], ("TEXT",))) for name in names.split()]
    return Result(columns, rows=[tuple(row.get(column.name) for column in columns) for row in rows])


def microseconds(value: object) -> dt.datetime:
    return EPOCH + dt.timedelta(microseconds=int(str(value).split()[0]) // 1000)


def utc(value: str) -> dt.datetime:
    """The connector's text ends with the zone in minutes; UTC is 1440."""
    if value.split()[1] != "1440":
        raise unsupported("a bound timestamp of another zone than UTC", __name__)
    return microseconds(value)


READERS = {
    "FIXED": lambda value: int(value) if re.fullmatch(r"-?\d+", str(value)) else decimal.Decimal(value),
    "BOOLEAN": lambda value: str(value).lower() == "true",
    "DATE": lambda value: (EPOCH + dt.timedelta(milliseconds=int(value))).date(),
    "TIME": lambda value: microseconds(value).time(),
    "TIMESTAMP_NTZ": microseconds,
    "TIMESTAMP_LTZ": lambda value: microseconds(value).replace(tzinfo=dt.UTC),
    "TIMESTAMP_TZ": lambda value: utc(value).replace(tzinfo=dt.UTC),
    "REAL": float,
    "BINARY": bytes.fromhex,
    "TEXT": str,
}


def read_bind(kind: str, value: str | None) -> object:
    """A bind parameter as sent by the connector -> the Python value that the engine binds."""
    if value is None:
        return None
    if kind not in READERS:
        raise unsupported(f"a bind parameter of type {kind}", __name__)
    return READERS[kind](value)
