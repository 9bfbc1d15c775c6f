"""Log a training run as a version of the registered model, and verify that it answers as the network did."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from snowflake.ml.model import ModelVersion, model_signature
from snowflake.ml.model.code_path import CodePath
from snowflake.ml.model.custom_model import ModelContext

from cxr.account.project import Project
from cxr.data.pixels import fetch_files, pixel_hash, preprocessing_hash
from cxr.lifecycle.model_card import make_card, to_markdown
from cxr.lifecycle.runs import read_scores
from cxr.model import preprocessing
from cxr.model.network import PneumoniaNetwork, best_device, predict_logits
from cxr.model.registered import PneumoniaClassifier
from cxr.serving.monitoring import write_baseline
from cxr.serving.scoring import find_version, open_registry, score
from cxr.settings import Settings

TOLERANCE = 1e-6  # of a probability, on one device
SHIPPED = ("cxr/__init__.py", "cxr/model")
# From Snowflake's channel: what a warehouse and a service can both install. torch is named pytorch there.
CONDA_DEPENDENCIES = ["pytorch", "torchvision", "pillow", "pydicom", "httpx"]
OPTIONS = {
    "relax_version": True,
    # By default a row of the sample input, here a patient's image, would be stored with the model.
    "capture_sample_input_data": False,
    # Without it no service of this version could ever run on a GPU.
    "cuda_version": "12.4",
    # The registry makes every method called explain a table function unless told otherwise.
    "method_options": {"explain": {"function_type": "FUNCTION"}},
}


def signatures(threshold: float) -> dict[str, model_signature.ModelSignature]:
    """The model's public interface; `threshold` is the default of PREDICT's parameter."""
    text, number = model_signature.DataType.STRING, model_signature.DataType.DOUBLE
    column = model_signature.FeatureSpec
    answer = [column("P_PNEUMONIA", number), column("LABEL", text), column("STATUS", text)]
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


def log_version(project: Project, run_id: str, artifacts: Path) -> ModelVersion:
    """The version of this run, logged if it is not there yet, with its card and metrics.

    Args:
        artifacts: a folder with the run's `network.pt`, `model.json`, `evaluation.json` and, if it left them, scores.

    Raises:
        ChangedPreprocessing: images are not prepared as they were when the network was trained.
    """
    registry, name = open_registry(project), version_name(run_id)
    if existing := find_version(registry, project.settings.model_name, name):
        return existing
    config = json.loads((artifacts / "model.json").read_text())
    check_preprocessing(project, run_id, config)
    card = describe(project.settings, run_id, artifacts)
    with tempfile.TemporaryDirectory(prefix="cxr-card-") as scratch:
        (Path(scratch) / "card.json").write_text(json.dumps(card, indent=2) + "\n")
        files = {"weights": artifacts / "network.pt", "config": artifacts / "model.json"}
        files["card"] = Path(scratch) / "card.json"
        version = registry.log_model(
            PneumoniaClassifier(ModelContext(artifacts={key: str(path) for key, path in files.items()})),
            model_name=project.settings.model_name,
            version_name=name,
            signatures=signatures(config["threshold"]),
            conda_dependencies=CONDA_DEPENDENCIES,
            code_paths=[CodePath(str(Path(__file__).parents[2]), filter=part) for part in SHIPPED],
            target_platforms=["WAREHOUSE", "SNOWPARK_CONTAINER_SERVICES"],
            metrics=metrics_of(card),
            comment=to_markdown(card),
            options=OPTIONS,
        )
    if (artifacts / "scores.csv").exists():
        scores = read_scores(artifacts)
        validation = scores.loc[scores["SPLIT"] == "validation", "P_PNEUMONIA"]
        write_baseline(project, name, validation.to_numpy())
    return version


class ChangedPreprocessing(ValueError):
    """Images are not prepared as they were when the network was trained; its figures would not hold."""


def check_preprocessing(project: Project, run_id: str, config: dict) -> None:
    """Compare code and pixels with what the run kept: the hash of images.py and those of a few held-out images.

    Raises:
        ChangedPreprocessing: one differs; says which, and what to do.
    """
    remedy = f"run {run_id} cannot be registered: train again, or check out the code that it was trained with"
    if config.get("preprocessing") != preprocessing_hash():
        raise ChangedPreprocessing(f"lib/cxr/images.py is not what it was when the network was trained; {remedy}")
    kept = config.get("pixels") or {}
    catalog = project.session.table(project.catalog)
    rows = catalog.filter(catalog["IMAGE_ID"].isin(list(kept))).to_pandas() if kept else None
    if rows is None or rows.empty:
        return
    folder = fetch_files(project, rows)
    for image_id, place in zip(rows["IMAGE_ID"], rows["RELATIVE_PATH"], strict=True):
        pixels = preprocessing.load((folder / Path(place).name).read_bytes(), config["image_size"])
        if pixel_hash(pixels) != kept[image_id]:
            raise ChangedPreprocessing(
                f"image {image_id[:12]} decodes to other pixels than in training, though the code is the same: "
                f"the decoders (Pillow, pydicom) have changed; {remedy}"
            )


def describe(settings: Settings, run_id: str, artifacts: Path) -> dict:
    """The version's card, with the places that it comes from."""
    config, evaluation = (json.loads((artifacts / f"{name}.json").read_text()) for name in ("model", "evaluation"))
    lineage = {
        "artifacts": f"{settings.artifacts}/runs/{run_id}",
        "catalog": settings.qualified(settings.catalog_table),
        "experiment": settings.qualified(settings.experiment_name),
    }
    return make_card(run_id, config, evaluation, lineage)


