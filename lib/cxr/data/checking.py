"""Look at each file of a source: hash it, decode it, and say what it is or why it is refused; touches no account."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice

from cxr.data import duplicates, sources
from cxr.data.labels import Describe, Origin, from_name, pseudonym
from cxr.model import preprocessing

BATCH = 1000  # files that are checked, uploaded and merged at a time
WORKERS = 4
STAGE_FOLDER = "xrays"
_ENDINGS = {"JPEG": ".jpeg", "MPO": ".jpeg", "PNG": ".png", "TIFF": ".tiff", "DICOM": ".dcm"}


@dataclass(frozen=True)
class Accepted:
    """A row of the catalog, but for its source and its split."""

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
    perceptual_hash: str


@dataclass(frozen=True)
class Found:
    """A file of the source. `reason` and `detail` say why it is refused; an unreadable one has no id."""

    source_name: str
    label: str | None
    image_id: str | None = None
    reason: str | None = None
    detail: str | None = None


Batch = tuple[list[Found], list[Accepted]]


def find_files(source, describe: Describe = from_name) -> Iterator[tuple[str, Origin]]:
    """(name, origin) of the source's images, one after the other."""
    return ((name, origin) for name in source.names() if (origin := describe(name)))


def check_files(
    source,
    files: Iterable[tuple[str, Origin]],
    known: Callable[[list[str]], set[str]] = lambda ids: set(),
    key: str = "",
) -> Iterator[Batch]:
    """Say of each file what it is, in order and in batches; the next batch is being decoded when one is handed out.

    Args:
        source: of `sources`.
        files: of `find_files`.
        known: those of the ids that need no decoding, because they stand in the catalog.
        key: see `pseudonym`.
    """
    before: tuple[Callable[[], Batch], dict[str, Future]] | None = None
    with ThreadPoolExecutor(WORKERS) as pool:
        files = iter(files)
        while batch := list(islice(files, BATCH)):
            started = _start(pool, source, batch, known, key, before[1] if before else {})
            if before:
                yield before[0]()
            before = started
        if before:
            yield before[0]()


def _start(pool, source, batch, known, key, last: dict[str, Future]) -> tuple[Callable[[], Batch], dict[str, Future]]:
    """Hash the files of a batch, and begin to decode those that are new. Ends with (how to get the results, by id)."""
    stack = ExitStack()
    labelled = [name for name, origin in batch if origin.label]
    read = stack.enter_context(source.reading(labelled))
    ids = dict(zip(labelled, pool.map(lambda name: _identify(read, name), labelled), strict=True))
    there = known([image_id for image_id in ids.values() if isinstance(image_id, str)])
    decoding: dict[str, Future] = {}
    for name, origin in batch:
        image_id = ids.get(name)
        # The batch before may not be in the catalog yet.
        if isinstance(image_id, str) and image_id not in there and image_id not in last and image_id not in decoding:
            decoding[image_id] = pool.submit(_examine, read, name, image_id, origin, key)

    def results() -> Batch:
        with stack:
            verdicts = {image_id: future.result() for image_id, future in (last | decoding).items()}
        accepted = [verdicts[image_id] for image_id in decoding if isinstance(verdicts[image_id], Accepted)]
        return [_found(name, origin, ids.get(name), verdicts) for name, origin in batch], accepted

    return results, decoding


def _identify(read: sources.Read, name: str) -> str | preprocessing.BadImage:
    try:
        return hashlib.sha256(read(name)).hexdigest()
    except preprocessing.BadImage as bad:
        return bad
    except OSError as error:
        return preprocessing.BadImage("unreadable", error.strerror or type(error).__name__)


def _examine(
    read: sources.Read, name: str, image_id: str, origin: Origin, key: str
) -> Accepted | preprocessing.BadImage:
    try:
        data = read(name)
        if hashlib.sha256(data).hexdigest() != image_id:
            raise preprocessing.BadImage("changed", "the file was written to while it was read")
        xray = preprocessing.decode(data, at_least=256)
    except preprocessing.BadImage as bad:
        return bad
    except OSError as error:
        return preprocessing.BadImage("unreadable", error.strerror or type(error).__name__)
    patient = origin.patient_id or (xray.patient_digest and pseudonym(xray.patient_digest, key))
    # Nothing tells: a patient of its own.
    patient = patient or f"file-{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:16]}"
    place = f"{STAGE_FOLDER}/{image_id}{_ENDINGS[xray.format]}"
    size = (xray.width, xray.height, len(data), xray.format)
    facts = (xray.view_position, xray.laterality, xray.sex, xray.age_band, duplicates.fingerprint(xray.pixels))
    return Accepted(image_id, place, name, origin.label, origin.cause, patient, *size, *facts)


def _found(name: str, origin: Origin, image_id: str | preprocessing.BadImage | None, verdicts: dict) -> Found:
    if origin.label is None:
        return Found(name, None, None, "no_label", "neither a folder nor the table says what the image shows")
    bad = image_id if isinstance(image_id, preprocessing.BadImage) else verdicts.get(image_id)
    if isinstance(bad, preprocessing.BadImage):
        return Found(name, origin.label, image_id if isinstance(image_id, str) else None, bad.reason, bad.detail)
    return Found(name, origin.label, image_id)


def count_files(source, describe: Describe = from_name) -> int:
    """How many images the source holds. Raises FileNotFoundError for none."""
    total = sum(1 for _ in find_files(source, describe))
    if not total:
        raise FileNotFoundError(f"{source.name} holds no images below NORMAL or PNEUMONIA (or train/NORMAL and so on)")
    return total
