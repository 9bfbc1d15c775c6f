"""All settings of the project: names of Snowflake objects and parameters.

Sources of a value, the strongest first: a command-line argument (``--epochs 5``; Snowflake passes arguments to a
notebook this way), an environment variable (``CXR_EPOCHS=5``), a keyword of :func:`load`, the file ``settings.json`` at
the repository's root (`python3 ci deploy` writes your own names there), the profile, the default.
"""

import json
import os
import re
import sys
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

LABELS = ("NORMAL", "PNEUMONIA")
SPLITS = ("train", "validation", "test")

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,254}")
_SECRET = re.compile(rf"{_IDENTIFIER.pattern}(\.{_IDENTIFIER.pattern}){{2}}")
_WEIGHTS = re.compile(r"imagenet|random|[0-9a-f]{12}|@(?!.*\.\.)[A-Za-z0-9_.$]+(/[A-Za-z0-9_.-]+)+")
_RUNTIME = re.compile(r"V\d+(\.\d+)*-(CPU|GPU)-PY3\.\d+")


@dataclass(frozen=True)
class Settings:
    """All settings. Names of objects are checked to be plain identifiers, so they are safe to put into SQL."""

    # Snowflake objects
    database: str = "MEDICAL_IMAGES"
    schema: str = "CHEST_XRAY"
    images_stage: str = "IMAGES"
    landing_stage: str = "LANDING"  # where new images arrive; jobs/ingest_new_images.py takes them
    artifacts_stage: str = "ARTIFACTS"
    code_stage: str = "CODE"
    catalog_table: str = "IMAGE_CATALOG"
    rejected_table: str = "REJECTED_IMAGES"
    pixels_table: str = "PIXELS"
    facts_table: str = "CATALOG_FACTS"
    predictions_table: str = "PREDICTIONS"
    training_log_table: str = "TRAINING_LOG"
    alerts_table: str = "ALERTS"
    promotions_table: str = "PROMOTIONS"
    drift_view: str = "DRIFT"
    experiment_name: str = "PNEUMONIA_TRAINING"
    baseline_table: str = "VALIDATION_BASELINE"
    counts_view: str = "PREDICTION_COUNTS"
    monitoring_view: str = "MONITORING"
    model_name: str = "PNEUMONIA_CLASSIFIER"
    service_name: str = "PNEUMONIA_SERVICE"
    app_name: str = "PNEUMONIA_APP"
    warehouse: str = "COMPUTE_WH"
    # A pool of CPU nodes that Snowflake provides in most regions, so that serving needs no administrator.
    service_pool: str = "SYSTEM_COMPUTE_POOL_CPU"
    service_gpus: int = 0  # GPUs of each instance of the service; if not 0, service_pool must have GPU nodes
    # The job service and the ML Job that train (jobs/train_job.yaml, jobs/train_as_ml_job.py)
    job_name: str = "TRAIN_JOB"
    job_pool: str = "SYSTEM_COMPUTE_POOL_CPU"
    job_gpus: int = 0  # GPUs of the job's container; if not 0, job_pool must have GPU nodes
    job_image: str = ""  # /database/schema/repository/name:tag; empty: cxr:1 in the schema's IMAGE_REPOSITORY
    gpu_pool: str = "CXR_GPU"
    gpu_family: str = "GPU_NV_S"  # AWS; see sql/10_account.sql for other clouds
    app_pool: str = "CXR_APP"
    app_family: str = "CPU_X64_XS"
    # Version, processor and Python of Container Runtime. The pattern is documented; these values were never tried.
    gpu_runtime: str = "V2.10-GPU-PY3.12"
    cpu_runtime: str = "V2.10-CPU-PY3.12"
    egress_rule: str = "CXR_WEIGHTS_RULE"
    egress_integration: str = "CXR_WEIGHTS_ACCESS"
    bundle_name: str = "PNEUMONIA_BUNDLE"
    engineer_role: str = "CXR_ENGINEER"
    viewer_role: str = "CXR_VIEWER"

    # Data
    data: str = ""  # a folder of images, a .zip, a folder in one, or @database.schema.stage/path; empty: phantoms
    data_mount: str = ""  # where the stage of `data` is mounted, if it is; ci evaluate reads images there
    data_csv: str = ""  # a table with the columns file and any of label, patient_id, cause
    # Secret key for the digests of patient ids: the key, a file with it, or the full name of a secret in the account,
    # DATABASE.SCHEMA.SECRET, which `python3 ci deploy` gives to what runs headless.
    patient_key: str = field(default="", repr=False)
    patient_key_file: str = ""
    patient_key_secret: str = ""
    negative_label: str = ""  # the class that means "nothing found"; empty: normal, healthy, negative or no finding
    data_licence: str = ""  # of the images, for the model card
    label_from: str = ""  # "cause": use the cause (bacteria, virus) as the class of positive images
    add_class: str = ""  # new classes to add to the catalog, separated by commas
    include_set_aside: bool = False  # also train on and score lateral views and images FOR PROCESSING
    # Where ChestXRay2017.zip is downloaded from, and the size and hash that identify it (cxr.data.kermany)
    kermany_address: str = (
        "https://data.mendeley.com/public-files/datasets/rscbjbr9sj/files/f12eaf6d-6023-432f-acc9-80c9d7393433/"
        "file_downloaded"
    )
    kermany_bytes: int = 1_235_512_464
    kermany_sha256: str = "13efc055629733dbab07877f8b3c9f81097840dbcdaa326a8542322c2281ce36"
    phantom_patients: int = 200
    phantom_difficulty: float = 0.0  # 0: obvious, 1: nearly invisible
    phantom_findings: int = 1  # different findings, 1 to 4: with 3 of them, the phantoms have four classes
    # Half of the validation patients choose, the other half test how far the answers can be trusted.
    validation_share: float = 0.20
    test_share: float = 0.10
    phantom_validation_share: float = 0.10  # few phantoms are drawn: too few to test triage, enough to choose
    phantom_test_share: float = 0.20  # a test set needs some dozens
    seed: int = 0

    # Training
    profile: str = "default"
    backbone: str = "resnet18"
    weights: str = "imagenet"  # or "random", a run's id (to fine-tune it), or @stage/file with a state dict
    image_size: int = 0  # side in pixels; 0: 128, or 64 for phantoms
    decode_in: str = ""  # "account" (the warehouse, into the table PIXELS) or "client"; empty: what is faster
    epochs: int = 0  # 0: chosen by the number of images (cxr.training.recipe)
    batch_size: int = 32
    learning_rate: float = 3e-3  # for a batch of 32
    workers: int = 0  # training processes on each machine; 0: one for each GPU, or one on a CPU
    nodes: int = 1  # machines that train together (docs/training.md)
    rendezvous: str = ""  # HOST:PORT of the first, where the others find it; empty: its name and 29400
    resume: bool = False  # continue an interrupted run with the same data and settings
    threshold: float = 0.0  # 0: chosen on validation images, by target_sensitivity
    target_sensitivity: float = 0.0  # 0: by Youden's index, at most 0.5
    triage_npv: float = 0.95  # negative predictive value of what is ruled out, at least
    triage_ppv: float = 0.95  # positive predictive value of what is ruled in, at least

    # Registration and deployment
    least_auroc: float = 0.75  # on test patients; a version below it is not promoted to production
    run: str = ""  # a training run's id; empty: the latest
    at_most: int = 0  # number of images that notebook 5 scores by each path; 0: all test images
    keep_service: bool = False  # False: notebook 5 drops the service at its end; True: it suspends the service
    scoring_job_from: int = 2000  # new images, from which a batch job scores them; below it, the warehouse
    scoring_replicas: int = 1  # of the batch job; service_pool needs as many nodes
    service_token_file: str = ""  # a file with the token for REST, such as a mounted secret; empty: CXR_SERVICE_TOKEN

    # Mount path of the images stage, if it is mounted (code_bundle.yml, stage_mounts)
    images_mount: str = "/mnt/images"

    # Folder of the local account; empty: .account in the repository. Unused in Snowflake
    account_dir: str = ""

    def __post_init__(self):
        for name in NAMES:
            if not name.endswith("_runtime") and not _IDENTIFIER.fullmatch(getattr(self, name)):
                raise ValueError(f"{name}={getattr(self, name)!r} is not a plain Snowflake identifier")
        for name in ("gpu_runtime", "cpu_runtime"):
            if not _RUNTIME.fullmatch(getattr(self, name)):
                raise ValueError(f"{name}={getattr(self, name)!r} is not like V2.10-GPU-PY3.12")
        if self.patient_key_secret and not _SECRET.fullmatch(self.patient_key_secret):
            raise ValueError(f"patient_key_secret={self.patient_key_secret!r} is not like DATABASE.SCHEMA.SECRET")
        if self.profile not in PROFILES:
            raise ValueError(f"profile={self.profile!r} is not one of {sorted(PROFILES)}")
        if not _WEIGHTS.fullmatch(self.weights):
            raise ValueError(f"weights={self.weights!r} is not 'imagenet', 'random', a run's id or @stage/path/file")
        if self.label_from not in ("", "cause"):
            raise ValueError(f"label_from={self.label_from!r} is neither empty nor 'cause'")
        if self.decode_in not in ("", "account", "client"):
            raise ValueError(f"decode_in={self.decode_in!r} is neither empty nor 'account' nor 'client'")
        if not 0 < self.validation_share + self.test_share < 1:
            raise ValueError("validation_share + test_share must lie between 0 and 1: training needs patients too")
        if not (0 <= self.threshold < 1 and 0 <= self.target_sensitivity <= 1):
            raise ValueError("threshold and target_sensitivity must lie between 0 and 1")
        if not (0.5 <= self.triage_npv < 1 and 0.5 <= self.triage_ppv < 1):
            raise ValueError("triage_npv and triage_ppv must lie between 0.5 and 1: no finite test shows 1")
        if self.image_size and not 32 <= self.image_size <= 1024:
            raise ValueError(f"image_size={self.image_size} is outside 32 to 1024 pixels")

    def qualified(self, name: str) -> str:
        """The full name of one of the project's objects: `DATABASE.SCHEMA.NAME`."""
        return f"{self.database}.{self.schema}.{name}"

    @property
    def images(self) -> str:
        return f"@{self.qualified(self.images_stage)}"

    @property
    def landing(self) -> str:
        return f"@{self.qualified(self.landing_stage)}"

    @property
    def artifacts(self) -> str:
        return f"@{self.qualified(self.artifacts_stage)}"


