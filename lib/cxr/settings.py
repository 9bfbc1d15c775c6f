"""Names and knobs of the project, in one place.

Every value can be overridden, in this order of strength: a command-line argument (``--epochs 5``, how Snowflake
passes arguments to a notebook), an environment variable (``CXR_EPOCHS=5``), a keyword of :func:`load`, the file
``settings.json`` at the repository's root (which `python3 ci deploy` writes for your own names), the profile.
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
_RUNTIME = re.compile(r"V\d+(\.\d+)*-(CPU|GPU)-PY3\.\d+")


@dataclass(frozen=True)
class Settings:
    """All names and knobs. Identifiers are checked when the object is made, so they are safe to put into SQL."""

    # Snowflake objects
    database: str = "MEDICAL_IMAGES"
    schema: str = "CHEST_XRAY"
    images_stage: str = "IMAGES"
    artifacts_stage: str = "ARTIFACTS"
    code_stage: str = "CODE"
    catalog_table: str = "IMAGE_CATALOG"
    rejected_table: str = "REJECTED_IMAGES"
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
    # Exists in most regions, so that serving needs no administrator; CPU nodes.
    service_pool: str = "SYSTEM_COMPUTE_POOL_CPU"
    service_gpus: int = 0  # of each instance of the service; then service_pool is a pool of GPU nodes
    gpu_pool: str = "CXR_GPU"
    gpu_family: str = "GPU_NV_S"  # AWS; see sql/10_account.sql for other clouds
    app_pool: str = "CXR_APP"
    app_family: str = "CPU_X64_XS"
    # Container Runtime's version, processor and Python. Documented as a pattern; these very strings were never tried.
    gpu_runtime: str = "V2.10-GPU-PY3.12"
    cpu_runtime: str = "V2.10-CPU-PY3.12"
    egress_rule: str = "CXR_WEIGHTS_RULE"
    egress_integration: str = "CXR_WEIGHTS_ACCESS"
    bundle_name: str = "PNEUMONIA_BUNDLE"
    engineer_role: str = "CXR_ENGINEER"
    viewer_role: str = "CXR_VIEWER"

    # Data
    data: str = ""  # a folder of images, a .zip, a folder in one, or @database.schema.stage/path; empty: phantoms
    data_mount: str = ""  # where the stage of `data` is mounted, if it is
    data_csv: str = ""  # a table with the columns file and any of label, patient_id, cause
    # A secret, under which patients' ids are stored; or a file that holds it; or the name of the code bundle's secret.
    patient_key: str = field(default="", repr=False)
    patient_key_file: str = ""
    patient_key_secret: str = "cxr_patient_key"
    negative_label: str = ""  # the class that means "nothing found"; empty: normal, healthy, negative or no finding
    data_licence: str = ""  # of the images, as the card shall say it
    label_from: str = ""  # "cause": the cause (bacteria, virus) is the class of what is not negative
    add_class: str = ""  # classes, with commas, that the catalog does not know yet and shall
    include_set_aside: bool = False  # train on and score lateral views and images FOR PROCESSING too
    # Where ChestXRay2017.zip is fetched from, and how it is known to be that file (cxr.data.kermany).
    kermany_address: str = (
        "https://data.mendeley.com/public-files/datasets/rscbjbr9sj/files/f12eaf6d-6023-432f-acc9-80c9d7393433/"
        "file_downloaded"
    )
    kermany_bytes: int = 1_235_512_464
    kermany_sha256: str = "13efc055629733dbab07877f8b3c9f81097840dbcdaa326a8542322c2281ce36"
    phantom_patients: int = 120
    phantom_difficulty: float = 0.1  # 0: obvious, 1: near invisible
    validation_share: float = 0.10
    test_share: float = 0.10
    seed: int = 0

    # Training
    profile: str = "default"
    backbone: str = "resnet18"
    weights: str = "imagenet"  # or "random"
    image_size: int = 128  # pixels a side
    epochs: int = 0  # 0: as many as the number of images asks for
    batch_size: int = 32
    learning_rate: float = 3e-3  # for a batch of 32
    workers: int = 0  # processes that train together; 0: one a GPU, one on a CPU
    resume: bool = False  # go on where a run with the same data and settings was broken off
    threshold: float = 0.0  # the operating point; 0: chosen on validation, by target_sensitivity
    target_sensitivity: float = 0.0  # 0: by Youden's index

    # Registration and deployment
    least_auroc: float = 0.75  # on test patients; a version below it does not go into production
    run: str = ""  # a training run's id; empty: the latest
    at_most: int = 0  # images scored by each path in notebook 5; 0: all test images
    keep_service: bool = False  # False: notebook 5 drops the service that it made
    service_token_file: str = ""  # holds the token for REST, as a mounted secret does; else CXR_SERVICE_TOKEN is it

    # Where the images stage is mounted, if it is (code_bundle.yml, stage_mounts)
    images_mount: str = "/mnt/images"

    # Where the local account keeps its files; unused in Snowflake
    account_dir: str = ""

    def __post_init__(self):
        for name in NAMES:
            if not name.endswith("_runtime") and not _IDENTIFIER.fullmatch(getattr(self, name)):
                raise ValueError(f"{name}={getattr(self, name)!r} is not a plain Snowflake identifier")
        for name in ("gpu_runtime", "cpu_runtime"):
            if not _RUNTIME.fullmatch(getattr(self, name)):
                raise ValueError(f"{name}={getattr(self, name)!r} is not like V2.10-GPU-PY3.12")
        if self.profile not in PROFILES:
            raise ValueError(f"profile={self.profile!r} is not one of {sorted(PROFILES)}")
        if self.weights not in ("imagenet", "random"):
            raise ValueError(f"weights={self.weights!r} is neither 'imagenet' nor 'random'")
        if self.label_from not in ("", "cause"):
            raise ValueError(f"label_from={self.label_from!r} is neither empty nor 'cause'")
        if not 0 < self.validation_share + self.test_share < 1:
            raise ValueError("validation_share + test_share must lie between 0 and 1: train needs patients too")
        if not (0 <= self.threshold < 1 and 0 <= self.target_sensitivity <= 1):
            raise ValueError("threshold and target_sensitivity lie between 0 and 1")
        if not 32 <= self.image_size <= 1024:
            raise ValueError(f"image_size={self.image_size} is outside 32 to 1024 pixels")

    def qualified(self, name: str) -> str:
        """`DATABASE.SCHEMA.NAME` of one of this project's objects, given its name."""
        return f"{self.database}.{self.schema}.{name}"

    @property
    def images(self) -> str:
        return f"@{self.qualified(self.images_stage)}"

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
    # Proves that every part works; its quality figures mean nothing.
    "smoke": dict(phantom_patients=36, image_size=64, epochs=1, batch_size=16),
    # Minutes on two cores.
    "default": dict(),
    # For a GPU.
    "full": dict(image_size=224, epochs=30, batch_size=128),
}


def load(argv: list[str] | None = None, environ: dict[str, str] | None = None, **overrides) -> Settings:
    """Settings from the profile, `overrides`, `CXR_*` variables and arguments, the later over the earlier.

    An override that is empty or zero leaves the profile's value alone, so that a notebook's parameters cell can
    name a knob without choosing it.

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
    """`--name value` and `--name=value` pairs; whatever else stands there (a kernel's own `-f file`) is not ours."""
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
