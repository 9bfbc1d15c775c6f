"""Ask the registered model on a warehouse, through its service, over REST or in a batch job; and keep the answers.

Holds no torch, so that the app can import it.
"""

import base64
import hashlib
import json
import os
import tempfile
import time
import uuid
from pathlib import Path, PurePosixPath

import pandas as pd
from snowflake.ml.model import ModelVersion
from snowflake.ml.model.batch_inference import FileEncoding, InputFormat, InputSpec, OutputSpec, SaveMode
from snowflake.ml.registry import Registry
from snowflake.ml.utils.stage_file import list_stage_files
from snowflake.snowpark import Session

from cxr.account.project import Project
from cxr.account.session import SERVICE_TOKEN
from cxr.account.tables import merge
from cxr.serving.rest_client import ANSWER, ServiceClient

ROWS_PER_CALL = 64


def open_registry(project: Project) -> Registry:
    return Registry(project.session, database_name=project.settings.database, schema_name=project.settings.schema)


def find_version(registry: Registry, model_name: str, version_name: str | None = None) -> ModelVersion | None:
    """A version of the model, the default one without a name; None where there is none."""
    models = registry.show_models()
    if models.empty or model_name.upper() not in set(models["name"]):
        return None
    model = registry.get_model(model_name)
    if version_name is None:
        return model.default
    return model.version(version_name) if version_name in set(model.show_versions()["name"]) else None


def encode(files: list[bytes]) -> pd.DataFrame:
    """The model's input: one column IMAGE of base64 text."""
    return pd.DataFrame({"IMAGE": [base64.b64encode(data).decode() for data in files]})


# ---------------------------------------------------------------- the service


def ensure_service(project: Project, version: ModelVersion) -> str:
    """The service's full name; it is created where this version has none of that name. Waits until it runs.

    A service of that name that runs another version is dropped first. On a pool of GPU nodes, set `service_gpus`.
    """
    name = project.service
    services = version.list_services()
    if services.empty or name not in set(services["name"]):
        project.session.sql(f"DROP SERVICE IF EXISTS {name}").collect()
        deployment = version.create_service(
            service_name=name,
            service_compute_pool=project.settings.service_pool,
            gpu_requests=project.settings.service_gpus or None,
            ingress_enabled=True,
            min_instances=1,
            max_instances=1,
            block=False,  # the client's own waiting ends ten seconds after the service is there
        )
        deployment.result()
    else:
        project.session.sql(f"ALTER SERVICE {name} RESUME").collect()
    return name


def service_state(session: Session, service: str, lines: int = 20) -> tuple[pd.DataFrame, str]:
    """The service's instances with their status, and the last lines that its first container logged."""
    rows = session.sql(f"SHOW SERVICE CONTAINERS IN SERVICE {service}").to_pandas()
    rows.columns = [name.strip('"') for name in rows.columns]
    first = rows.iloc[0]
    place = f"'{service}', '{first['instance_id']}', '{first['container_name']}'"
    log = session.sql(f"SELECT SYSTEM$GET_SERVICE_LOGS({place}, {lines})").collect()[0][0]
    return rows[["service_name", "instance_id", "container_name", "status", "message"]], log


# ---------------------------------------------------------------- four ways to ask


def score(
    version: ModelVersion, files: list[bytes], service: str | None = None, rows_per_call: int = ROWS_PER_CALL
) -> pd.DataFrame:
    """P_PNEUMONIA, LABEL and STATUS of each image, on a warehouse or through a service, in the order given."""
    parts = [files[start : start + rows_per_call] for start in range(0, len(files), rows_per_call)]
    answers = [version.run(encode(part), function_name="predict", service_name=service) for part in parts]
    return pd.concat(answers, ignore_index=True)[ANSWER]


def score_in_sql(
    project: Project, version: ModelVersion, image_ids: list[str], service: str | None = None
) -> pd.DataFrame:
    """The same for images of the catalog, in one statement: no image leaves the account."""
    text = f"{project.qualified('IMAGE_BASE64')}(BUILD_SCOPED_FILE_URL({project.images_stage}, C.RELATIVE_PATH))"
    rows = project.session.sql(
        f"""SELECT C.IMAGE_ID, {service or as_sql(version)}!PREDICT({text}) AS ANSWER
        FROM {project.catalog} C
        WHERE C.IMAGE_ID IN (SELECT F.VALUE::STRING FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))) F)""",
        params=[json.dumps(image_ids)],
    ).collect()
    answers = {row["IMAGE_ID"]: json.loads(row["ANSWER"]) for row in rows}
    return pd.DataFrame([answers[image_id] for image_id in image_ids], columns=ANSWER)


