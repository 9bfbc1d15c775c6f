"""Files on stages: their paths, their lists, and how a query reads them."""

import csv
import datetime as dt
import gzip
import hashlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from sqlglot import exp

from local_account.account import catalog
from local_account.account.session import Session
from local_account.sql.rewrites.nodes import call, engine_node
from local_account.text import identifiers, literals
from local_account.text.errors import Missing, SnowflakeError, compilation_error, unsupported
from local_account.text.identifiers import Name
from local_account.text.literals import is_true, literal

BOOLEAN, COMPRESSION = "TRUE|FALSE", "AUTO|GZIP|NONE"
COMMON_OPTIONS = dict.fromkeys(("TYPE", "FORMAT_NAME", "FORMAT", "PATTERN", "COMMENT"), ".*")
OPTIONS = {  # of each type of file: option -> its values, as a regular expression
    "CSV": {
        "COMPRESSION": COMPRESSION, "FIELD_DELIMITER": ".+", "SKIP_HEADER": r"\d+", "PARSE_HEADER": BOOLEAN,
        "FIELD_OPTIONALLY_ENCLOSED_BY": "NONE|.", "NULL_IF": ".*", "EMPTY_FIELD_AS_NULL": BOOLEAN,
        "ERROR_ON_COLUMN_COUNT_MISMATCH": BOOLEAN,
    },
    "JSON": {"COMPRESSION": COMPRESSION, "STRIP_OUTER_ARRAY": BOOLEAN},
    "PARQUET": {  # files of this type say themselves how they are compressed
        "COMPRESSION": "AUTO|SNAPPY|GZIP|NONE", "BINARY_AS_TEXT": BOOLEAN, "USE_LOGICAL_TYPE": BOOLEAN,
        "USE_VECTORIZED_SCANNER": BOOLEAN,
    },
}  # fmt: skip
DIGESTS: dict[tuple[str, int, int], str] = {}  # (path, size, mtime in ns) -> md5; a listing hashes a file once


@dataclass(frozen=True)
class Location:
    """A place on a stage. ``base`` is the stage's folder, ``path`` what follows its name, ``label`` how listings
    call the base, ``stage`` the stage's qualified name (empty for ``snow://`` places)."""

    base: Path
    path: str
    label: str
    stage: str = ""
    directory: bool = False
    format: dict = field(default_factory=dict)
    sealed: bool = False
    """whether clients encrypt the files: no URL reads them"""

    @property
    def target(self) -> Path:
        return self.base / self.path if self.path else self.base

    def files(self) -> list[Path]:
        """The files at this place: a stage path is a prefix, as in Snowflake. Sorted by name."""
        if self.target.is_file():
            return [self.target]
        if self.target.is_dir():
            return sorted(f for f in self.target.rglob("*") if is_whole(f))
        parent = self.target.parent
        if not parent.is_dir():
            return []
        return sorted(f for f in parent.rglob("*") if is_whole(f) and str(f).startswith(str(self.target)))

    def relative(self, file: Path) -> str:
        return file.relative_to(self.base).as_posix()


def is_whole(file: Path) -> bool:
    """Whether it is a file, and not one that is still being written (or was, when the server died)."""
    return file.is_file() and not (file.name.startswith(".") and file.name.endswith(".part"))


def locate(session: Session, text: str) -> Location:
    """``@stage/path``, ``@~/path`` or ``snow://model|experiment/...`` -> its place. Raises 002003."""
    text = literals.unquote(text) if text.startswith("'") else text
    if text.startswith("snow://"):
        return locate_snow(session, text)
    found = re.fullmatch(rf"@({identifiers.DOTTED}|~)(?:/(.*))?", text, re.S)
    if not found:
        raise unsupported(f"the stage path {text!r}", __name__)
    path = safe_path(found[2] or "")
    if found[1] == "~":
        return Location(session.folders.path(session.need("STAGE", Name("", "", "~"))), path, "", "~")
    stage = session.need("STAGE", found[1])
    given = (stage.properties.get("directory", False), stage.properties.get("format", {}),
             stage.properties.get("encryption") == "SNOWFLAKE_FULL")  # fmt: skip
    return Location(session.folders.path(stage), path, f"{stage.name.lower()}/", str(stage.qualified), *given)


def locate_snow(session: Session, text: str) -> Location:
    found = re.fullmatch(
        rf"snow://(model|experiment|streamlit)/({identifiers.DOTTED})/versions/({identifiers.PART})(?:/(.*))?",
        text,
        re.S,
    )
    if not found:
        raise unsupported(f"the path {text!r}", __name__)
    kind, name, member = found[1].upper(), session.resolve(found[2]), identifiers.fold(found[3])
    owner = session.need(kind, name)
    if kind != "STREAMLIT":  # an app has only its live version
        part = "MODEL VERSION" if kind == "MODEL" else "RUN"
        owner = session.get(part, Name(*name[:2], member), name.name)
    if owner is None:
        raise Missing("Version" if kind == "MODEL" else "Run", member)
    label = f"versions/{member}/" if kind == "MODEL" else f"/versions/{found[3] if kind == 'STREAMLIT' else member}/"
    return Location(session.folders.path(owner), safe_path(found[4] or ""), label)


