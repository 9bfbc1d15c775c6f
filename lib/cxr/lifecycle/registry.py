"""A training run as a version of the registered model: what is logged, and the proof that it answers as the network."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from snowflake.ml.model import ModelVersion, model_signature
from snowflake.ml.model.code_path import CodePath
from snowflake.ml.model.custom_model import ModelContext

from cxr.account.project import Project
from cxr.data.pixels import fetch_files, pixel_hash
from cxr.earlier_versions import read_evaluation
from cxr.lifecycle.model_card import make_card, to_markdown
from cxr.lifecycle.runs import SCORES, read_scores
from cxr.model import preprocessing
from cxr.model.config import ModelConfig
from cxr.model.network import load_network, predict_logits
from cxr.model.probabilities import choose_classes, p_positive, to_names
from cxr.model.registered import XrayClassifier
from cxr.serving.scoring import score

TOLERANCE = 1e-6  # of a probability, on one device
# From Snowflake's channel, which a warehouse and a service can both install from; torch is named pytorch there. Ranges,
# because without a specifier the client pins the versions of this machine, which the channel may not have.
CONDA_DEPENDENCIES = (
    "pytorch>=2.4,<3", "torchvision>=0.19,<1", "numpy>=1.26,<3", "pillow>=10", "pydicom>=3,<4"
)  # fmt: skip
PREDICT_ROWS, EXPLAIN_ROWS = 32, 8  # of one call: the platform ends calls that take longer than 180 s


@dataclass(frozen=True)
class Candidate:
    """What `Registry.log_model` is given for a run; :func:`prepare` makes it."""

    model: XrayClassifier
    version_name: str
    config: ModelConfig
    card: dict
    signatures: dict[str, model_signature.ModelSignature]
    validation_scores: np.ndarray | None  # probabilities on validation images; drift is measured from them

    @property
    def metrics(self) -> dict[str, float]:
        """The card's figures as the registry's metrics, each with the ends of its interval."""
        values = {}
        for name, metric in self.card["quality"]["metrics"].items():
            values[f"test_{name}"] = metric["value"]
            if metric.get("interval"):
                values[f"test_{name}_low"], values[f"test_{name}_high"] = metric["interval"]
        return {name: value for name, value in values.items() if value is not None}

    @property
    def comment(self) -> str:
        """The card for people, in Markdown."""
        return to_markdown(self.card)

    @property
    def platform(self) -> dict:
        """Where and how the version runs: code, packages, platforms and the registry's options."""
        return {
            "code_paths": [CodePath(str(Path(__file__).parents[2]), filter=part) for part in SHIPPED],
            "conda_dependencies": list(CONDA_DEPENDENCIES),
            "target_platforms": ["WAREHOUSE", "SNOWPARK_CONTAINER_SERVICES"],
            "options": options(self.config),
        }


SHIPPED = ("cxr/__init__.py", "cxr/model")


def options(config: ModelConfig) -> dict:
    return {
        "relax_version": True,
        # By default a row of the sample input, here a patient's image, would be stored with the model.
        "capture_sample_input_data": False,
        # Without it no service of this version could ever run on a GPU.
        "cuda_version": config.cuda_version or "12.4",
        # The registry makes every method called explain a table function unless told otherwise.
        "method_options": {
            "predict": {"max_batch_size": PREDICT_ROWS},
            "explain": {"max_batch_size": EXPLAIN_ROWS, "function_type": "FUNCTION"},
        },
    }


