"""Near duplicates: the same picture in other bytes, as when it was saved again, resized or brightened.

On the 5,232 Kermany images the closest two different pictures lie 13 bits apart, and a picture and its copy in JPEG
quality 40, half its size or another contrast at most 9. Cropped copies are not found.
"""

import numpy as np
import pandas as pd

from cxr.account.project import Project
from cxr.account.tables import temporary

BITS = 256
NEAR = 10  # bits of BITS


def flag(project: Project) -> None:
    """For each image that has near duplicates with smaller ids, store the smallest of those ids; in one statement.

    Images with the same fingerprint are compared once, so many copies of one picture make no more pairs than one does.
    """
    prints = f"SELECT PERCEPTUAL_HASH AS HASH, MIN(IMAGE_ID) AS ID FROM {project.catalog} GROUP BY PERCEPTUAL_HASH"
    pairs = _near_pairs("A.ID AS FIRST, B.HASH AS SECOND", "BANDED", "BANDED", "A.ID < B.ID")
    project.session.sql(f"""
        MERGE INTO {project.catalog} C USING (
            WITH PRINTS AS ({prints}), BANDED AS ({_banded("PRINTS")})
            SELECT HASH, MIN(ID) AS ID FROM (
                SELECT HASH, ID FROM PRINTS UNION ALL SELECT SECOND AS HASH, FIRST AS ID FROM ({pairs})
            ) GROUP BY HASH
        ) S ON C.PERCEPTUAL_HASH = S.HASH AND S.ID < C.IMAGE_ID
        WHEN MATCHED THEN UPDATE SET NEAR_DUPLICATE_OF = S.ID""").collect()


def resembling(project: Project, fingerprints: pd.Series, image_ids: list[str]) -> set[str]:
    """Those of the fingerprints that are near the one of a cataloged image with one of these ids."""
    prints = pd.DataFrame({"ID": "", "HASH": fingerprints.unique()})
    with (
        temporary(project.session, "IMAGE_ID STRING", pd.DataFrame({"IMAGE_ID": image_ids})) as among,
        temporary(project.session, "ID STRING, HASH STRING", prints) as asked,
    ):
        known = (
            f"SELECT PERCEPTUAL_HASH AS HASH, MIN(C.IMAGE_ID) AS ID FROM {project.catalog} C "
            f"JOIN {among} M ON M.IMAGE_ID = C.IMAGE_ID GROUP BY PERCEPTUAL_HASH"
        )
        rows = project.session.sql(f"""
            WITH KNOWN AS ({known}), OLD AS ({_banded("KNOWN")}), NEW AS ({_banded(asked)})
            SELECT DISTINCT HASH FROM ({_near_pairs("B.HASH", "OLD", "NEW", "TRUE")})""").collect()
    return {row[0] for row in rows}


def _near_pairs(columns: str, first: str, second: str, condition: str) -> str:
    """A query for the pairs at most NEAR bits apart, some of them several times.

    Two that differ in NEAR bits agree in one of NEAR + 1 bands at least, so only those that share a band are compared.
    """
    difference = "HEX_ENCODE(BITXOR(TO_BINARY(A.HASH, 'HEX'), TO_BINARY(B.HASH, 'HEX')))"
    # Digits without the bit have nothing to be translated to, and fall away.
    bits = " + ".join(f"LENGTH(TRANSLATE({difference}, '{ones}{zeros}', '11111111'))" for ones, zeros in _DIGITS)
    return f"""
        SELECT {columns} FROM {first} A JOIN {second} B ON A.BAND = B.BAND AND A.BITS = B.BITS AND {condition}
        WHERE {bits} <= {NEAR}"""


def _banded(prints: str) -> str:
    """A query for rows (ID, HASH, BAND, BITS), NEAR + 1 for each row (ID, HASH) of the table."""
    planes = ", ".join(
        f"TRANSLATE(UPPER(HASH), '{ones}{zeros}', '1111111100000000') AS P{plane}"
        for plane, (ones, zeros) in enumerate(_DIGITS)
    )
    bands = (
        f"SELECT ID, HASH, {number} AS BAND, "
        f"CONCAT({', '.join(f'SUBSTR(P{bit % 4}, {bit // 4 + 1}, 1)' for bit in band)}) AS BITS FROM PLANES"
        for number, band in enumerate(BANDS)
    )
    return f"WITH PLANES AS (SELECT ID, HASH, {planes} FROM {prints}) {' UNION ALL '.join(bands)}"


# Of the bits of a hexadecimal digit, highest first: the digits that have it, and those that have not.
_DIGITS = [
    tuple("".join(digit for digit in "0123456789ABCDEF" if bool(int(digit, 16) & bit) == has) for has in (True, False))
    for bit in (8, 4, 2, 1)
]
# Neighbouring fields are alike in all chests, so a band takes its bits from all over the picture: fewer share it.
BANDS = [band.tolist() for band in np.array_split(np.random.default_rng(0).permutation(BITS), NEAR + 1)]