def safe_path(path: str) -> str:
    if ".." in path.split("/"):
        raise compilation_error(f"invalid stage path '{path}': it leaves the stage")
    return path.strip("/")


def digest(file: Path) -> str:
    stat = file.stat()
    key = (str(file), stat.st_size, stat.st_mtime_ns)
    if key not in DIGESTS:
        with open(file, "rb") as stream:
            DIGESTS[key] = hashlib.file_digest(stream, "md5").hexdigest()
    return DIGESTS[key]


def modified(file: Path) -> dt.datetime:
    return dt.datetime.fromtimestamp(int(file.stat().st_mtime), dt.UTC)


def chosen(location: Location, given: dict[str, str]) -> list[Path]:
    """The files of the location that the options PATTERN and FILES select."""
    wanted = {location.target / name for name in literals.items(given.get("FILES"))}
    return [file for file in matching(location, given.get("PATTERN")) if "FILES" not in given or file in wanted]


def matching(location: Location, pattern: str | None) -> list[Path]:
    """The location's files whose path on the stage matches the regular expression in full."""
    if pattern is None:
        return location.files()
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise compilation_error(f"invalid regular expression '{pattern}': {error}", 100048) from error
    return [f for f in location.files() if regex.fullmatch(location.relative(f))]


def directory(session: Session, text: str) -> str:
    """DIRECTORY(@stage): the files as of the last ALTER STAGE ... REFRESH."""
    location = locate(session, text if text.startswith("@") else f"@{text}")
    if not location.directory:
        raise compilation_error(f"Directory table is not enabled on stage {location.stage}.", 391707, "0A000")
    return f"""
        SELECT relative_path AS "RELATIVE_PATH", size AS "SIZE", last_modified AS "LAST_MODIFIED", md5 AS "MD5",
            md5 AS "ETAG", {literal("snow://stage/" + location.stage + "/")} || relative_path AS "FILE_URL"
        FROM {catalog.SYSTEM}.stage_files WHERE stage = {literal(location.stage)}"""


def file_url(session: Session, arguments: list[exp.Expression]) -> exp.Expression:
    """BUILD_SCOPED_FILE_URL(@stage, path): the path that SnowflakeFile opens, from the folder where workers run.

    Where clients encrypt the files, Snowflake builds a URL too, and reading it fails.
    """
    stage, path = arguments
    spelled = re.sub(r"^[@$]+", "", stage.name if isinstance(stage, exp.Var) else stage.sql("snowflake"))
    location = locate(session, f"@{spelled}")
    place = (
        "not readable by URL (SNOWFLAKE_FULL)" if location.sealed else location.base.relative_to(session.account.root)
    )
    prefix = exp.Literal.string(f"../{place}/")
    above = exp.Literal.string(r"(^|/)\.\.(/|$)")
    leaves = engine_node(call("regexp_matches", path.copy(), above, kind="BOOLEAN"))
    refusal = engine_node(call("error", exp.Literal.string("The path leaves the stage."), kind="VARCHAR"))
    inside = engine_node(exp.DPipe(this=prefix, expression=path))
    return engine_node(exp.Case(ifs=[exp.If(this=leaves, true=refusal)], default=inside))


def source_options(table: exp.Table) -> dict[str, str]:
    """``@stage (FILE_FORMAT => 'f', PATTERN => '...')`` -> options."""
    found = {key.upper(): table.args[key].name for key in ("format", "pattern") if table.args.get(key) is not None}
    return {"FORMAT_NAME": found["FORMAT"], **found} if "FORMAT" in found else found


def select_files(session: Session, text: str, options: dict[str, str]) -> str:
    """An engine query over staged files: Parquet by its own columns, CSV as COLUMN1.., JSON as one VARIANT."""
    location = locate(session, text)
    if session.load:
        spec, files = session.load
        return read_files(files, spec, location)
    files = matching(location, options.get("PATTERN"))
    if not files:
        raise SnowflakeError(f"Remote file '{text}' was not found. There are no files at that place.", 91016, "22000")
    return read_files(files, file_format(session, options, location), location)


def format_options(given: dict[str, str]) -> dict[str, str]:
    """A statement's ``FILE_FORMAT = (...)``, or ``FILE_FORMAT = f``, which names one."""
    text = given.get("FILE_FORMAT") or "()"
    return literals.nested(text) if text.startswith("(") else {"FORMAT_NAME": text}


def file_format(session: Session, options: dict[str, str], location: Location) -> dict[str, str]:
    """The format's options, by name or as given, else the stage's; CSV unless it says otherwise."""
    options = options if options.keys() - {"PATTERN"} else location.format
    if "FORMAT_NAME" in options:
        return session.need("FILE FORMAT", options["FORMAT_NAME"].strip("'")).properties
    return options