def prepare(project: Project, run_id: str, artifacts: Path) -> Candidate:
    """Everything that `log_model` needs of a run.

    Args:
        artifacts: a folder with the run's `network.pt`, `model.json`, `evaluation.json` and, if it left them, scores;
            the card is written beside them.

    Raises:
        ChangedPreprocessing: images are not prepared as they were when the network was trained.
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
    return Candidate(
        model=XrayClassifier(ModelContext(artifacts={key: str(path) for key, path in files.items()})),
        version_name=version_name(run_id),
        config=config,
        card=card,
        signatures=signatures(config.threshold),
        validation_scores=_validation_scores(artifacts),
    )


def signatures(threshold: float) -> dict[str, model_signature.ModelSignature]:
    """The model's public interface; `threshold` is the default of PREDICT's parameter."""
    text, number = model_signature.DataType.STRING, model_signature.DataType.DOUBLE
    column = model_signature.FeatureSpec
    answer = [column("P_POSITIVE", number), *(column(name, text) for name in ("LABEL", "STATUS", "PROBABILITIES"))]
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
    """The version of a run; the same run has the same name, so logging it twice is noticed."""
    return f"V_{run_id.upper()}"


def run_of(version_name: str) -> str:
    """The training run that a version was logged from."""
    return version_name.removeprefix("V_").lower()


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


# ---------------------------------------------------------------- is it the network that was trained?


class ChangedPreprocessing(ValueError):
    """Images are not prepared as they were when the network was trained; its figures would not hold."""


def check_preprocessing(project: Project, run_id: str, config: ModelConfig) -> None:
    """Compare the preprocessing's version, and the pixels of a few held-out images, with what the run kept.

    Raises:
        ChangedPreprocessing: one differs; says which, and what to do.
    """
    remedy = f"run {run_id} cannot be registered: train again, or check out the code that it was trained with"
    present = preprocessing.PREPROCESSING_VERSION
    if config.preprocessing_version not in (None, present):
        raise ChangedPreprocessing(
            f"the network was trained on images of preprocessing version {config.preprocessing_version}, and this "
            f"code is version {present}; {remedy}"
        )
    catalog = project.session.table(project.catalog)
    rows = catalog.filter(catalog["IMAGE_ID"].isin(list(config.pixels))).to_pandas() if config.pixels else []
    if not len(rows):
        return
    for image_id, path in zip(rows["IMAGE_ID"], fetch_files(project, rows), strict=True):
        pixels = preprocessing.load(path.read_bytes(), config.image_size)
        if pixel_hash(pixels) != config.pixels[image_id]:
            raise ChangedPreprocessing(
                f"image {image_id[:12]} decodes to other pixels than in training: the preprocessing or the decoders "
                f"(Pillow, pydicom) have changed; {remedy}"
            )


def ask_network(artifacts: Path, files: list[bytes]) -> np.ndarray:
    """The calibrated probabilities, float64 [N, classes], of the trained network itself for image files."""
    config = ModelConfig.read(artifacts / "model.json")
    network = load_network(config.backbone, config.classes, artifacts / "network.pt")
    pixels = np.stack([preprocessing.load(data, config.image_size) for data in files])
    return config.calibration.probabilities(predict_logits(network, torch.from_numpy(pixels)).numpy())


@dataclass(frozen=True)
class Parity:
    """How far the registered model's probabilities are from the network's on the same images."""

    images: int
    largest_difference: float
    labels_equal: bool


def check_parity(version: ModelVersion, files: list[bytes], expected: np.ndarray, config: ModelConfig) -> Parity:
    """Compare the registered model with the network it was made from, asked for all images and for one alone.

    Args:
        files: the images' bytes.
        expected: the network's calibrated probabilities, [N, classes].

    Raises:
        ValueError: a probability differs by more than 1e-6 or a label differs; the version must not be used.
    """
    answer = score(version, files)
    alone = score(version, files[:1])["P_POSITIVE"].to_numpy(dtype=float)
    asked = np.concatenate([answer["P_POSITIVE"].to_numpy(dtype=float), alone])
    positive = p_positive(expected)
    difference = float(np.abs(asked - np.concatenate([positive, positive[:1]])).max())
    labels = to_names(choose_classes(expected, config.threshold), config.labels)
    parity = Parity(len(files), difference, bool((answer["LABEL"].to_numpy() == labels).all()))
    if not parity.labels_equal or not difference <= TOLERANCE:
        raise ValueError(f"{version.version_name} does not answer as the network that it was made from: {parity}")
    return parity
