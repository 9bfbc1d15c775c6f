"""The model card of a registered version: intended use, data, quality, limits, lineage."""

import re

from cxr.evaluation.intervals import cautions, words_of
from cxr.evaluation.triage import CONFIDENCE, describe
from cxr.model.config import ModelConfig
from cxr.training.gate_fitting import in_words

METRICS = ("auroc", "auprc", "sensitivity", "specificity", "ppv", "npv", "accuracy", "ece")
HEADLINE = ("auroc", "sensitivity", "specificity", "ece")  # on the changed validation images
INTENDED = (
    "Research and teaching: the probability of each class for one frontal chest X-ray. Not a medical device; not for "
    "diagnosis, triage or treatment."
)
LIMITS = (
    "Trained on images of one source. The metrics do not hold for other hospitals, machines, views or ages.",
    "A class means what the readers of that source gave this label. No other disease is recognised: {negative} does "
    "not mean healthy.",
    "A heat map shows which regions influenced the network, not where the disease is.",
    "Colour images, multi-frame images and blank images are rejected. Any other greyscale image gets a probability, "
    "even if it is no chest X-ray. {gate}.",
    "The predictive values of triage hold for patients like those of validation, at the same prevalence. If fewer are "
    "ill, ruling in is wrong more often; if more are ill, ruling out is.",
)
NO_TRIAGE = "None: this run is older than triage."
PHANTOMS = "Trained on phantoms (synthetic drawings): the metrics say nothing about patients."
UNTRUSTED = (
    "The split cannot be trusted: for most images no patient id was found. Images of one person may be in training and "
    "in test, and every metric may be too good."
)
LICENCE = (
    "The weights are subject to the licence of the training images{images}, and of the weights that training started "
    "from."
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
        "classes": list(config.labels),
        "data": config.data,
        "split": "by patient: no patient is in two of train, validation and test; the threshold is chosen on "
        "validation only",
        "threshold": config.threshold,
        "temperature": config.temperature,
        "bias": list(config.bias),
        "quality": {
            "on": f"{test['images']} images of {test['patients']} held-out patients, {test['positive']} positive",
            "interval": "95%, bootstrap over patients",
            "metrics": {name: test["metrics"][name] for name in METRICS if name in test["metrics"]},
            "by_class": test.get("by_class", {}),
            "cautions": list(cautions(test)),
        },
        "elsewhere": _elsewhere(evaluation.get("validation_shifted")),
        "elsewhere_patients": _elsewhere_patients(evaluation.get("validation_shifted")),
        "triage": _triage_in_words(config, test.get("triage")),
        "limits": _limits(config),
        "licence": LICENCE.format(images=f" ({facts['licence']})" if (facts := _facts(config)).get("licence") else ""),
        "lineage": {
            "run": run,
            "seed": config.seed,
            "content_sha256": config.content,
            "preprocessing_version": config.preprocessing_version,
            **lineage,
        },
    }


def _elsewhere(shifted: dict | None) -> dict:
    """Metrics on the changed validation images; empty for a run without them."""
    return {name: shifted["metrics"][name] for name in HEADLINE if name in shifted["metrics"]} if shifted else {}


def _elsewhere_patients(shifted: dict | None) -> str:
    """Runs of before have no `held_back`: they measured the copies that chose."""
    if shifted and shifted.get("held_back"):
        return "of patients who chose nothing"
    return "of patients who also chose epoch and threshold, so too good"


def _facts(config: ModelConfig) -> dict:
    return config.data if isinstance(config.data, dict) else {}


def _limits(config: ModelConfig) -> list[str]:
    facts = _facts(config)
    warnings = [PHANTOMS] if facts.get("phantoms") else []
    warnings += [UNTRUSTED] if facts.get("split_trusted") is False else []
    return [*warnings, *(limit.format(negative=config.labels[0], gate=_gate_in_words(config)) for limit in LIMITS)]