def check_options(options: dict[str, str], known: dict[str, dict[str, str]]) -> str:
    """The kind of files that the options are for. Raises for a kind, an option or a value that is not known."""
    kind = options.get("TYPE", "CSV").upper()
    if kind not in known:
        raise unsupported(f"files of type {kind}", __name__)
    for option, value in options.items():
        values = (COMMON_OPTIONS | known[kind]).get(option)
        if values is None:
            raise unsupported(f"the option {option} of {kind} files", __name__)
        if not re.fullmatch(values, value, re.I | re.S):
            raise unsupported(f"{option} = {value} of {kind} files", __name__)
    return kind


def read_files(files: list[Path], options: dict[str, str], location: Location) -> str:
    listed = "[" + ", ".join(literal(f) for f in files) + "]"
    kind = check_options(options, OPTIONS)
    file_name = f"replace(filename, {literal(str(location.base) + '/')}, '') AS \"METADATA$FILENAME\""
    if kind == "PARQUET":
        text = str(options.get("BINARY_AS_TEXT", "TRUE").upper() == "TRUE").lower()
        rows = f"read_parquet({listed}, union_by_name = true, filename = true, binary_as_string = {text})"
        if not is_true(options, "USE_LOGICAL_TYPE") and (numbers := stored_timestamps(files)):
            rows = f"(SELECT * REPLACE ({numbers}) FROM {rows})"
        return f'SELECT * EXCLUDE (filename), CAST(to_json(r) AS JSON) AS "COLUMN1", {file_name} FROM {rows} AS r'
    if kind == "JSON":
        strip = is_true(options, "STRIP_OUTER_ARRAY")
        how = "array" if strip else "unstructured"
        packed = options.get("COMPRESSION", "AUTO").lower()
        source = f"read_json_objects({listed}, format = '{how}', filename = true, compression = '{packed}')"
        return f'SELECT json AS "COLUMN1", {file_name} FROM {source}'
    if is_true(options, "PARSE_HEADER"):
        raise unsupported("the option PARSE_HEADER in a query over files", __name__)
    width = csv_width(files, options)
    columns = ", ".join(f'"COLUMN{i + 1}"' for i in range(width))
    spec = "{" + ", ".join(f"'COLUMN{i + 1}': 'VARCHAR'" for i in range(width)) + "}"
    return (
        f"SELECT {columns}, {file_name} FROM read_csv({listed}, columns = {spec}, filename = true, header = false, "
        f"auto_detect = false, null_padding = true, {csv_options(options)})"
    )


def stored_timestamps(files: list[Path]) -> str:
    """Timestamps as what Parquet stores, the number of their units, as expressions; without USE_LOGICAL_TYPE they are
    read so."""
    fields = {field.name: field.type for file in files for field in pq.read_schema(file)}
    units = {name: kind.unit for name, kind in fields.items() if pa.types.is_timestamp(kind)}
    columns = ((identifiers.quote(name), unit) for name, unit in units.items())
    return ", ".join(f"epoch_{unit}({column}) AS {column}" for column, unit in columns)


def csv_options(options: dict[str, str]) -> str:
    enclosed = options.get("FIELD_OPTIONALLY_ENCLOSED_BY", "NONE")
    quote = "" if enclosed.upper() == "NONE" else enclosed
    null = options.get("NULL_IF")
    markers = literals.items(null) if null else ["\\N", "NULL"] if null is None else []
    if options.get("EMPTY_FIELD_AS_NULL", "TRUE").upper() != "FALSE":
        markers.append("")
    nulls = "[" + ", ".join(literal(marker) for marker in markers) + "]"
    return (
        f"delim = {literal(options.get('FIELD_DELIMITER', ','))}, quote = {literal(quote)}, "
        f"escape = {literal(quote)}, compression = '{options.get('COMPRESSION', 'AUTO').lower()}', "
        f"skip = {int(options.get('SKIP_HEADER', 0))}, nullstr = {nulls}"
    )


def below_header(options: dict[str, str]) -> tuple[bool, dict[str, str]]:
    """Whether the first line of CSV files has the columns' names, and the options that read what follows."""
    headed = is_true(options, "PARSE_HEADER")
    rest = {key: value for key, value in options.items() if key != "PARSE_HEADER"}
    return headed, {**rest, "SKIP_HEADER": "1"} if headed else rest


def csv_lines(file: Path, options: dict[str, str]) -> Iterator[list[str]]:
    enclosed = options.get("FIELD_OPTIONALLY_ENCLOSED_BY", "NONE")
    quoted = {"quoting": csv.QUOTE_NONE} if enclosed.upper() == "NONE" else {"quotechar": enclosed}
    packed = {"GZIP": True, "NONE": False}.get(options.get("COMPRESSION", "AUTO").upper(), file.suffix == ".gz")
    with (gzip.open if packed else open)(file, "rt", newline="", errors="replace") as stream:
        yield from csv.reader(stream, delimiter=options.get("FIELD_DELIMITER", ","), **quoted)


def csv_width(files: list[Path], options: dict[str, str]) -> int:
    """The most columns that any of the first lines has."""
    return max((len(row) for row in itertools.islice(csv_lines(files[0], options), 100)), default=1)


CALLS = dict.fromkeys(("BUILD_SCOPED_FILE_URL", "BUILD_STAGE_FILE_URL"), file_url)
