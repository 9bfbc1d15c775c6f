"""Types: Snowflake's in DDL and casts -> DuckDB's, and what kind of value an expression has."""

from sqlglot import exp

T = exp.DataType.Type

VARIANT_TYPES = {T.VARIANT, T.OBJECT, T.ARRAY, T.JSON, T.MAP, T.STRUCT}
TEXT_TYPES = {T.TEXT, T.VARCHAR, T.CHAR, T.NCHAR, T.NVARCHAR}
BINARY_TYPES = {T.BINARY, T.VARBINARY}
REAL_TYPES = {T.FLOAT, T.DOUBLE}
TIME_TYPES = {T.DATE, T.TIMESTAMP, T.TIMESTAMPNTZ, T.TIMESTAMPLTZ, T.TIMESTAMPTZ, T.DATETIME}
INTEGER_TYPES = {T.INT, T.BIGINT, T.SMALLINT, T.TINYINT, T.INT128, T.MEDIUMINT}
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


def engine_type(kind: exp.DataType) -> exp.DataType | None:
    """The DuckDB type that stores a Snowflake type; None when there is none."""
    if kind.this in (T.DECIMAL, T.BIGDECIMAL):
        sizes = [int(part.name) for part in kind.expressions] or [38, 0]
        precision, scale = [*sizes, 0][:2]
        return exp.DataType.build(f"DECIMAL({precision}, {scale})", dialect="duckdb")
    for members, name in ENGINE_TYPES:
        if kind.this in members:
            return exp.DataType.build(name, dialect="duckdb")
    return None


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
    kind = node.type
    return None if kind is None or kind.this == T.UNKNOWN else kind.this


def is_variant(node: exp.Expression) -> bool:
    return kind_of(node) in VARIANT_TYPES


def fits(kind: T | None, target: T | None) -> bool:
    """Whether the engine stores a value of a kind in a column of another type as Snowflake does."""
    if None in (kind, target) or kind in (T.NULL, T.UNKNOWN):
        return True
    if VARIANT_TYPES & {kind, target}:
        return {kind, target} <= VARIANT_TYPES
    if target in TEXT_TYPES:
        return kind not in REAL_TYPES | TIME_TYPES - {T.DATE}
    return not (target in INTEGER_TYPES and kind in REAL_TYPES or target in BINARY_TYPES and kind in TEXT_TYPES)
