"""Prepare a training run for `Registry.log_model`, and check the registered version against the network."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from snowflake.ml.model import model_signature, type_hints
from snowflake.ml.model.code_path import CodePath
from snowflake.ml.model.custom_model import ModelContext

from cxr.account.project import Project
from cxr.data.in_account import stored_pixels
from cxr.data.pixels import cache_directory, fetch_files, pixel_hash
from cxr.earlier_versions import read_evaluation
from cxr.lifecycle.model_card import make_card, to_markdown
from cxr.lifecycle.runs import GATE, SCORES, fetch, read_scores
from cxr.model import preprocessing
from cxr.model.config import ModelConfig
from cxr.model.registered import OUTPUTS, XrayClassifier
from cxr.model.requirements import CONDA_DEPENDENCIES

PREDICT_ROWS, EXPLAIN_ROWS = 32, 8  # rows in one call: Snowflake ends calls that take longer than 180 s


@dataclass(frozen=True)
class Candidate:
    """The arguments of `Registry.log_model` for one run, made by :func:`prepare`."""

    model: XrayClassifier
    version_name: str
    config: ModelConfig
    card: dict
    signatures: dict[str, model_signature.ModelSignature]
    validation_scores: np.ndarray | None  # probabilities on validation images: the baseline for drift

    @property
    def metrics(self) -> dict[str, float]:
        """The card's metrics for the registry: value, `_low` and `_high` of each, without undefined ones."""
        values = {}
        for name, metric in self.card["quality"]["metrics"].items():
            values[f"test_{name}"] = metric["value"]
            if metric.get("interval"):
                values[f"test_{name}_low"], values[f"test_{name}_high"] = metric["interval"]
        return {name: value for name, value in values.items() if value is not None}

    @property
    def comment(self) -> str:
        """The model card in Markdown."""
        return to_markdown(self.card)

    @property
    def platform(self) -> dict:
        """Code, packages, target platforms and options: further keyword arguments of `log_model`."""
        return {
            "code_paths": [CodePath(str(Path(__file__).parents[2]), filter=part) for part in SHIPPED],
            "conda_dependencies": list(CONDA_DEPENDENCIES),
            "target_platforms": ["WAREHOUSE", "SNOWPARK_CONTAINER_SERVICES"],
            "options": options(self.config),
        }


SHIPPED = ("cxr/__init__.py", "cxr/model")


def options(config: ModelConfig) -> dict:
    """`options` of `log_model`."""
    # By default, newer clients store a row of the sample input with the model: a patient's image. Older ones store
    # none, and refuse the option.
    known = type_hints.CustomModelSaveOption.__optional_keys__
    return {
        "relax_version": True,
        **({"capture_sample_input_data": False} if "capture_sample_input_data" in known else {}),
        # Without it, no service of this version can run on a GPU.
        "cuda_version": config.cuda_version or "12.4",
        # By default, the registry makes a method named explain a table function.
        "method_options": {
            "predict": {"max_batch_size": PREDICT_ROWS},
            "explain": {"max_batch_size": EXPLAIN_ROWS, "function_type": "FUNCTION"},
        },
    }


