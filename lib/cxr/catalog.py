"""Check, de-duplicate, load and split images: what a source holds becomes files on a stage and rows of two tables.

Images are content-addressed: an image's id is the SHA-256 of its file, and its place on the stage follows from the id.
So a second run has nothing to do, a run that was cut off goes on where it stopped, and no file name, which may hold a
person's name, reaches the stage. Files go through in batches, so memory does not grow with their number; what needs
all of them (duplicates, what vanished, the split) is done by the account, in a few statements over a temporary table
of what this run found.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from snowflake.snowpark import Session
from snowflake.snowpark.functions import col
from tqdm import tqdm

from cxr import images, origins, similar, sources
from cxr.origins import Describe, Origin
from cxr.settings import Settings
from cxr.tables import append, merge, temporary

BATCH = 1000  # files that are checked, uploaded and merged at a time
WORKERS = 4
_SLICE = 5000  # rows of the catalog that are fetched at a time
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


def find_files(source, describe: Describe = origins.from_name) -> Iterator[tuple[str, Origin]]:
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
        key: see `origins.pseudonym`.
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


def _identify(read: sources.Read, name: str) -> str | images.BadImage:
    try:
        return hashlib.sha256(read(name)).hexdigest()
    except images.BadImage as bad:
        return bad
    except OSError as error:
        return images.BadImage("unreadable", error.strerror or type(error).__name__)


def _examine(read: sources.Read, name: str, image_id: str, origin: Origin, key: str) -> Accepted | images.BadImage:
    try:
        data = read(name)
        if hashlib.sha256(data).hexdigest() != image_id:
            raise images.BadImage("changed", "the file was written to while it was read")
        xray = images.decode(data, at_least=256)
    except images.BadImage as bad:
        return bad
    except OSError as error:
        return images.BadImage("unreadable", error.strerror or type(error).__name__)
    patient = origin.patient_id or (xray.patient_digest and origins.pseudonym(xray.patient_digest, key))
    # Nothing tells: a patient of its own.
    patient = patient or f"file-{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:16]}"
    place = f"{STAGE_FOLDER}/{image_id}{_ENDINGS[xray.format]}"
    size = (xray.width, xray.height, len(data), xray.format)
    facts = (xray.view_position, xray.laterality, xray.sex, xray.age_band, similar.fingerprint(xray.pixels))
    return Accepted(image_id, place, name, origin.label, origin.cause, patient, *size, *facts)


def _found(name: str, origin: Origin, image_id: str | images.BadImage | None, verdicts: dict) -> Found:
    if origin.label is None:
        return Found(name, None, None, "no_label", "neither a folder nor the table says what the image shows")
    bad = image_id if isinstance(image_id, images.BadImage) else verdicts.get(image_id)
    if isinstance(bad, images.BadImage):
        return Found(name, origin.label, image_id if isinstance(image_id, str) else None, bad.reason, bad.detail)
    return Found(name, origin.label, image_id)


def ingest(session: Session, data: str | Path, settings: Settings, describe: Describe | None = None) -> dict[str, int]:
    """Check, upload and catalog every image of a source; returns the counts, which add up.

    found = cataloged + rejected + already_there. Of those already there none is uploaded again, and their patients keep
    the split that they have. `vanished` counts images that the same source held and holds no more; `changed` those
    among them whose name is still there, with other content: the new content is cataloged beside the old.

    Raises:
        FileNotFoundError: there is no such source, or it holds no image below a folder of a label.
    """
    source = sources.open_source(session, data, settings)
    describe = describe or origins.rule(settings)
    table, total, cataloged = settings.qualified(settings.catalog_table), 0, 0

    def known(ids: list[str]) -> set[str]:
        rows = session.table(table).filter(col("IMAGE_ID").isin(ids)).select("IMAGE_ID").collect() if ids else []
        return {row[0] for row in rows}

    columns = "SOURCE_NAME STRING, LABEL STRING, IMAGE_ID STRING, REASON STRING, DETAIL STRING"
    expected = count_files(source, describe)
    with temporary(session, columns) as run, tqdm(total=expected, unit="image", desc="ingest", mininterval=5) as bar:
        for found, accepted in check_files(source, find_files(source, describe), known, settings.patient_key):
            if accepted:
                source.place(session, [(row.source_name, row.relative_path) for row in accepted], settings)
                merge(session, table, _frame(accepted).assign(SOURCE=source.name), ["IMAGE_ID"])
            append(session, run, _frame(found))
            total, cataloged = total + len(found), cataloged + len(accepted)
            bar.update(len(found))
        counts = _settle(session, settings, source.name, run)
    if session.table(table).filter(col("SPLIT").is_null()).count():
        flag_near_duplicates(session, settings)
        sources.refresh(session, settings.qualified(settings.images_stage))
        assign_splits(session, settings)  # last: whatever is cut off before is done again
    kept = counts.pop("kept")
    return {"found": total, "cataloged": cataloged, "already_there": kept - cataloged, **counts}


def count_files(source, describe: Describe = origins.from_name) -> int:
    """How many images the source holds. Raises FileNotFoundError for none."""
    total = sum(1 for _ in find_files(source, describe))
    if not total:
        raise FileNotFoundError(f"{source.name} holds no images below NORMAL or PNEUMONIA (or train/NORMAL and so on)")
    return total


def _frame(rows: list) -> pd.DataFrame:
    frame = pd.DataFrame([asdict(row) for row in rows]).rename(columns=str.upper)
    # A file's name may be no Unicode, and then no database takes it as it is.
    return frame.assign(SOURCE_NAME=[n.encode(errors="backslashreplace").decode() for n in frame["SOURCE_NAME"]])


def _settle(session: Session, settings: Settings, source: str, run: str) -> dict[str, int]:
    """What needs the whole source: files that moved, duplicates, what vanished, the list of the rejected."""
    catalog, rejected = (settings.qualified(name) for name in (settings.catalog_table, settings.rejected_table))
    names = dict(catalog=catalog, rejected=rejected, run=run)
    for statement in (_MOVED, _DUPLICATES, _VANISHED, _NEVER_MIXED, _REJECT, _NO_LONGER_REJECTED):
        text = statement.format(**names)
        session.sql(text, params=[source] * text.count("?")).collect()
    counts = session.sql(_COUNTS.format(**names), params=[source] * 2).collect()[0]
    return {name.lower(): int(value or 0) for name, value in counts.as_dict().items()}


# The content is there, under a name that is no longer found in this source, or from a source where it vanished.
_MOVED = """
MERGE INTO {catalog} C USING (
    SELECT F.IMAGE_ID, MIN(F.SOURCE_NAME) AS SOURCE_NAME FROM {run} F JOIN {catalog} K ON K.IMAGE_ID = F.IMAGE_ID
    WHERE F.REASON IS NULL GROUP BY F.IMAGE_ID 
    HAVING MAX(IFF(K.SOURCE = ? AND F.SOURCE_NAME = K.SOURCE_NAME, 1, 0)) = 0
) S ON C.IMAGE_ID = S.IMAGE_ID AND (C.SOURCE = ? OR C.VANISHED_AT IS NOT NULL)
WHEN MATCHED THEN UPDATE SET SOURCE = ?, SOURCE_NAME = S.SOURCE_NAME"""
# Of files with the same bytes one is kept: the one that the catalog names, else the first.
_DUPLICATES = """
MERGE INTO {run} R USING (
    SELECT F.SOURCE_NAME, K.LABEL, COALESCE(MAX(IFF(F.SOURCE_NAME = K.SOURCE_NAME, F.SOURCE_NAME, NULL))
        OVER (PARTITION BY F.IMAGE_ID), MIN(F.SOURCE_NAME) OVER (PARTITION BY F.IMAGE_ID)) AS KEPT
    FROM {run} F JOIN {catalog} K ON K.IMAGE_ID = F.IMAGE_ID WHERE F.REASON IS NULL
) S ON R.SOURCE_NAME = S.SOURCE_NAME AND R.SOURCE_NAME <> S.KEPT
WHEN MATCHED THEN UPDATE SET REASON = 'duplicate',
    DETAIL = 'the same bytes as ' || S.KEPT || IFF(R.LABEL = S.LABEL, '', ', which is labelled ' || S.LABEL)"""
_VANISHED = """
MERGE INTO {catalog} C USING (
    SELECT K.IMAGE_ID, MAX(F.IMAGE_ID) IS NULL AS GONE
    FROM {catalog} K LEFT JOIN {run} F ON F.IMAGE_ID = K.IMAGE_ID WHERE K.SOURCE = ? GROUP BY K.IMAGE_ID
) S ON C.IMAGE_ID = S.IMAGE_ID AND S.GONE = (C.VANISHED_AT IS NULL)
WHEN MATCHED THEN UPDATE SET VANISHED_AT = IFF(S.GONE, CURRENT_TIMESTAMP()::TIMESTAMP_NTZ, NULL)"""
# Images of phantoms leave when others come, and others when phantoms come: nobody means to train on both.
_NEVER_MIXED = f"""
UPDATE {{catalog}} SET VANISHED_AT = CURRENT_TIMESTAMP()::TIMESTAMP_NTZ WHERE VANISHED_AT IS NULL AND SOURCE <> ?
AND (STARTSWITH(SOURCE, '{sources.PHANTOMS}') OR STARTSWITH(?, '{sources.PHANTOMS}'))"""
_REJECT = """
MERGE INTO {rejected} R USING (SELECT * FROM {run} WHERE REASON IS NOT NULL) S
ON R.SOURCE = ? AND R.SOURCE_NAME = S.SOURCE_NAME
WHEN MATCHED THEN UPDATE SET REASON = S.REASON, DETAIL = S.DETAIL
WHEN NOT MATCHED THEN INSERT (SOURCE, SOURCE_NAME, REASON, DETAIL) VALUES (?, S.SOURCE_NAME, S.REASON, S.DETAIL)"""
_NO_LONGER_REJECTED = """
DELETE FROM {rejected} WHERE SOURCE = ?
AND SOURCE_NAME NOT IN (SELECT SOURCE_NAME FROM {run} WHERE REASON IS NOT NULL)"""
_COUNTS = """
SELECT COUNT(REASON) AS REJECTED, COUNT(*) - COUNT(REASON) AS KEPT,
    (SELECT COUNT(*) FROM {catalog} WHERE SOURCE = ? AND VANISHED_AT IS NOT NULL) AS VANISHED,
    (SELECT COUNT(*) FROM {catalog} WHERE SOURCE = ? AND VANISHED_AT IS NOT NULL
        AND SOURCE_NAME IN (SELECT SOURCE_NAME FROM {run})) AS CHANGED
