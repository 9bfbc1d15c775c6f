"""Find, check, de-duplicate, split and load images: a folder becomes files on a stage and rows of two tables.

Images are content-addressed: an image's id is the SHA-256 of its file, and its place on the stage follows from the id.
So a second run has nothing to do, a run that was cut off goes on where it stopped, and no file name, which may hold a
person's name, reaches the stage.
"""

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import pandas as pd
from snowflake.snowpark import Session
from tqdm import tqdm

from cxr import images
from cxr.settings import LABELS, SPLITS, Settings
from cxr.tables import merge

FILES_PER_UPLOAD = 1000
STAGE_FOLDER = "xrays"
_PERSON = re.compile(r"person(\d+)_(bacteria|virus)", re.IGNORECASE)
_STUDY = re.compile(r"IM-(\d+)-")
_ENDINGS = {"JPEG": ".jpeg", "MPO": ".jpeg", "PNG": ".png", "TIFF": ".tiff", "DICOM": ".dcm"}


@dataclass(frozen=True)
class Origin:
    """Who and what an image shows, as far as its path tells."""

    patient_id: str
    cause: str | None = None


@dataclass(frozen=True)
class Accepted:
    """A row of the catalog, but for its split."""

    image_id: str
    relative_path: str
    source_name: str
    label: str
    cause: str | None
    patient_id: str
    width: int
    height: int
    bytes: int
    format: str
    view_position: str | None
    laterality: str | None
    sex: str | None
    age_band: str | None


@dataclass(frozen=True)
class Rejected:
    source_name: str
    reason: str
    detail: str


def origin_from_name(path: Path) -> Origin:
    """The rule for names of the Kermany data; replace it for other data.

    `person12_bacteria_34.jpeg` is patient person12, `IM-0115-0001.jpeg` and `NORMAL2-IM-0115-0001.jpeg` are study
    IM-0115, taken as one patient because nothing says otherwise. Any other file is a patient of its own.
    """
    if match := _PERSON.search(path.name):
        return Origin(f"person{int(match[1])}", match[2].lower())
    if match := _STUDY.search(path.name):
        return Origin(f"IM-{match[1]}")
    return Origin(f"file-{hashlib.sha256(path.as_posix().encode()).hexdigest()[:16]}")


