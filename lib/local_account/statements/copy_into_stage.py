"""COPY INTO a stage: the rows of a query as one file of it."""

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

from local_account.account.session import Session
from local_account.engine.results import Result, listing
from local_account.sql import stage_files
from local_account.sql.statement_shapes import Matched, Statement
from local_account.sql.translate import QUERIES, generate, translate
from local_account.statements import options
from local_account.text import identifiers, literals
from local_account.text.errors import SnowflakeError, unsupported
from local_account.text.literals import is_true, literal

UNLOADED = ("COMPRESSION", "FIELD_DELIMITER", "FIELD_OPTIONALLY_ENCLOSED_BY", "NULL_IF")
UNLOAD_OPTIONS = {"CSV": dict.fromkeys(UNLOADED, ".*"), "PARQUET": {"COMPRESSION": ".*"}}
COMPRESSIONS = {"CSV": ("AUTO", "GZIP", "NONE"), "PARQUET": ("AUTO", "SNAPPY")}
BARE = r"QUOTE E'\x01', ESCAPE E'\x01'"  # nothing is enclosed


def unload(session: Session, s: Matched) -> Result:
    """Write one file. It is renamed when complete, so that no reader sees a part of it."""
    given, stage = s.options(), s["stage"]
    is_query = s["source"].startswith("(")
    tree = translate(session, s["source"].strip()[1:-1] if is_query else f"SELECT * FROM {s['source']}")
    if not isinstance(tree, QUERIES):
        raise unsupported("COPY INTO a stage from a statement that is not a query", __name__)
    location = stage_files.locate(session, stage)
    spec = stage_files.file_format(session, stage_files.format_options(given), location)
    relation = session.con.sql(generate(tree))
    columns = dict(zip(map(identifiers.quote, relation.columns), map(str, relation.types), strict=True))
    suffix, selected, how = unload_format(spec, given, columns)
    target = location.target
    if not is_true(given, "SINGLE"):
        in_folder = not location.path or stage.strip("'").endswith("/")
        target = target / f"data{suffix}" if in_folder else target.with_name(target.name + suffix)
    if target.exists() and not is_true(given, "OVERWRITE"):
        text = f"Files already existing at the unload destination: {stage}. Use overwrite option to force unloading."
        raise SnowflakeError(text, 100128, "22000")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.part")
    query = f"SELECT {', '.join(selected)} FROM ({generate(tree)}) AS r"
    number = session.con.execute(f"COPY ({query}) TO {literal(temporary)} ({how})").fetchall()[0][0]
    if suffix.startswith("_0_0_0.csv") and is_true(given, "HEADER"):
        put_before(temporary, enclosed_header(spec, columns), gzip.compress if suffix.endswith(".gz") else bytes)
    temporary.replace(target)
    size = target.stat().st_size
    row = {"rows_unloaded": number, "input_bytes": size, "output_bytes": size}
    return listing("rows_unloaded# input_bytes# output_bytes#", [row])


def put_before(file: Path, line: bytes, packed: Callable[[bytes], bytes]) -> None:
    """Put a line before a file's contents. A gzip file may consist of several parts."""
    below = file.with_name(f"{file.name}.below")
    file.replace(below)
    with open(file, "wb") as out, open(below, "rb") as source:
        out.write(packed(line))
        shutil.copyfileobj(source, out)
    below.unlink()


def unload_format(spec: dict[str, str], given: dict[str, str], columns: dict[str, str]) -> tuple[str, list, str]:
    """The end of an unloaded file's name, the expressions to select, and the engine's options that write it.
    ``columns``: name in quotes -> engine type."""
    kind, header = stage_files.check_options(spec, UNLOAD_OPTIONS), is_true(given, "HEADER")
    compression = spec.get("COMPRESSION", "AUTO").upper()
    if compression not in COMPRESSIONS[kind]:
        raise unsupported(f"unloading to {kind} with COMPRESSION = {compression}", __name__)
    if kind == "PARQUET":
        selected = [name if header else f'{name} AS "_COL_{i}"' for i, name in enumerate(columns)]
        return "_0_0_0.snappy.parquet", selected, "FORMAT parquet"
    gzip = compression != "NONE"
    selected, csv = unload_csv(spec, columns)
    how = f"COMPRESSION {'gzip' if gzip else 'none'}, HEADER {header and not enclosed_header(spec, columns)}"
    return f"_0_0_0.csv{'.gz' * gzip}", selected, f"FORMAT csv, {how}, {csv}"


def enclosed_header(spec: dict[str, str], columns: dict[str, str]) -> bytes:
    """The header line; empty if nothing is enclosed. The engine itself would enclose only some of the names."""
    mark = spec.get("FIELD_OPTIONALLY_ENCLOSED_BY", "NONE")
    if mark.upper() == "NONE":
        return b""
    names_in = (mark + identifiers.split(name)[0].replace(mark, mark * 2) + mark for name in columns)
    return (spec.get("FIELD_DELIMITER", ",").join(names_in) + "\n").encode()


def unload_csv(spec: dict[str, str], columns: dict[str, str]) -> tuple[list[str], str]:
    mark = literal(spec.get("FIELD_DELIMITER", ","))
    quote = spec.get("FIELD_OPTIONALLY_ENCLOSED_BY", "NONE")
    null = (literals.items(spec.get("NULL_IF")) or ["\\N"])[0]
    how = f"DELIMITER {mark}, NULLSTR {literal(null)}, "
    texts = {name: "hex" if kind == "BLOB" else "sf_to_text" for name, kind in columns.items()}
    if quote.upper() == "NONE":
        selected = [f"sf_unenclosed({text}({name}), {mark}) AS {name}" for name, text in texts.items()]
        return selected, how + BARE
    how += f"QUOTE {literal(quote)}, ESCAPE {literal(quote)}"
    if strings := [name for name, kind in columns.items() if kind == "VARCHAR"]:
        how += f", FORCE_QUOTE ({', '.join(strings)})"
    return [f"{text}({name}) AS {name}" for name, text in texts.items()], how


STATEMENTS = [
    Statement("COPY INTO <stage:stage> FROM <source> [<options:rest>]", unload, options=options.UNLOAD),
    Statement("COPY INTO <stage:stage> FROM <source:list> [<options:rest>]", unload, options=options.UNLOAD),
]  # fmt: skip
