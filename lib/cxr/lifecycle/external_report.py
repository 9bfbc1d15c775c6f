"""The report of an external evaluation: Markdown, figures and numbers, in files that only their owner can read."""

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from cxr.atomic_files import write_atomically
from cxr.data import outside as reasons
from cxr.evaluation import figures
from cxr.evaluation.bootstrap import RESAMPLES
from cxr.evaluation.intervals import cautions, words_of
from cxr.evaluation.report import as_table, class_table, subgroup_table
from cxr.evaluation.triage import zone_table
from cxr.lifecycle.external_evaluation import SEED, ExternalEvaluation
from cxr.lifecycle.model_card import PHANTOMS, plain
from cxr.model.probabilities import p_positive


def write_report(found: ExternalEvaluation, folder: Path) -> Path:
    """`report.md`, `evaluation.json` and figures in the folder, which is made if need be; the report's path.

    No picture shows an X-ray, and no file, patient or image is named.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for old in ("report.md", "evaluation.json", "roc.png", "calibration.png"):
        (folder / old).unlink(missing_ok=True)  # so that none stays beside files of another evaluation
    drawn = dict(_draw(found))
    for name, figure in drawn.items():
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=120)
        plt.close(figure)
        _write(folder / name, picture.getvalue())
    _write(folder / "evaluation.json", (json.dumps(found.to_json(), indent=2, allow_nan=False) + "\n").encode())
    _write(folder / "report.md", to_markdown(found, list(drawn)).encode())
    return folder / "report.md"


def _write(path: Path, data: bytes) -> None:
    with write_atomically(path) as file:
        file.write(data)


def _draw(found: ExternalEvaluation) -> Iterator[tuple[str, Figure]]:
    report, truth = found.report, found.labels > 0
    if 0 < truth.sum() < len(truth):
        yield "roc.png", figures.roc_and_precision(report, truth, p_positive(found.probabilities))
    yield (
        "calibration.png",
        figures.confusion_and_reliability(report, found.labels, found.predictions, found.config.labels),
    )


def to_markdown(found: ExternalEvaluation, pictures: Sequence[str] = ()) -> str:
    parts = [
        _head(found), _data(found), _results(found), _calibration(found), _triage(found), _thresholds(found),
        _classes(found), _subgroups(found), _with_known(found), _methods(found),
    ]  # fmt: skip
    shown = "\n\n".join(f"![{name.removesuffix('.png')}]({name})" for name in pictures)
    return "\n\n".join(part for part in (*parts[:3], shown, *parts[3:]) if part) + "\n"


def _head(found: ExternalEvaluation) -> str:
    report, auroc = found.report, words_of(found.report["metrics"]["auroc"])
    list_of_cautions = "".join(f"\n- {caution}" for caution in _cautions(found))
    return f"""# External evaluation of {plain(found.model_name)} version {plain(found.version)}

Not a medical device. For research and teaching.

