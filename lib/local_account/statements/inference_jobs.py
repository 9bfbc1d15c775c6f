"""EXECUTE INFERENCE JOB SERVICE: a model over staged rows or over files, its answers as Parquet on a stage."""

import base64
import json
import shutil
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from local_account.account.catalog import Object
from local_account.account.session import Session
from local_account.engine.results import Result, slices, status
from local_account.sql.execute import run
from local_account.sql.stage_files import Location, locate, read_files
from local_account.sql.statement_shapes import Matched, Statement
from local_account.statements.models import Version, need_version
from local_account.text import identifiers
from local_account.text.errors import SnowflakeError, already_exists, compilation_error, unsupported
from local_account.text.identifiers import Name
from local_account.workers.pool import BATCH_BYTES

ROWS_AT_A_TIME = 64
AS_STORED = {"TYPE": "PARQUET", "BINARY_AS_TEXT": "FALSE", "USE_LOGICAL_TYPE": "TRUE"}
JOB = (
    "EXECUTE INFERENCE JOB SERVICE IN COMPUTE POOL <pool> WITH SPECIFICATION <specification:body> FROM <source:lazy> "
    "MODEL = <model> [VERSION = <version>] [FUNCTION = <function:string>] [NAME = <job>] [ASYNC = <async:word>] "
    "[REPLICAS = <replicas:number>]"
)
KEYS = {
    "output": "stage_location mode", "input": "params column_handling", "inference": "num_workers max_batch_rows",
    "resources": "cpu_requests memory_requests gpu_requests", "image_build": "image_repo force_rebuild",
}  # fmt: skip
CONVERSIONS = {"raw_bytes": bytes, "base64": lambda data: base64.b64encode(data).decode()}


def run_job(session: Session, s: Matched) -> Result:
    """The job has ended when this returns, also with ASYNC; waiting for it finds it DONE."""
    session.need("COMPUTE POOL", s["pool"])
    specification = read_specification(s.value("specification"))
    version = need_version(session, session.resolve(s["model"]), s["version"] or "DEFAULT")
    method, given = s.value("function") or "predict", specification.get("input") or {}
    version.method(method)
    known = [param["name"] for param in version.signature(method).get("params") or []]
    for name in (given.get("params") or {}).keys() - set(known):
        raise compilation_error(f"There is no parameter {name}; the method takes {known}.", 393906)
    job = session.resolve(s["job"] or f"BATCH_INFERENCE_{uuid.uuid4().hex.upper()}")
    if session.get("SERVICE", job):
        raise already_exists(job)
    output = prepare_output(session, specification["output"])
    properties = {"job": True, "compute_pool": identifiers.fold(s["pool"]), "status": "RUNNING", "ingress": False,
                  "model": str(version.model.qualified), "version": version.name, "replicas": int(s["replicas"] or 1),
                  "specification": s.value("specification")}  # fmt: skip
    if (s["async"] or "TRUE").upper() not in ("TRUE", "FALSE"):
        raise compilation_error(f"invalid value '{s['async']}' for property 'ASYNC'", 1008)
    record(session, job, properties)
    try:
        rows = read_source(session, s["source"].strip())
        batches = slices(rows, ROWS_AT_A_TIME, BATCH_BYTES)
        parts = [answer(session, version, method, given, batch) for batch in batches]
        write(pa.concat_tables(parts, promote_options="permissive") if parts else rows, output.target / job.name)
    except Exception as error:
        record(session, job, {**properties, "status": "FAILED", "message": str(error)})
        raise
    record(session, job, {**properties, "status": "DONE"})
    return status(f"Batch inference job {job} completed successfully.")


def read_specification(text: str) -> dict:
    """Raises for an invalid specification, and for keys that are not supported."""
    try:
        specification = {"output": None, **yaml.safe_load(text)}
    except (yaml.YAMLError, TypeError) as error:
        raise compilation_error(f"The specification cannot be read: {error}", 395018) from error
    for section, known in {"": " ".join(KEYS), **KEYS}.items():
        for key in (specification.get(section) or {} if section else specification).keys() - set(known.split()):
            raise unsupported(f"{key} in an inference job's specification", __name__)
    output = specification["output"] or {}
    if "stage_location" not in output or output.get("mode", "error").lower() not in ("error", "overwrite"):
        raise compilation_error("The specification needs output.stage_location, and mode error or overwrite.", 395018)
    return specification


def record(session: Session, job: Name, properties: dict) -> None:
    with session.transaction.change(job):
        session.put(Object("SERVICE", *job, owner=session.role, properties=properties))


def read_source(session: Session, source: str) -> pa.Table:
    """The rows of ``(subquery)`` or of the Parquet files at ``@stage/path``."""
    if source.startswith("("):
        return run(session, source[1:-1]).to_arrow()
    location = locate(session, source)
    files = [f for f in location.files() if f.suffix == ".parquet"]
    if not files:
        raise SnowflakeError(f"There are no Parquet files at {source}.", 91016, "22000")
    table = session.con.sql(read_files(files, AS_STORED, location)).to_arrow_table()
    return table.drop_columns(["COLUMN1", "METADATA$FILENAME"])


def prepare_output(session: Session, output: dict) -> Location:
    location = locate(session, output["stage_location"])
    present = [f for f in location.files() if "_snowflake_temporary" not in f.parts]
    mode = output.get("mode", "error").lower()
    if present and mode != "overwrite":
        raise SnowflakeError(f"The output location {output['stage_location']} is not empty (mode: {mode}).", 100128)
    for file in present:
        file.unlink()
    return location


def answer(session: Session, version: Version, method: str, given: dict, rows: pa.Table) -> pa.Table:
    """The rows with the method's outputs beside them."""
    signature, handling = version.signature(method), given.get("column_handling") or {}
    params = {param["name"]: param.get("default_value") for param in signature.get("params") or []}
    columns = {"key": [""] * rows.num_rows}
    for feature in signature["inputs"]:
        name = feature["name"]
        if name not in rows.column_names:
            raise compilation_error(f"The column {name} is missing; the rows have {rows.column_names}.")
        columns[name] = load_column(session, rows[name].to_pylist(), handling.get(name))
    params |= given.get("params") or {}
    columns |= {name: [value] * rows.num_rows for name, value in params.items()}
    answers = pa.Table.from_pylist([json.loads(text) for text in version.call(method, pa.table(columns))])
    for name in answers.column_names:
        rows = rows.append_column(name, answers[name])
    return rows


def load_column(session: Session, values: list, handling: dict | None) -> list:
    """A column as it is, or with each stage path replaced by the file's contents."""
    if not handling:
        return values
    form, conversion = handling.get("input_format", "full_stage_path"), handling.get("convert_to", "raw_bytes")
    if form.lower() != "full_stage_path" or conversion.lower() not in CONVERSIONS:
        raise unsupported(f"column_handling with {form} and {conversion}", __name__)
    convert = CONVERSIONS[conversion.lower()]
    return [convert(locate(session, path).target.read_bytes()) for path in values]


def write(table: pa.Table, folder: Path) -> None:
    """One Parquet file, then _SUCCESS; the folder is there when both are."""
    temporary = folder.with_name(f".{folder.name}.part")
    temporary.mkdir(parents=True)
    try:
        pq.write_table(table, temporary / "part_0.parquet")
        (temporary / "_SUCCESS").touch()
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary)
        raise


STATEMENTS = [
    Statement(JOB, run_job),
]
