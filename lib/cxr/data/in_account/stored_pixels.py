"""Decoded pixels in the account: the warehouse decodes each image once, and training reads rows of PIXELS.

Neither the images' files nor a mount of their stage is needed where the rows are read.
"""

from pathlib import PurePosixPath
from typing import BinaryIO

import numpy as np
import pandas as pd

from cxr.account import migrate
from cxr.account.project import Project
from cxr.account.scratch import filled_table
from cxr.account.tables import run_long
from cxr.data import sources
from cxr.data.in_account import functions
from cxr.model.preprocessing import PREPROCESSING_VERSION, BadImage
from cxr.progress import tqdm

_AT_ONCE = 256  # rows that are copied on their way into the file


def copy(project: Project, catalog: pd.DataFrame, size: int, out: BinaryIO) -> None:
    """Write all images of the catalog to a file, as an array of NumPy: uint8 [N, size, size], in the catalog's order.

    What PIXELS lacks is decoded first, by the warehouse. No more than a part of the answer is in memory at a time.

    Raises:
        FileNotFoundError: the stage lacks files that the catalog names.
        BadImage: a file on the stage is not what was cataloged; names it. The others are decoded.
    """
    migrate.upgrade(project)
    count = len(catalog)
    rows = zip(catalog["IMAGE_ID"], range(count), strict=True)
    with filled_table(project.session, "IMAGE_ID STRING, POSITION NUMBER(38, 0)", rows) as wanted:
        fill(project, wanted, size)
        _copy_rows(project, wanted, count, size, out)


def fill(project: Project, wanted: str, size: int) -> None:
    """Decode what PIXELS lacks of the images of a table with the column IMAGE_ID, all in one statement.

    Raises:
        FileNotFoundError, BadImage: as :func:`copy`.
    """
    session = project.session
    names = {"wanted": wanted, "catalog": project.catalog, "pixels": project.pixels, "size": size}
    names |= {"stage": project.images_stage, "version": PREPROCESSING_VERSION}
    missing = session.sql(f"SELECT COUNT(*) {_MISSING.format(**names)}").collect()[0][0]
    if not missing:
        return
    decode = functions.define(project, "pixels", {"image_id": "STRING", "side": "INT"})
    with tqdm(total=missing, unit="image", desc="decoding in the account", mininterval=5) as progress:
        run_long(session, _FILL.format(decode=decode, **names))
        progress.update(missing)
    if session.sql(f"SELECT COUNT(*) {_MISSING.format(**names)}").collect()[0][0]:
        _explain(project, wanted, _ANSWERS.format(decode=decode, **names))


_MISSING = """
FROM {wanted} W JOIN {catalog} C ON C.IMAGE_ID = W.IMAGE_ID
LEFT JOIN {pixels} P ON P.IMAGE_ID = W.IMAGE_ID AND P.SIDE = {size} AND P.PREPROCESSING_VERSION = {version}
WHERE P.IMAGE_ID IS NULL"""
_ANSWERS = f"""
SELECT C.IMAGE_ID, C.RELATIVE_PATH,
    {{decode}}(BUILD_SCOPED_FILE_URL({{stage}}, C.RELATIVE_PATH), C.IMAGE_ID, {{size}}) AS ANSWER {_MISSING}"""
# MERGE, because another session may decode the same images at the same time.
_FILL = f"""
MERGE INTO {{pixels}} P USING ({_ANSWERS}) A
ON P.IMAGE_ID = A.IMAGE_ID AND P.SIDE = {{size}} AND P.PREPROCESSING_VERSION = {{version}}
WHEN NOT MATCHED AND A.ANSWER:pixels IS NOT NULL THEN
    INSERT (IMAGE_ID, SIDE, PREPROCESSING_VERSION, DECODERS, PIXELS)
    VALUES (
        A.IMAGE_ID, {{size}}, {{version}}, A.ANSWER:decoders::STRING, TO_BINARY(A.ANSWER:pixels::STRING, 'BASE64')
    )"""