def metrics_of(card: dict) -> dict[str, float]:
    """The card's figures as the registry's metrics, each with the ends of its interval."""
    values = {}
    for name, metric in card["quality"]["metrics"].items():
        values[f"test_{name}"] = metric["value"]
        if metric.get("interval"):
            values[f"test_{name}_low"], values[f"test_{name}_high"] = metric["interval"]
    return {name: value for name, value in values.items() if value is not None}


def ask_network(artifacts: Path, files: list[bytes]) -> np.ndarray:
    """The calibrated probabilities, float64 [N], of the trained network itself for image files."""
    config = json.loads((artifacts / "model.json").read_text())
    network = PneumoniaNetwork(config["backbone"])
    network.load_state_dict(torch.load(artifacts / "network.pt", map_location="cpu", weights_only=True))
    pixels = np.stack([preprocessing.load(data, config["image_size"]) for data in files])
    logits = predict_logits(network.to(best_device()), torch.from_numpy(pixels)).double()
    return torch.sigmoid(logits / config["temperature"]).numpy()


@dataclass(frozen=True)
class Parity:
    """How far the registered model's probabilities are from the network's on the same images."""

    images: int
    largest_difference: float
    labels_equal: bool


def check_parity(version: ModelVersion, files: list[bytes], expected: np.ndarray, threshold: float) -> Parity:
    """Compare the registered model with the network it was made from, asked for all images and for one alone.

    Args:
        files: the images' bytes.
        expected: the network's calibrated probabilities, [N].

    Raises:
        ValueError: a probability differs by more than 1e-6 or a label differs; the version must not be used.
    """
    answer = score(version, files)
    alone = score(version, files[:1])["P_PNEUMONIA"].to_numpy(dtype=float)
    asked = np.concatenate([answer["P_PNEUMONIA"].to_numpy(dtype=float), alone])
    difference = float(np.abs(asked - np.concatenate([expected, expected[:1]])).max())
    labels = np.where(expected >= threshold, "PNEUMONIA", "NORMAL")
    parity = Parity(len(files), difference, bool((answer["LABEL"].to_numpy() == labels).all()))
    if not parity.labels_equal or not difference <= TOLERANCE:
        raise ValueError(f"{version.version_name} does not answer as the network that it was made from: {parity}")
    return parity