def _triage_in_words(config: ModelConfig, on_test: dict | None) -> str:
    """Both thresholds with their tests, and their results on the test images."""
    if not config.triage:
        return NO_TRIAGE
    words = f"Tested on {config.triage['patients']:,} patients who were used for no choice: {describe(config.triage)}."
    if on_test:
        reader = round(100 * on_test["for_a_reader"])
        words += f" Of 100 test images, {reader} need a reader; {on_test['unlike']} of {on_test['images']} are unlike"
        words += " those of training."
    return f"{words} Predictive values have a joint confidence of {CONFIDENCE:.0%}."


def _gate_in_words(config: ModelConfig) -> str:
    words = in_words(config.gate)
    return words[0].upper() + words[1:]


def to_markdown(card: dict) -> str:
    """The card as Markdown, for the version's comment."""
    quality = card["quality"]
    rows = "\n".join(f"| {name} | {words_of(metric)} |" for name, metric in quality["metrics"].items())
    limits = "\n".join(f"- {limit}" for limit in card["limits"])
    lineage = "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in card["lineage"].items() if value)
    return f"""**Intended use.** {card["intended_use"]}

**Model.** {card["architecture"]}; threshold {card["threshold"]:.3f}, temperature {card["temperature"]:.3f}.

**Data.** {_data_in_words(card["data"])}. Split {card["split"]}.

{_elsewhere_in_words(card)}**Held-out patients of the same source** (too good for other sources): \
{quality["on"]} ({quality["interval"]}):

| metric | value |
| --- | --- |
{rows}
{_classes_in_words(quality.get("by_class", {}))}{_cautions_in_words(quality.get("cautions", []))}
**Triage.** {card.get("triage", NO_TRIAGE)}

**Limits**

{limits}

**Licence.** {plain(card["licence"])}

**Lineage**

{lineage}
"""


def _elsewhere_in_words(card: dict) -> str:
    if not (metrics := card["elsewhere"]):
        return ""
    figures = ", ".join(f"{name} {words_of(metric)}" for name, metric in metrics.items())
    return (
        "**Elsewhere** expect less. On validation images changed in exposure, position and sharpness, as another "
        f"hospital's might be ({card['elsewhere_patients']}): {figures}. `python3 ci evaluate --data DIR` measures it "
        "on your own images.\n\n"
    )


def _data_in_words(data: dict | str) -> str:
    if isinstance(data, str):
        return plain(data)
    kind = "phantoms (synthetic)" if data["phantoms"] else "images"
    classes = ", ".join(f"{count:,} {plain(name)}" for name, count in data["classes"].items())
    by = ", ".join(
        f"{count:,} {'not found' if rule == 'none' else 'from the ' + rule}"
        for rule, count in data["patients_by"].items()
        if count
    )
    words = [f"{data['images']:,} {kind} of {data['patients']:,} patients: {classes}", f"patient ids: {by}"]
    for title in ("ages", "views"):
        if data[title]:
            words.append(f"{title}: " + ", ".join(f"{plain(value)} {count:,}" for value, count in data[title].items()))
    return "; ".join(words)


def _classes_in_words(by_class: dict) -> str:
    if not by_class:
        return ""
    head = "\n| class | images | AUROC against the rest | sensitivity |\n| --- | --- | --- | --- |\n"
    rows = [
        f"| {plain(row['class'])} | {row['images']} | {words_of(row['auroc'])} | {words_of(row['sensitivity'])} |\n"
        for row in by_class["classes"]
    ]
    macro, accuracy = words_of(by_class["macro_auroc"]), words_of(by_class["accuracy"])
    return f"{head}{''.join(rows)}\nMacro AUROC {macro}; accuracy over all classes {accuracy}.\n"


def _cautions_in_words(said: list[str]) -> str:
    return f"\n**Few patients.** {' '.join(said)}\n" if said else ""


def plain(text: str) -> str:
    """Escape text from data or settings, so that it cannot become a link, image or markup in Markdown."""
    return re.sub(r"([\\`*_{}\[\]()<>#!|~])", r"\\\1", " ".join(str(text).split()))