FROM {run}"""


def assign_splits(session: Session, settings: Settings) -> None:
    """Give every patient without a split one; whoever has one keeps it.

    Within each label, patients stand in the order of a hash of their id and the seed. The first of those without a
    split fill what test and then validation lack of their shares, so every split has its share of every label, to the
    patient. A patient with any image of pneumonia counts as one. Each split gets a patient of a label that has three.
    """
    numbers = dict(seed=settings.seed, test=settings.test_share, validation=settings.validation_share)
    session.sql(_ASSIGN.format(catalog=settings.qualified(settings.catalog_table), **numbers)).collect()


_ASSIGN = """
MERGE INTO {catalog} C USING (
    WITH PATIENTS AS (
        SELECT PATIENT_ID, MAX(LABEL) AS LABEL, MAX(SPLIT) AS SPLIT, SHA2('{seed}:' || PATIENT_ID, 256) AS POSITION
        FROM {catalog} GROUP BY PATIENT_ID
    ), WANTED AS (
        SELECT LABEL,
            GREATEST(ROUND(COUNT(*) * {test}), IFF(COUNT(*) >= 2, 1, 0)) - COUNT_IF(SPLIT = 'test') AS TEST,
            GREATEST(ROUND(COUNT(*) * {validation}), IFF(COUNT(*) >= 3, 1, 0)) - COUNT_IF(SPLIT = 'validation') AS VALID
        FROM PATIENTS GROUP BY LABEL
    ), FRESH AS (
        SELECT PATIENT_ID, ROW_NUMBER() OVER (PARTITION BY LABEL ORDER BY POSITION) AS PLACE
        FROM PATIENTS WHERE SPLIT IS NULL
    )
    SELECT P.PATIENT_ID, COALESCE(P.SPLIT, CASE WHEN F.PLACE <= W.TEST THEN 'test'
        WHEN F.PLACE <= GREATEST(W.TEST, 0) + GREATEST(W.VALID, 0) THEN 'validation' ELSE 'train' END) AS SPLIT
    FROM PATIENTS P JOIN WANTED W ON W.LABEL = P.LABEL LEFT JOIN FRESH F ON F.PATIENT_ID = P.PATIENT_ID
) S ON C.PATIENT_ID = S.PATIENT_ID AND C.SPLIT IS NULL
WHEN MATCHED THEN UPDATE SET SPLIT = S.SPLIT, SPLIT_SEED = {seed}"""


def flag_near_duplicates(session: Session, settings: Settings) -> None:
    """Write beside each image that has a near duplicate with a smaller id the smallest of those ids."""
    table = settings.qualified(settings.catalog_table)
    # 64 bytes an image, so that this too fits the memory for millions.
    ids, prints = bytearray(), bytearray()
    rows, last = session.table(table).select("IMAGE_ID", "PERCEPTUAL_HASH"), ""
    while part := rows.filter(col("IMAGE_ID") > last).sort("IMAGE_ID").limit(_SLICE).collect():
        ids += b"".join(bytes.fromhex(row[0]) for row in part)
        prints += b"".join(bytes.fromhex(row[1]) for row in part)
        last = part[-1][0]
    prints = np.frombuffer(prints, np.uint8).reshape(-1, similar.BITS // 8)
    pairs = pd.DataFrame(similar.near_pairs(prints), columns=["OF", "IMAGE"]).groupby("IMAGE")["OF"].min()
    if pairs.empty:
        return
    names = {"IMAGE_ID": pairs.index, "NEAR_DUPLICATE_OF": pairs}
    flags = pd.DataFrame({name: [ids[32 * i : 32 * i + 32].hex() for i in places] for name, places in names.items()})
    with temporary(session, "IMAGE_ID STRING, NEAR_DUPLICATE_OF STRING", flags) as flagged:
        session.sql(
            f"MERGE INTO {table} C USING {flagged} F ON C.IMAGE_ID = F.IMAGE_ID "
            "WHEN MATCHED THEN UPDATE SET NEAR_DUPLICATE_OF = F.NEAR_DUPLICATE_OF"
        ).collect()


def near_duplicates(session: Session, settings: Settings) -> pd.DataFrame:
    """The flagged pairs, each image beside what it resembles: names, patients and splits."""
    table = settings.qualified(settings.catalog_table)
    return session.sql(f"""
        SELECT A.SOURCE_NAME, A.PATIENT_ID, A.SPLIT, B.SOURCE_NAME AS LIKE_NAME, B.PATIENT_ID AS LIKE_PATIENT,
            B.SPLIT AS LIKE_SPLIT
        FROM {table} A JOIN {table} B ON A.NEAR_DUPLICATE_OF = B.IMAGE_ID
        WHERE A.VANISHED_AT IS NULL AND B.VANISHED_AT IS NULL ORDER BY A.SOURCE_NAME""").to_pandas()


def read_catalog(session: Session, settings: Settings) -> pd.DataFrame:
    """The catalog's images that are still in their source, by image id, so that what follows is reproducible.

    Raises:
        LookupError: there are none; says which notebook to run.
    """
    rows = session.table(settings.qualified(settings.catalog_table))
    # An ingest that was cut off leaves images without a split; the next one gives them theirs.
    rows = rows.filter(col("SPLIT").is_not_null() & col("VANISHED_AT").is_null()).sort("IMAGE_ID").to_pandas()
    if rows.empty:
        raise LookupError(f"{settings.catalog_table} is empty: run notebooks/02_data_ingest.ipynb first")
    return rows