def _explain(project: Project, wanted: str, answers: str) -> None:
    """Raise for images that were not decoded: they are looked at once more, each to say why."""
    _refuse_missing(project, wanted)
    refused = project.session.sql(
        f"SELECT RELATIVE_PATH, ANSWER:reason::STRING AS REASON, ANSWER:detail::STRING AS DETAIL FROM ({answers}) "
        "ORDER BY RELATIVE_PATH"
    ).collect()
    if refused:
        name, more = PurePosixPath(refused[0]["RELATIVE_PATH"]).name, len(refused) - 1
        detail = f"{name}: {refused[0]['DETAIL']}{f' (and {more} more files)' if more else ''}"
        raise BadImage(refused[0]["REASON"], f"{detail}; run notebooks/02_data_ingest.ipynb")


def read(project: Project, image_ids: list[str], size: int) -> dict[str, np.ndarray]:
    """Image id -> uint8 [size, size], of those that the account has decoded; for a few images."""
    migrate.upgrade(project)
    table = project.session.table(project.pixels)
    is_wanted = table["IMAGE_ID"].isin(image_ids) & (table["SIDE"] == size)
    rows = table.filter(is_wanted & (table["PREPROCESSING_VERSION"] == PREPROCESSING_VERSION)).collect()
    return {row["IMAGE_ID"]: np.frombuffer(row["PIXELS"], np.uint8).reshape(size, size) for row in rows}


def _refuse_missing(project: Project, wanted: str) -> None:
    """Say so if files could not be read because they are not there."""
    sources.refresh(project.session, project.images_stage[1:])
    lost = project.session.sql(f"""
        SELECT COUNT(*), MIN(IFF(D.RELATIVE_PATH IS NULL, C.RELATIVE_PATH, NULL)), COUNT_IF(D.RELATIVE_PATH IS NULL)
        FROM {wanted} W JOIN {project.catalog} C ON C.IMAGE_ID = W.IMAGE_ID
        LEFT JOIN DIRECTORY({project.images_stage}) D ON D.RELATIVE_PATH = C.RELATIVE_PATH""").collect()[0]
    if lost[2]:
        raise FileNotFoundError(
            f"{lost[2]} of {lost[0]} cataloged images are not on {project.images_stage} (first: {lost[1]}); "
            "run notebooks/02_data_ingest.ipynb again"
        )


def _copy_rows(project: Project, wanted: str, count: int, size: int, out: BinaryIO) -> None:
    """The rows of PIXELS, each to its place in the file, whatever their order in the answer."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size)}
    np.lib.format.write_array_header_1_0(out, header)
    start = out.tell()
    out.truncate(start + count * size * size)
    out.flush()
    stack = np.memmap(out, np.uint8, "r+", start, (count, size, size)) if count else np.empty((0, size, size), np.uint8)
    is_there = np.zeros(count, bool)
    rows = project.session.sql(f"""
        SELECT W.POSITION, P.PIXELS FROM {wanted} W JOIN {project.pixels} P ON P.IMAGE_ID = W.IMAGE_ID
        WHERE P.SIDE = {size} AND P.PREPROCESSING_VERSION = {PREPROCESSING_VERSION}""")
    with tqdm(total=count, unit="image", desc="reading PIXELS", mininterval=5) as progress:
        for part in (few for many in rows.to_arrow_batches() for few in many.to_batches(_AT_ONCE)):
            positions = part["POSITION"].to_numpy()
            whole = b"".join(part["PIXELS"].to_pylist())
            stack[positions] = np.frombuffer(whole, np.uint8).reshape(-1, size, size)
            is_there[positions] = True
            progress.update(len(positions))
    if not is_there.all():
        raise RuntimeError(
            f"{project.pixels} lacks {count - is_there.sum()} of {count} images that were just decoded: another "
            "session removed them. Run this again"
        )