On {report["images"]:,} images of {report["patients"]:,} patients from elsewhere ({plain(found.outside.name)}), \
{report["positive"]:,} of them positive ({_share(report["positive"], report["images"])}): AUROC {auroc}; at the \
version's own threshold {report["threshold"]:.3f}, sensitivity {words_of(report["metrics"]["sensitivity"])} and \
specificity {words_of(report["metrics"]["specificity"])}. **The threshold was not chosen on these images**, nor was \
anything else of the version. "Positive" is every class but {plain(found.config.labels[0])}.
{list_of_cautions}"""


def _cautions(found: ExternalEvaluation) -> Iterator[str]:
    report, rows = found.report, found.outside.rows
    if not min(report["patients_by_outcome"].values()):
        yield "All images are of one class: AUROC, calibration slope and other thresholds are undefined."
    yield from cautions(report)
    alone = int((rows["PATIENT_FROM"] == "none").sum())
    if 2 * alone > len(rows):
        yield (
            f"For {alone:,} of {len(rows):,} images no patient id was found, and each counts as its own patient: "
            "intervals may be too narrow, and patients of training among them were not recognised."
        )
    if not found.list_kept:
        yield (
            "The version's run kept no list of its images, as runs of earlier versions of this project; what it was "
            "trained on is taken from the catalog's splits of today."
        )
    if found.own_test_images:
        yield (
            f"{found.own_test_images:,} of the images are test images of the version, from the source of its "
            "training: they are not from elsewhere."
        )
    flagged = int((rows["STATUS"] != "ok").sum())
    if flagged:
        yield f"The gate marked {flagged:,} of the images as unlike those of training; their probabilities are counted."
    if isinstance(found.config.data, dict) and found.config.data.get("phantoms"):
        yield PHANTOMS


def _data(found: ExternalEvaluation) -> str:
    outside, rows = found.outside, found.outside.rows
    flow = [("files looked at", outside.files)]
    flow += [(f"left out: {why}", count) for why, count in outside.left_out.items()]
    flow += [("**images measured on**", len(rows)), ("**patients measured on**", rows["PATIENT_ID"].nunique())]
    text = "## The images\n\n" + _table(("", "number"), flow)
    if outside.known_patients:
        text += (
            f"\n\n{outside.known_patients:,} patients are also in training or validation of the version; their "
            f"{outside.left_out[reasons.KNOWN_PATIENT]:,} images are left out."
        )
    if outside.unknown_classes:
        classes = ", ".join(f"{plain(name)} ({count:,})" for name, count in outside.unknown_classes.items())
        text += f"\n\nClasses that the version does not know: {classes}."
    by_class = rows.groupby("LABEL")["PATIENT_ID"].agg(["count", "nunique"])
    lines = [
        (plain(name), *(int(number) for number in by_class.loc[name]), _share(by_class.loc[name, "count"], len(rows)))
        for name in found.config.labels
        if name in by_class.index
    ]
    text += "\n\n" + _table(("class", "images", "patients", "of all images"), lines)
    told = [("patient ids from", "PATIENT_FROM"), ("ages", "AGE_BAND"), ("sex", "SEX"), ("views", "VIEW_POSITION")]
    known = [f"- {title}: {counts}" for title, column in told if (counts := _counts(rows[column]))]
    return text + "\n\n" + "\n".join(known)


def _counts(column: pd.Series) -> str:
    """Only of what is known."""
    return ", ".join(f"{plain(value)} {count:,}" for value, count in column.value_counts().sort_index().items())


def _results(found: ExternalEvaluation) -> str:
    here, own = found.report, found.own_test
    table = as_table({"here": here, "own test patients": own})
    return f"""## Figures, with 95% intervals

At the version's threshold, {here["threshold"]:.3f}. Beside them, the version's figures on its own test patients, who \
come from the source that it was trained on. {_share(here["positive"], here["images"])} of the images are positive \
here, {_share(own["positive"], own["images"])} there: PPV, NPV, accuracy, F1 and AUPRC depend on that fraction and are \
not comparable without it; AUROC, sensitivity and specificity do not.

{_frame(table)}"""


def _calibration(found: ExternalEvaluation) -> str:
    lines = [(name, words_of(found.calibration[name])) for name in ("intercept", "slope", "brier")]
    lines.append(("ECE, ten equal bins", words_of(found.report["metrics"]["ece"])))
    bins = [
        (f"{row['from']:.1f} to {row['to']:.1f}", row["images"], f"{row['predicted']:.3f}", f"{row['observed']:.3f}")
        for row in found.bins
    ]
    return f"""## Calibration

{_table(("", "value"), lines)}

The intercept (calibration in the large) is the mean correction that the log-odds need: 0 is ideal, below 0 the \
probabilities are too high. The slope is that of the outcome on the log-odds: 1 is ideal, below 1 they are too \
extreme. The version's own calibration was fitted on its validation images; nothing was fitted again for the other \
figures.

{_table(("probability", "images", "mean predicted", "observed"), bins)}"""


def _triage(found: ExternalEvaluation) -> str:
    if not found.triage:
        return ""
    measured = found.triage
    return f"""## Triage

At the version's own two thresholds: of 100 images here, {round(100 * measured["for_a_reader"])} need a reader. \
{measured["unlike"]:,} images are unlike those of training and get no label. The version's predictive values were \
shown for patients like its own, at the same prevalence; these are the values here:

