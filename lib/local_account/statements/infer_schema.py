"""INFER_SCHEMA: the columns of staged Parquet files, and their types."""

from local_account.account.session import Session
from local_account.engine.results import SIMPLE_TYPES, TIMES, Result, listing
from local_account.engine.types import snowflake_type
from local_account.sql.stage_files import Location, file_format, locate, read_files
from local_account.sql.statement_shapes import Matched, Statement
from local_account.statements import options
from local_account.text import literals
from local_account.text.errors import compilation_error, unsupported

OF_FILES = ("COLUMN1", "METADATA$FILENAME")


def infer_schema(session: Session, s: Matched) -> Result:
    arguments = literals.nested(s["arguments"].replace("=>", "="), options.INFER_SCHEMA)
    if arguments.keys() != options.INFER_SCHEMA.keys():
        raise compilation_error("INFER_SCHEMA takes LOCATION and FILE_FORMAT", 1006)
    first = (s["order"] or "ORDER_ID").split(",")[0].split()  # ids are unique: what follows them decides nothing
    if [word.upper() for word in first] not in (["ORDER_ID"], ["ORDER_ID", "ASC"]):
        raise unsupported(f"INFER_SCHEMA ordered by {s['order']}", __name__)
    location = locate(session, arguments["LOCATION"])
    spec = file_format(session, {"FORMAT_NAME": arguments["FILE_FORMAT"]}, location)
    kind = spec.get("TYPE", "CSV").upper()
    if kind != "PARQUET":
        raise unsupported(f"INFER_SCHEMA of {kind} files", __name__)
    found = [
        {"COLUMN_NAME": name, "TYPE": inferred, "NULLABLE": True, "EXPRESSION": f"{place}::{inferred}",
         "FILENAMES": ", ".join(map(location.relative, location.files())), "ORDER_ID": i}
        for i, (name, inferred, place) in enumerate(infer_parquet(session, spec, location))
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


STATEMENTS = [
    Statement("SELECT <columns:rest> FROM TABLE ( INFER_SCHEMA <arguments:list> ) [ORDER BY <order:rest>]",
              infer_schema),
]  # fmt: skip
