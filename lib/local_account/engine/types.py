"""Types: Snowflake's in DDL and casts -> DuckDB's, and the types of expressions."""

from sqlglot import exp

from local_account.text.errors import compilation_error, unsupported

T = exp.DataType.Type

VARIANT_TYPES = {T.VARIANT, T.OBJECT, T.ARRAY, T.JSON, T.MAP, T.STRUCT}
TEXT_TYPES = {T.TEXT, T.VARCHAR, T.CHAR, T.NCHAR, T.NVARCHAR}
BINARY_TYPES = {T.BINARY, T.VARBINARY}
REAL_TYPES = {T.FLOAT, T.DOUBLE}
TIME_TYPES = {T.DATE, T.TIMESTAMP, T.TIMESTAMPNTZ, T.TIMESTAMPLTZ, T.TIMESTAMPTZ, T.DATETIME}
INTEGER_TYPES = {T.INT, T.BIGINT, T.SMALLINT, T.TINYINT, T.INT128, T.MEDIUMINT}
NUMBER_TYPES = INTEGER_TYPES | REAL_TYPES | {T.DECIMAL}
LONGEST, LARGEST = 16_777_216, 134_217_728  # bytes of a VARCHAR: where no length is declared, and where one is
LONGEST_BINARY, LARGEST_BINARY = 8_388_608, 67_108_864
ENGINE_TYPES = (
    (VARIANT_TYPES, "JSON"),
    (REAL_TYPES, "DOUBLE"),
    (INTEGER_TYPES, "BIGINT"),
    ({T.BINARY, T.VARBINARY}, "BLOB"),
    (TEXT_TYPES, "VARCHAR"),
    ({T.TIMESTAMPLTZ}, "TIMESTAMPTZ"),
    ({T.TIMESTAMP, T.TIMESTAMPNTZ, T.DATETIME}, "TIMESTAMP"),
    ({T.DATE}, "DATE"),
    ({T.TIME}, "TIME"),
    ({T.BOOLEAN}, "BOOLEAN"),
)


def engine_type(kind: exp.DataType) -> exp.DataType:
    """The DuckDB type that stores a Snowflake type. ``meta`` keeps what the DuckDB type cannot express."""
    if kind.this in (T.DECIMAL, T.BIGDECIMAL):
        sizes = [int(part.name) for part in kind.expressions] or [38, 0]
        precision, scale = [*sizes, 0][:2]
        name = f"DECIMAL({precision}, {scale})"
    else:
        name = next((name for members, name in ENGINE_TYPES if kind.this in members), None)
    if name is None:
        raise unsupported(f"the type {kind.sql('snowflake')}", __name__)
    made = exp.DataType.build(name, dialect="duckdb")
    made.meta["declared"] = declared_type(kind)
    return made


def declared_type(kind: exp.DataType) -> str | None:
    """The part of a column's type that the engine cannot store: the length of a text or binary value, ARRAY and
    OBJECT. None where the length is the one that is meant without a declaration."""
    if kind.this in (T.ARRAY, T.OBJECT):
        return kind.this.value
    if kind.this not in TEXT_TYPES | BINARY_TYPES:
        return None
    name, default = ("BINARY", LONGEST_BINARY) if kind.this in BINARY_TYPES else ("VARCHAR", LONGEST)
    size = longest_of(kind)
    return f"{name}({size})" if size != default else None


def longest_of(kind: exp.DataType) -> int:
    """The most bytes that a value of the type may have; characters where a text's length is declared. Raises for a
    length that no value can have."""
    binary = kind.this in BINARY_TYPES
    sized = kind.expressions if kind.this in BINARY_TYPES | TEXT_TYPES else ()
    default = LONGEST_BINARY if binary else 1 if kind.this in (T.CHAR, T.NCHAR) else LONGEST
    size, largest = int(sized[0].name) if sized else default, LARGEST_BINARY if binary else LARGEST
    if not 0 < size <= largest:
        raise compilation_error(f"invalid length {size} of {kind.sql('snowflake')}: it may be 1 to {largest}", 1003)
    return size


def snowflake_type(engine: str) -> str:
    """DuckDB's column type as DESCRIBE TABLE and INFORMATION_SCHEMA print it."""
    fixed = {
        "VARCHAR": "VARCHAR(16777216)", "BIGINT": "NUMBER(38,0)", "HUGEINT": "NUMBER(38,0)", "INTEGER": "NUMBER(38,0)",
        "DOUBLE": "FLOAT", "FLOAT": "FLOAT", "BLOB": "BINARY(8388608)", "TIMESTAMP": "TIMESTAMP_NTZ(9)",
        "TIMESTAMP WITH TIME ZONE": "TIMESTAMP_LTZ(9)", "JSON": "VARIANT", "TIME": "TIME(9)",
    }  # fmt: skip
    return fixed.get(engine, engine.replace("DECIMAL", "NUMBER"))


def annotation_type(engine: str) -> str:
    """DuckDB's column type as the type annotator wants it."""
    others = {"TIMESTAMP": "TIMESTAMPNTZ", "TIMESTAMP WITH TIME ZONE": "TIMESTAMPLTZ", "HUGEINT": "INT128"}
    return {**others, "JSON": "VARIANT"}.get(engine, engine)


def kind_of(node: exp.Expression) -> T | None:
    """The type of an expression, None when it is not known."""
    while isinstance(node, exp.Paren):
        node = node.this
    # A parameter has the type of its value, and a text is one, also in a statement that the optimizer cannot qualify.
    kind = node.type or node.meta.get("kind")
    if kind is None and isinstance(node, exp.Literal) and node.is_string:
        return T.TEXT
    return None if kind is None or kind.this == T.UNKNOWN else kind.this


def is_variant(node: exp.Expression) -> bool:
    return kind_of(node) in VARIANT_TYPES