{_frame(zone_table(measured["zones"]))}"""


def _thresholds(found: ExternalEvaluation) -> str:
    if not found.thresholds:
        return ""
    names = ("sensitivity", "specificity", "ppv", "npv")
    lines = [
        (row["rule"], f"{row['threshold']:.3f}", *(words_of(row[name]) for name in names)) for row in found.thresholds
    ]
    return f"""## What another threshold would give here

{_table(("threshold", "value", *names), lines)}

All but the first are chosen **and** measured on these images, so their figures are too good, and their intervals \
do not cover the choice. Confirm such a threshold on further images before using it."""


def _classes(found: ExternalEvaluation) -> str:
    by_class = found.report.get("by_class")
    if not by_class:
        return ""
    names = [plain(name) for name in found.config.labels]
    matrix = [(name, *row) for name, row in zip(names, by_class["confusion_matrix"], strict=True)]
    return f"""## Each class

{_frame(class_table(found.report))}

AUROC is that of a class against the rest. Macro AUROC {words_of(by_class["macro_auroc"])}; accuracy over all classes \
{words_of(by_class["accuracy"])}. Rows of the following table are the truth, columns what the version says:

{_table(("", *names), matrix)}"""


def _subgroups(found: ExternalEvaluation) -> str:
    table = subgroup_table(found.report)
    if table.empty:
        return ""
    return f"""## Subgroups

{_frame(table)}

A cause is compared with all negative images. Of many subgroups, some differ by chance: the intervals are not \
corrected for that."""


def _with_known(found: ExternalEvaluation) -> str:
    if not found.with_known:
        return ""
    text = """## Sensitivity analysis: with the patients who are also in training

For comparison only. If these patients are indeed those of training, the right column is too good; if their ids are \
alike by chance (as numbers in file names may be), the left column leaves out more than it needs to.

"""
    return text + _frame(as_table({"left out (main analysis)": found.report, "kept": found.with_known}))


def _methods(found: ExternalEvaluation) -> str:
    config, gone = found.config, [reasons.IN_TRAINING, reasons.LIKE_TRAINING, reasons.KNOWN_PATIENT]
    overlap = ", ".join(f"{found.outside.left_out.get(why, 0):,} {why}" for why in gone)
    versions = ", ".join(f"{name} {package_version(name)}" for name in ("numpy", "scikit-learn", "scipy"))
    return f"""## How this was done

- **Version.** {plain(found.version)}: {plain(config.backbone)} at {config.image_size} px, preprocessing version \
{config.preprocessing_version}, content of training {config.content[:16] or "unknown"}. The registered version itself \
was asked, on the files as they are.
- **Threshold and calibration** were chosen on the version's validation images, before. Nothing was chosen here.
- **Left out because the version may have seen them:** {overlap}. Training and validation images count as seen. \
Patients are recognised by the catalog's rules and key; nearly the same picture means at most 10 of 256 bits of a \
perceptual hash apart. Patients who were forgotten or deleted from the catalog cannot be recognised.
- **Truth** is the label of the folder or table, as it was given. The intervals do not cover errors in it, or the \
selection of the images.
- **Intervals** are 95% percentile intervals over {RESAMPLES:,} bootstrap resamples of patients (seed {SEED}): all \
images of a patient are drawn together. Resamples without a class are left out of figures that need both. Where the \
log-odds of a resample separate the classes, its calibration slope is infinite; if many do, the interval is unbounded \
above. Resampled values of the ECE are shifted to lie around the measured value, because resampling inflates it. The \
band of the ROC curve is pointwise, over {RESAMPLES // 4:,} resamples. An interval without width means that every \
resample agrees, not that the value is certain. No interval is corrected for multiple comparisons.
- **Images that the version did not answer** are left out and counted above; they are neither right nor wrong.
- Made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC with {versions}. `evaluation.json` has all numbers."""


def _table(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    rows = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def _frame(table: pd.DataFrame) -> str:
    lines = [(plain(index), *("" if pd.isna(cell) else cell for cell in row)) for index, *row in table.itertuples()]
    return _table(["", *table.columns], lines)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"
