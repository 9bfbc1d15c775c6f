"""The card of a registered version: what it is for, what it was made of, how good it is, and what it cannot do."""

from cxr.model.config import ModelConfig

METRICS = ("auroc", "auprc", "sensitivity", "specificity", "ppv", "npv", "accuracy", "ece")
INTENDED = (
    "Research and teaching: a probability of pneumonia for one frontal chest X-ray of a child. Not a medical device; "
    "not for diagnosis, triage or treatment."
)
LIMITS = (
    "Learned from the images of one source. On other hospitals, machines, views or adults its figures do not hold.",
    "Pneumonia means what that source's readers called so; nothing else is recognised, and NORMAL is not healthy.",
    "A heat map shows where the network looked, not where the disease is.",
    "Images in colour, of several frames, or blank are refused; a picture in grey of anything else is answered.",
)
LICENCE = (
    "Weights follow the licence of the images that they were trained on (the Kermany X-rays: CC BY 4.0, to be cited) "
    "and of the ImageNet weights that they start from, where they do."
)


def make_card(run: str, config: ModelConfig, evaluation: dict, lineage: dict[str, str]) -> dict:
    """Everything of the card, ready for JSON.

    Args:
        run: the training run's id.
        config: the run's `model.json`.
        evaluation: the run's `evaluation.json`.
        lineage: more places that the version comes from, by name.
    """
    test = evaluation["test"]
    positive = test.get("positive", test.get("pneumonia"))  # as evaluations of earlier versions call it
    return {
        "intended_use": INTENDED,
        "architecture": f"{config.backbone} at {config.image_size} px, from {config.weights} weights",
        "data": config.data,
        "split": "by patient: no patient stands in two of train, validation and test; the threshold is chosen on "
        "validation alone",
        "threshold": config.threshold,
        "temperature": config.temperature,
        "quality": {
            "on": f"{test['images']} images of {test['patients']} patients held out, {positive} positive",
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
    """The card for people, as the version's comment."""
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