def find_files(folder: Path) -> list[tuple[Path, str]]:
    """(file, label) pairs below `{train,val,test}/{NORMAL,PNEUMONIA}` or `{NORMAL,PNEUMONIA}`, in a stable order.

    Raises:
        FileNotFoundError: the folder is not there, or holds no folder of a label.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}. Set `data` to a folder of images, or leave it empty.")
    found = []
    for label in LABELS:
        for home in sorted({*folder.glob(label), *folder.glob(f"*/{label}")}):
            found += [(path, label) for path in sorted(home.rglob("*")) if path.is_file() and path.name[0] != "."]
    if not found:
        raise FileNotFoundError(
            f"{folder} holds no images below {' or '.join(LABELS)} (or train/{LABELS[0]} and so on)"
        )
    return found


def check_files(
    files: Iterable[tuple[Path, str]],
    folder: Path,
    origin: Callable[[Path], Origin] = origin_from_name,
    workers: int = 4,
) -> Iterator[Accepted | Rejected]:
    """Decode each file and say what it is, in order. A file whose content came before is rejected as a duplicate."""
    first_with: dict[str, str] = {}

    def check(entry: tuple[Path, str]) -> Accepted | Rejected:
        path, label = entry
        name = path.relative_to(folder).as_posix()
        try:
            data = path.read_bytes()
            xray = images.decode(data, at_least=256)
        except OSError as error:
            return Rejected(name, "unreadable", error.strerror or type(error).__name__)
        except images.BadImage as error:
            return Rejected(name, error.reason, error.detail)
        image_id = hashlib.sha256(data).hexdigest()
        who = origin(path.relative_to(folder))
        facts = (xray.view_position, xray.laterality, xray.sex, xray.age_band)
        place = f"{STAGE_FOLDER}/{image_id}{_ENDINGS[xray.format]}"
        size = (xray.width, xray.height, len(data), xray.format)
        return Accepted(image_id, place, name, label, who.cause, who.patient_id, *size, *facts)

    with ThreadPoolExecutor(workers) as pool:
        waiting = iter(files)
        while batch := list(islice(waiting, 256)):  # bounded, so that memory does not grow with the number of files
            for result in pool.map(check, batch):
                if isinstance(result, Accepted):
                    twin = first_with.setdefault(result.image_id, result.source_name)
                    if twin != result.source_name:
                        result = Rejected(result.source_name, "duplicate", f"the same bytes as {twin}")
                yield result


def split_of(patient_id: str, seed: int, validation_share: float, test_share: float) -> str:
    """The split of a patient: a function of the id and the seed alone, so it holds when images are added."""
    position = _position(patient_id, seed)
    if position < test_share:
        return "test"
    return "validation" if position < test_share + validation_share else "train"


def split_patients(labels: dict[str, str], seed: int, validation_share: float, test_share: float) -> dict[str, str]:
    """The split of every patient, given each patient's label.

    :func:`split_of`, with one exception for small data: where a split holds no patient of a label, it gets the first,
    in hash order, of the split that holds most of them, so that each split can be trained on or evaluated.
    """
    splits = {patient: split_of(patient, seed, validation_share, test_share) for patient in labels}
    for label in LABELS:
        own = sorted((p for p in labels if labels[p] == label), key=lambda p: _position(p, seed))
        for split in SPLITS:
            members = {name: [p for p in own if splits[p] == name] for name in SPLITS}
            fullest = max(members.values(), key=len)
            if not members[split] and len(fullest) > 1:
                splits[fullest[0]] = split
    return splits


def _position(patient_id: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}:{patient_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def ingest(session: Session, folder: Path, settings: Settings) -> dict[str, int]:
    """Check, upload and catalog every image of a folder; returns the counts, which add up.

    found = cataloged + rejected + already_there. Files that stand in the catalog already are not uploaded again; their
    patients keep the split that they have.
    """
    table = settings.qualified(settings.catalog_table)
    known = session.table(table).select("IMAGE_ID", "PATIENT_ID", "LABEL", "SPLIT").to_pandas()
    known_ids = set(known["IMAGE_ID"])
    files = find_files(folder)
    accepted, rejected, already = [], [], 0
    for result in tqdm(check_files(files, folder), total=len(files), unit="image", desc="checking", mininterval=5):
        if isinstance(result, Rejected):
            rejected.append(result)
        elif result.image_id in known_ids:
            already += 1
        else:
            accepted.append(result)
    rows = _with_splits(accepted, known, settings)
    with tqdm(total=len(rows), unit="image", desc="uploading", mininterval=5) as progress:
        for start in range(0, len(rows), FILES_PER_UPLOAD):
            part = rows.iloc[start : start + FILES_PER_UPLOAD]
            places = zip(part["SOURCE_NAME"], part["RELATIVE_PATH"], strict=True)
            upload(session, [(folder / name, place) for name, place in places], settings)
            merge(session, table, part, ["IMAGE_ID"])
            progress.update(len(part))
    if rejected:
        merge(session, settings.qualified(settings.rejected_table), _frame(rejected), ["SOURCE_NAME", "REASON"])
    session.sql(f"ALTER STAGE {settings.qualified(settings.images_stage)} REFRESH").collect()
    return {"found": len(files), "cataloged": len(rows), "rejected": len(rejected), "already_there": already}


def _frame(rows: list) -> pd.DataFrame:
    return pd.DataFrame([asdict(row) for row in rows]).rename(columns=str.upper)


def _with_splits(accepted: list[Accepted], known: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    rows = (
        _frame(accepted) if accepted else pd.DataFrame(columns=["SOURCE_NAME", "RELATIVE_PATH", "PATIENT_ID", "LABEL"])
    )
    # A patient with any image of pneumonia counts as one for the balance of the splits.
    labels = pd.concat([known, rows]).groupby("PATIENT_ID")["LABEL"].max().to_dict()
    splits = split_patients(labels, settings.seed, settings.validation_share, settings.test_share)
    splits |= dict(zip(known["PATIENT_ID"], known["SPLIT"], strict=True))
    return rows.assign(SPLIT=rows["PATIENT_ID"].map(splits), SPLIT_SEED=settings.seed)


def upload(session: Session, files: list[tuple[Path, str]], settings: Settings) -> None:
    """Put (file, place on the stage) pairs onto the images stage in one transfer."""
    with tempfile.TemporaryDirectory(prefix="cxr-upload-") as scratch:
        for source, place in files:
            Path(scratch, Path(place).name).symlink_to(source.resolve())
        target = f"{settings.images}/{STAGE_FOLDER}"
        session.file.put(f"file://{scratch}/*", target, auto_compress=False, overwrite=True)


def read_catalog(session: Session, settings: Settings) -> pd.DataFrame:
    """The catalog, ordered by image id, so that everything that follows is reproducible.

    Raises:
        LookupError: it is empty; says which notebook to run.
    """
    rows = session.table(settings.qualified(settings.catalog_table)).sort("IMAGE_ID").to_pandas()
    if rows.empty:
        raise LookupError(f"{settings.catalog_table} is empty: run notebooks/02_data_ingest.ipynb first")
    return rows
