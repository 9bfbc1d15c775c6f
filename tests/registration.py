"""Log a run and start its service as notebooks 04 and 05 do, in one call each."""

from pathlib import Path

import pandas as pd
from snowflake.ml.model import ModelVersion

from cxr.account.project import Project
from cxr.lifecycle import registry
from cxr.serving import monitoring, scoring
from cxr.serving.service import runs_version


def log_version(project: Project, run: str, artifacts: Path) -> ModelVersion:
    """The version of this run, logged if it is not there yet."""
    opened, model = scoring.open_registry(project), project.settings.model_name
    candidate = registry.prepare(project, run, artifacts)
    if existing := scoring.find_version(opened, model, candidate.version_name):
        return existing
    version = opened.log_model(
        candidate.model,
        model_name=model,
        version_name=candidate.version_name,
        signatures=candidate.signatures,
        metrics=candidate.metrics,
        comment=candidate.comment,
        **candidate.platform,
    )
    if candidate.validation_scores is not None:
        negative = candidate.config.labels[0]
        monitoring.write_baseline(project, candidate.version_name, candidate.validation_scores, negative)
    return version


def ensure_service(project: Project, version: ModelVersion) -> str:
    """The service's full name; created where it does not run this version."""
    if not runs_version(project.service, version):
        project.session.sql(f"DROP SERVICE IF EXISTS {project.service}").collect()
        version.create_service(
            service_name=project.service,
            service_compute_pool=project.settings.service_pool,
            ingress_enabled=True,
            min_instances=0,
            max_instances=1,
            block=False,
        ).result()
    else:
        project.session.sql(f"ALTER SERVICE {project.service} RESUME").collect()
    return project.service


def predict_in_sql(project: Project, asked: str, image_ids: list[str]) -> pd.DataFrame:
    """Answers for images of the catalog, in the order given; `asked` is MODEL(...) or a service."""
    ids = ", ".join(f"'{image_id}'" for image_id in image_ids)
    image = f"{project.qualified('IMAGE_BASE64')}(BUILD_SCOPED_FILE_URL({project.images_stage}, RELATIVE_PATH))"
    query = f"SELECT IMAGE_ID, {asked}!PREDICT({image}) AS ANSWER FROM {project.catalog} WHERE IMAGE_ID IN ({ids})"
    return scoring.read_answers(project.session.sql(query)).loc[image_ids].reset_index()