_NAMING = ("_stage", "_table", "_view", "_name", "_pool", "_family", "_role", "_rule", "_integration", "_runtime")
# The settings that name something in the account.
NAMES = tuple(
    each.name
    for each in fields(Settings)
    if each.name in ("database", "schema", "warehouse") or each.name.endswith(_NAMING)
)
FILE = Path(__file__).resolve().parents[2] / "settings.json"

PROFILES = {
    # Checks that every part works; its metrics mean nothing.
    "smoke": dict(phantom_patients=36, image_size=64, epochs=1, batch_size=16),
    # Minutes on two cores.
    "default": dict(),
    # For a GPU.
    "full": dict(image_size=224, epochs=30, batch_size=128),
}


def load(argv: list[str] | None = None, environ: dict[str, str] | None = None, **overrides) -> Settings:
    """Settings from the sources that the module's docstring lists.

    Args:
        argv: command-line arguments; by default those of this process.
        environ: environment variables; by default those of this process.
        overrides: settings by name. An empty or zero value is ignored (except for `seed`), so that the parameters cell
            of a notebook can list a setting without changing it.

    Raises:
        ValueError: a value has the wrong type, or a name is not a plain identifier.
        TypeError: an override is not a setting.
    """
    types = {each.name: each.type for each in fields(Settings)}
    unknown = set(overrides) - set(types)
    if unknown:
        raise TypeError(f"no such setting: {', '.join(sorted(unknown))}")
    chosen = {name: value for name, value in overrides.items() if value not in ("", 0, None)}
    if overrides.get("seed") == 0:
        chosen["seed"] = 0
    environ = os.environ if environ is None else environ
    for name in types:
        if environ.get(f"CXR_{name.upper()}"):
            chosen[name] = environ[f"CXR_{name.upper()}"]
    chosen |= {name: value for name, value in _arguments(sys.argv[1:] if argv is None else argv) if name in types}
    written = json.loads(FILE.read_text()) if FILE.exists() else {}
    chosen = {name: value for name, value in written.items() if name in types} | chosen
    typed = {name: _convert(name, value, types[name]) for name, value in chosen.items()}
    profile = typed.get("profile", "default")
    if profile not in PROFILES:
        raise ValueError(f"profile={profile!r} is not one of {sorted(PROFILES)}")
    return replace(Settings(), **(PROFILES[profile] | typed))


def _arguments(argv: list[str]):
    """The `--name value` and `--name=value` pairs. Other arguments, such as a kernel's `-f file`, are ignored."""
    for position, word in enumerate(argv):
        if not word.startswith("--"):
            continue
        name, equals, value = word[2:].partition("=")
        if not equals and position + 1 < len(argv):
            value = argv[position + 1]
        if equals or value:
            yield name.replace("-", "_"), value


def _convert(name: str, value, kind: type):
    if kind is bool and isinstance(value, str):
        if value.lower() not in ("true", "false", "1", "0"):
            raise ValueError(f"{name}={value!r} is neither true nor false")
        return value.lower() in ("true", "1")
    try:
        return kind(value)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name}={value!r} is not {'a number' if kind is float else f'of type {kind.__name__}'}"
        ) from None