def as_sql(version: ModelVersion) -> str:
    return f"MODEL({version.fully_qualified_model_name}, {version.version_name})"


def score_in_batch(project: Project, version: ModelVersion, image_ids: list[str], folder: str) -> pd.DataFrame:
    """The same by a batch job over the stage's files, which needs no service.

    Args:
        folder: of the images stage; a file is named by its image's id.

    Raises:
        RuntimeError: the job failed; carries its last lines.
    """
    target = f"{project.artifacts_stage}/batch/{uuid.uuid4().hex}"
    pattern = f".*({'|'.join(image_ids)})[.].*"
    handling = {"IMAGE": {"input_format": InputFormat.FULL_STAGE_PATH, "convert_to": FileEncoding.BASE64}}
    job = version.run_batch(
        list_stage_files(project.session, f"{project.images_stage}/{folder}", pattern=pattern, column_name="IMAGE"),
        compute_pool=project.settings.service_pool,
        function_name="predict",
        input_spec=InputSpec(column_handling=handling),
        output_spec=OutputSpec(stage_location=f"{target}/", mode=SaveMode.ERROR),
    )
    job.wait()
    if job.status != "DONE":
        raise RuntimeError(f"the batch job {job.id} ended as {job.status}: {job.get_logs()[-2000:]}")
    with tempfile.TemporaryDirectory(prefix="cxr-batch-") as scratch:
        # The marker _SUCCESS lies beside the Parquet files.
        project.session.file.get(f"{target}/{job.id.rpartition('.')[2]}/", scratch, pattern=".*[.]parquet")
        answers = pd.concat([pd.read_parquet(path) for path in Path(scratch).rglob("*.parquet")])
    project.session.sql(f"REMOVE {target}/").collect()
    answers.index = [PurePosixPath(place).stem for place in answers["IMAGE"]]
    return answers.loc[image_ids, ANSWER].reset_index(drop=True)


def connect_client(session: Session, service: str, token_file: str = "") -> ServiceClient:
    """A REST client of a running service.

    Args:
        token_file: holds a programmatic access token, as a mounted secret does; without it, `CXR_SERVICE_TOKEN` is it.

    Raises:
        LookupError: there is no public endpoint, or no token; says what to do.
        OSError: the file cannot be read.
    """
    endpoints = session.sql(f"SHOW ENDPOINTS IN SERVICE {service}").collect()
    addresses = [row["ingress_url"] for row in endpoints if row["ingress_url"]]
    if not addresses:
        raise LookupError(f"{service} has no public endpoint: create it with ingress_enabled=True")
    token = Path(token_file).read_text().strip() if token_file else os.environ.get(SERVICE_TOKEN)
    if not token:
        raise LookupError(
            f"no token: put a programmatic access token into the environment variable {SERVICE_TOKEN}, "
            "or name the file that holds it (setting service_token_file)"
        )
    return ServiceClient(addresses[0], token)


def explain(session: Session, version: ModelVersion, data: bytes, service: str | None = None) -> dict:
    """P_PNEUMONIA, LABEL, STATUS and HEATMAP of one image, in one statement.

    Three times as fast as `ModelVersion.run`, which uploads a table and asks the model twice.
    """
    asked = [base64.b64encode(data).decode()]
    answer = session.sql(f"SELECT {service or as_sql(version)}!EXPLAIN(?)", params=asked).collect()
    return json.loads(answer[0][0])


# ---------------------------------------------------------------- keeping and measuring


def write_predictions(
    project: Project,
    image_ids: list[str],
    answers: pd.DataFrame,
    version: str,
    path: str,
    request: str = "",
) -> None:
    """Keep the answers in the predictions table. Written again, after a failure or by a second run, they stand once.

    Args:
        version: the model version's name.
        path: how the model was asked: WAREHOUSE, SERVICE, REST or BATCH.
        request: what tells two scorings of one image apart where both are to be kept, such as a viewer's question.
    """
    keys = ["\n".join((image_id, project.settings.model_name, version, path, request)) for image_id in image_ids]
    rows = answers[ANSWER].assign(
        SCORING_ID=[hashlib.sha256(key.encode()).hexdigest() for key in keys],
        IMAGE_ID=image_ids,
        MODEL_NAME=project.settings.model_name,
        MODEL_VERSION=version,
        PATH_TAKEN=path,
        SCORED_AT=pd.Timestamp.now("UTC").tz_localize(None),
    )
    rows = rows.drop_duplicates("SCORING_ID")
    merge(project.session, project.predictions, rows, keys=["SCORING_ID"], update=False)


def timed(function, *arguments) -> tuple[pd.DataFrame, float]:
    """What the call gives, and the seconds it took."""
    start = time.perf_counter()
    answer = function(*arguments)
    return answer, time.perf_counter() - start
