"""Log a training run as a version of the registered model, and verify that it answers as the network did."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from snowflake.ml.model import ModelVersion, model_signature
from snowflake.ml.model.code_path import CodePath
from snowflake.ml.model.custom_model import ModelContext
from snowflake.snowpark import Session

from cxr.scoring_model import PneumoniaClassifier
from cxr.serving import find_version, open_registry, score
from cxr.settings import Settings

SHIPPED = ("__init__.py", "images.py", "network.py", "saliency.py", "scoring_model.py")
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


def log_version(session: Session, settings: Settings, run_id: str, artifacts: Path) -> ModelVersion:
    """The version of this run, logged if it is not there yet.

    Args:
        artifacts: a folder with the run's `network.pt`, `model.json` and `evaluation.json`.
    """
    registry, name = open_registry(session, settings), version_name(run_id)
    if existing := find_version(registry, settings.model_name, name):
        return existing
    config = json.loads((artifacts / "model.json").read_text())
    evaluation = json.loads((artifacts / "evaluation.json").read_text())
    context = ModelContext(
        artifacts={"weights": str(artifacts / "network.pt"), "config": str(artifacts / "model.json")}
    )
    return registry.log_model(
        PneumoniaClassifier(context),
        model_name=settings.model_name,
        version_name=name,
        signatures=signatures(config["threshold"]),
        conda_dependencies=CONDA_DEPENDENCIES,
        code_paths=[CodePath(str(Path(__file__).parents[1]), filter=f"cxr/{file}") for file in SHIPPED],
        target_platforms=["WAREHOUSE", "SNOWPARK_CONTAINER_SERVICES"],
        metrics={f"test_{key}": metric["value"] for key, metric in evaluation["test"]["metrics"].items()},
        comment=describe(config, evaluation),
        options=OPTIONS,
    )


def describe(config: dict, evaluation: dict) -> str:
    """The version's comment: what it is for, how it was made, how good it is."""
    test = evaluation["test"]

    def figure(name):
        metric = test["metrics"][name]
        low, high = metric["interval"]
        return f"{name} {metric['value']:.3f} (95% {low:.3f} to {high:.3f})"

    return (
        "Pneumonia in frontal chest X-rays; research and teaching only, not a medical device. "
        f"{config['backbone']} at {config['image_size']} px, from {config['weights']} weights, "
        f"trained on {config['data']}. "
        f"Test: {test['images']} images of {test['patients']} patients held out: "
        f"{', '.join(figure(name) for name in ('auroc', 'sensitivity', 'specificity'))} "
        f"at threshold {config['threshold']:.3f}."
    )


@dataclass(frozen=True)
class Parity:
    """How far the registered model's probabilities are from the network's on the same images."""

    images: int
    largest_difference: float
    labels_equal: bool


def check_parity(version: ModelVersion, files: list[bytes], expected: np.ndarray, threshold: float) -> Parity:
    """Compare the registered model with the network it was made from.

    Args:
        files: the images' bytes.
        expected: the network's calibrated probabilities, [N].

    Raises:
        ValueError: a probability differs by more than 1e-5 or a label differs; the version must not be used.
    """
    answer = score(version, files)
    difference = float(np.abs(answer["P_PNEUMONIA"].to_numpy(dtype=float) - expected).max())
    labels = np.where(expected >= threshold, "PNEUMONIA", "NORMAL")
    parity = Parity(len(files), difference, bool((answer["LABEL"].to_numpy() == labels).all()))
    if not parity.labels_equal or not difference <= 1e-5:
        raise ValueError(f"{version.version_name} does not answer as the network that it was made from: {parity}")
    return parity
