"""The model card of a registered version: intended use, data, quality, limits, lineage."""

from cxr.model.config import ModelConfig

METRICS = ("auroc", "auprc", "sensitivity", "specificity", "ppv", "npv", "accuracy", "ece")
INTENDED = (
    "Research and teaching: a probability of pneumonia for one frontal chest X-ray of a child. Not a medical device; "
    "not for diagnosis, triage or treatment."
)
LIMITS = (
    "Trained on images of one source. The metrics do not hold for other hospitals, machines, views, or for adults.",
    "PNEUMONIA means what the readers of that source labelled so. No other disease is recognised: NORMAL does not mean "
    "healthy.",
    "A heat map shows which regions influenced the network, not where the disease is.",
    "Colour images, multi-frame images and blank images are rejected. Any other greyscale image gets a probability, "
    "even if it is no chest X-ray.",
)
LICENCE = (
    "The weights are subject to the licence of the training images (the Kermany X-rays: CC BY 4.0, to be cited) and of "
    "the ImageNet weights, if training started from them."
)


def make_card(run: str, config: ModelConfig, evaluation: dict, lineage: dict[str, str]) -> dict:
    """The card as a dict for JSON.

    Args:
        run: id of the training run.
        config: `model.json` of the run.
        evaluation: `evaluation.json` of the run.
        lineage: further sources of the version, by name.
    """
    test = evaluation["test"]
    return {
        "intended_use": INTENDED,
        "architecture": f"{config.backbone} at {config.image_size} px, from {config.weights} weights",
        "data": config.data,
        "split": "by patient: no patient is in two of train, validation and test; the threshold is chosen on "
        "validation only",
        "threshold": config.threshold,
        "temperature": config.temperature,
        "quality": {
            "on": f"{test['images']} images of {test['patients']} held-out patients, {test['positive']} positive",
            "interval": "95%, bootstrap over patients",
            "metrics": {name: test["metrics"][name] for name in METRICS if name in test["metrics"]},
        },
        "limits": list(LIMITS),
        "licence": LICENCE,
        "lineage": {
            "run": run,
            "seed": config.seed,
            "content_sha256": config.content,
            "preprocessing_version": config.preprocessing_version,
            **lineage,
        },
    }


def to_markdown(card: dict) -> str:
    """The card as Markdown, for the version's comment."""
    quality = card["quality"]
    rows = "\n".join(f"| {name} | {_figure(metric)} |" for name, metric in quality["metrics"].items())
    limits = "\n".join(f"- {limit}" for limit in card["limits"])
    lineage = "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in card["lineage"].items() if value)
    return f"""**Intended use.** {card["intended_use"]}

**Model.** {card["architecture"]}; threshold {card["threshold"]:.3f}, temperature {card["temperature"]:.3f}.

**Data.** {card["data"]}. Split {card["split"]}.

**Quality** on {quality["on"]} ({quality["interval"]}):

| metric | value |
| --- | --- |
{rows}

**Limits**

{limits}

**Licence.** {card["licence"]}

**Lineage**

{lineage}
"""


def _figure(metric: dict) -> str:
    interval = metric.get("interval")
    if None in (metric["value"], *(interval or ())):
        return "undefined"
    return f"{metric['value']:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")
