"""EXECUTE INFERENCE JOB SERVICE: a model over staged rows or over files, its answers as Parquet on a stage."""

from __future__ import annotations

import base64
import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from . import catalog, names
from .catalog import Object
from .errors import SnowflakeError, already_exists, compilation_error, unsupported
from .models import folder_of, manifest, need_version
from .names import Name
from .results import Column, Result
from .services import need_pool
from .session import Session
from .staged import Location, locate, read_files
from .statements import Matched, statement

ROWS_AT_A_TIME = 64
JOB = (
    "EXECUTE INFERENCE JOB SERVICE IN COMPUTE POOL <pool> WITH SPECIFICATION <specification:body> FROM <source:lazy> "
    "MODEL = <model> [VERSION = <version>] [FUNCTION = <function:string>] [NAME = <job>] [ASYNC = <async:word>] "
    "[REPLICAS = <replicas:number>]"
)
CONVERSIONS: dict[str, Callable[[bytes], object]] = {
    "raw_bytes": bytes,
    "base64": lambda data: base64.b64encode(data).decode(),
}


@statement(JOB, "executed")
def run_job(session: Session, s: Matched) -> Result:
    """The job has ended when this answers, whatever ASYNC says; waiting for it finds it DONE."""
    need_pool(session, s["pool"])
    specification = yaml.safe_load(s.value("specification"))
    model = session.resolve(s["model"])
    version = need_version(session, model, names.fold(s["version"] or "DEFAULT"))
    job = session.resolve(s["job"] or f"BATCH_INFERENCE_{uuid.uuid4().hex.upper()}")
    if catalog.get(session.con, "SERVICE", job):
        raise already_exists(str(job))
    method = Method(session, version, s.value("function") or "predict")
    output = prepare_output(session, specification["output"])
    properties = {"job": True, "compute_pool": names.fold(s["pool"]), "status": "RUNNING", "ingress": False}
    properties |= {"model": str(model), "version": version.name}
    record(session, job, properties)
    try:
        rows = read_source(session, s["source"].strip())
        write_answers(session, rows, method, specification.get("input") or {}, output.target / job.name)
    except Exception as error:
        record(session, job, {**properties, "status": "FAILED", "message": str(error)})
        raise
    record(session, job, {**properties, "status": "DONE"})
    return Result([Column("status")], rows=[(f"Batch inference job {job} completed successfully.",)])


def record(session: Session, job: Name, properties: dict) -> None:
    with session.change(job):
        catalog.put(session.con, Object("SERVICE", job.database, job.schema, job.name, properties=properties))


class Method:
    """One method of a model version: its input columns and how to call it."""

    def __init__(self, session: Session, version: Object, function: str):
        declared = {m["name"]: m for m in manifest(session, version)["methods"]}
        if names.fold(function) not in declared:
            raise compilation_error(f"Unknown function {function}: the model has {sorted(declared)}", 2140, "42601")
        self.handler = declared[names.fold(function)]["handler"].split(".")[1]
        self.folder = folder_of(session, version)
        meta = yaml.safe_load((self.folder / "model" / "model.yaml").read_text())
        signature = next(v for k, v in meta["signatures"].items() if k.upper() == names.fold(function))
        self.inputs = [feature["name"] for feature in signature["inputs"]]
        self.params = {param["name"]: param.get("default_value") for param in signature.get("params") or []}
        self.workers = session.account.workers

    def __call__(self, columns: dict[str, list]) -> list[dict]:
        table = pa.table(columns)
        return [json.loads(a) for a in self.workers.call("warehouse_worker", self.folder, self.handler, table)]


def read_source(session: Session, source: str) -> pa.Table:
    """The rows of ``(subquery)`` or of the Parquet files at ``@stage/path``."""
    from .execute import run

    if source.startswith("("):
        return run(session, source[1:-1]).to_arrow()
    location = locate(session, source)
    files = [f for f in location.files() if f.suffix == ".parquet"]
    if not files:
        raise SnowflakeError(f"There are no Parquet files at {source}.", 91016, "22000")
    table = session.con.sql(read_files(files, {"TYPE": "PARQUET"}, location)).to_arrow_table()
    return table.drop_columns(["COLUMN1", "METADATA$FILENAME"])


def prepare_output(session: Session, output: dict) -> Location:
    location = locate(session, output["stage_location"])
    present = [f for f in location.files() if "_snowflake_temporary" not in f.parts]
    mode = output.get("mode", "error").lower()
    if mode == "overwrite":
        for file in present:
            file.unlink()
    elif present:
        raise SnowflakeError(f"The output location {output['stage_location']} is not empty (mode: {mode}).", 100128)
    return location


def write_answers(session: Session, rows: pa.Table, method: Method, given: dict, folder: Path) -> None:
    """One Parquet file of the input's columns and the method's outputs, then _SUCCESS."""
    handling = given.get("column_handling") or {}
    params = {**method.params, **(given.get("params") or {})}
    aside = folder.with_name(f".{folder.name}.part")
    aside.mkdir(parents=True)
    try:
        parts = []
        for start in range(0, rows.num_rows, ROWS_AT_A_TIME):
            batch = rows.slice(start, ROWS_AT_A_TIME)
            columns = {c: load_column(session, batch[c].to_pylist(), handling.get(c)) for c in method.inputs}
            columns |= {name: [value] * batch.num_rows for name, value in params.items()}
            answers = pa.Table.from_pylist(method(columns))
            for name in answers.column_names:
                batch = batch.append_column(name, answers[name])
            parts.append(batch)
        table = pa.concat_tables(parts, promote_options="permissive") if parts else rows
        pq.write_table(table, aside / "part_0.parquet")
        (aside / "_SUCCESS").touch()
        aside.rename(folder)
    except BaseException:
        shutil.rmtree(aside)
        raise


def load_column(session: Session, values: list, handling: dict | None) -> list:
    """A column as it is, or with each stage path replaced by the file's contents."""
    if not handling:
        return values
    form, conversion = handling.get("input_format", "full_stage_path"), handling.get("convert_to", "raw_bytes")
    if form.lower() != "full_stage_path" or conversion.lower() not in CONVERSIONS:
        raise unsupported(f"column_handling with {form} and {conversion}", "inference_jobs.py")
    convert = CONVERSIONS[conversion.lower()]
    return [convert(locate(session, path).target.read_bytes()) for path in values]


# ---------------------------------------------------------------- what a job handle asks for


@statement("CALL <job>!SPCS_WAIT_FOR <arguments:list>", "executed")
def wait_for(session: Session, s: Matched) -> Result:
    job = catalog.need(session.con, "SERVICE", session.resolve(s["job"]), label="Service")
    return Result([Column("SPCS_WAIT_FOR")], rows=[(job.properties["status"],)])


@statement("CALL <job>!SPCS_CANCEL_JOB ( )", "emulated")
def cancel(session: Session, s: Matched) -> Result:
    catalog.need(session.con, "SERVICE", session.resolve(s["job"]), label="Service")
    return Result([Column("SPCS_CANCEL_JOB")], rows=[("The job has already ended.",)])