def prepare(project: Project, run_id: str, artifacts: Path) -> Candidate:
    """Everything that `log_model` needs for a run.

    Args:
        artifacts: a folder with the run's `network.pt`, `model.json`, `evaluation.json` and, if there are any, scores.
            The files to ship are written to its subfolder `shipped`.

    Raises:
        ChangedPreprocessing: today's preprocessing differs from that of the training run.
    """
    config = ModelConfig.read(artifacts / "model.json")
    check_preprocessing(project, run_id, config)
    evaluation = read_evaluation(json.loads((artifacts / "evaluation.json").read_text()))
    card = make_card(run_id, config, evaluation, _lineage(project, run_id))
    shipped = artifacts / "shipped"
    shutil.rmtree(shipped, ignore_errors=True)
    shipped.mkdir()
    (shipped / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    config.write(shipped / "model.json")
    files = {"weights": artifacts / "network.pt", "config": shipped / "model.json", "card": shipped / "card.json"}
    if config.gate_is_on:
        files["gate"] = artifacts / GATE
    return Candidate(
        model=XrayClassifier(ModelContext(artifacts={key: str(path) for key, path in files.items()})),
        version_name=version_name(run_id),
        config=config,
        card=card,
        signatures=signatures(config.threshold),
        validation_scores=_validation_scores(artifacts),
    )


def signatures(threshold: float) -> dict[str, model_signature.ModelSignature]:
    """Inputs and outputs of PREDICT and EXPLAIN; `threshold` is the default of PREDICT's parameter."""
    text, number = model_signature.DataType.STRING, model_signature.DataType.DOUBLE
    column = model_signature.FeatureSpec
    answer = [column(name, number if name == "P_POSITIVE" else text) for name in OUTPUTS]
    return {
        "predict": model_signature.ModelSignature(
            inputs=[column("IMAGE", text)],
            outputs=answer,
            params=[model_signature.ParamSpec("threshold", number, default_value=threshold)],
        ),
        "explain": model_signature.ModelSignature(
            inputs=[column("IMAGE", text)], outputs=[*answer, column("HEATMAP", text)]
        ),
    }


def version_name(run_id: str) -> str:
    """The version name of a run. It depends on the run id alone, so that a run is never logged twice."""
    return f"V_{run_id.upper()}"


def run_of(version_name: str) -> str:
    """The id of the training run that a version was logged from."""
    return version_name.removeprefix("V_").lower()


def artifacts_of(project: Project, version: str) -> Path:
    """A local folder with the artifacts of the version's training run."""
    run_id = run_of(version)
    return fetch(project, run_id, cache_directory() / "runs" / run_id)


def _lineage(project: Project, run_id: str) -> dict[str, str]:
    return {
        "artifacts": f"{project.artifacts_stage}/runs/{run_id}",
        "catalog": project.catalog,
        "experiment": project.qualified(project.settings.experiment_name),
    }


def _validation_scores(artifacts: Path) -> np.ndarray | None:
    if not (artifacts / SCORES).exists():
        return None
    scores = read_scores(artifacts)
    return scores.loc[scores["SPLIT"] == "validation", "P_POSITIVE"].to_numpy()


# ---------------------------------------------------------------- checks against the trained network


class ChangedPreprocessing(ValueError):
    """The preprocessing differs from that of the training run, so the run's metrics would not hold."""


def check_preprocessing(project: Project, run_id: str, config: ModelConfig) -> None:
    """Compare the preprocessing version, and the pixel hashes of a few held-out images, with those of the run.

    The warehouse may have decoded them for the training, with other versions of the decoders than are here: then their
    pixels, as PIXELS keeps them, may differ from those that are decoded here by one grey level.

    Raises:
        ChangedPreprocessing: one differs; the message says which, and what to do.
    """
    remedy = f"run {run_id} cannot be registered: train again, or check out the code of that run"
    present = preprocessing.PREPROCESSING_VERSION
    if config.preprocessing_version not in (None, present):
        raise ChangedPreprocessing(
            f"the network was trained with preprocessing version {config.preprocessing_version}, but this code has "
            f"version {present}; {remedy}"
        )
    catalog = project.session.table(project.catalog)
    rows = catalog.filter(catalog["IMAGE_ID"].isin(list(config.pixels))).to_pandas() if config.pixels else []
    if not len(rows):
        return
    loaded = {
        image_id: preprocessing.load(path.read_bytes(), config.image_size)
        for image_id, path in zip(rows["IMAGE_ID"], fetch_files(project, rows), strict=True)
    }
    others = {image_id: here for image_id, here in loaded.items() if pixel_hash(here) != config.pixels[image_id]}
    decoded = stored_pixels.read(project, list(others), config.image_size) if others else {}
    for image_id, here in others.items():
        trained_on = decoded.get(image_id)
        if trained_on is not None and pixel_hash(trained_on) == config.pixels[image_id] and is_near(here, trained_on):
            continue
        raise ChangedPreprocessing(
            f"image {image_id[:12]} decodes to other pixels than in training: the preprocessing or the decoders "
            f"(Pillow, pydicom) have changed; {remedy}"
        )


def is_near(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two decoders may have made both from one file: no pixel differs by more than one grey level."""
    return int(np.abs(one.astype(np.int16) - other.astype(np.int16)).max()) <= 1
