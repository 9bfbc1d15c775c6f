"""Near duplicates, found in the account, against the plain definition: each fingerprint compared with each."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxr.account import tables
from cxr.data import duplicates
from cxr.data.in_account.fingerprints import fingerprint
from cxr.phantoms.dataset import phantom


def cataloged(project, prints: list[str]) -> pd.DataFrame:
    """Images with these fingerprints; ids in no order."""
    numbers = np.random.default_rng(9).permutation(len(prints))
    rows = pd.DataFrame({"IMAGE_ID": [f"{number:064x}" for number in numbers], "PERCEPTUAL_HASH": prints}).assign(
        RELATIVE_PATH="x", SOURCE="x", SOURCE_NAME="x", FORMAT="PNG", LABEL="NORMAL", WIDTH=1, HEIGHT=1, BYTES=1,
        PATIENT_ID="p",
    )  # fmt: skip
    tables.append(project.session, project.catalog, rows)
    return rows.sort_values("IMAGE_ID", ignore_index=True)


def flags(project) -> list[str | None]:
    """What each image is said to resemble, by image id."""
    duplicates.flag(project)
    rows = project.session.sql(f"SELECT NEAR_DUPLICATE_OF FROM {project.catalog} ORDER BY IMAGE_ID").collect()
    return [row[0] for row in rows]


def bits_of(prints: pd.Series) -> np.ndarray:
    return np.unpackbits(np.array([list(bytes.fromhex(text)) for text in prints], np.uint8), axis=1)


def by_definition(rows: pd.DataFrame) -> list[str | None]:
    bits = bits_of(rows["PERCEPTUAL_HASH"])
    near = np.tril((bits[:, None] != bits).sum(axis=2) <= duplicates.NEAR, -1)
    return [rows["IMAGE_ID"][line.argmax()] if line.any() else None for line in near]


def packed(bits: np.ndarray) -> list[str]:
    return [line.tobytes().hex() for line in np.packbits(bits.astype(np.uint8), axis=1)]


@pytest.mark.parametrize("seed", range(3))
def test_no_near_pair_is_missed_and_no_other_is_found(empty, seed):
    """Clusters around a few centres, up to 12 bits from them, and some fingerprints several times."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (25, duplicates.BITS), np.uint8)[rng.integers(25, size=150)]
    for row in bits:
        row[rng.choice(duplicates.BITS, rng.integers(13), replace=False)] ^= 1
    rows = cataloged(empty, packed(np.concatenate([bits, bits[:5]])))
    expected = by_definition(rows)
    assert 20 < sum(each is not None for each in expected) < 140
    assert flags(empty) == expected


def test_two_that_differ_in_as_many_places_as_may_be_are_a_pair_wherever_these_lie(empty):
    """The worst case: a different bit in every band but one; and one bit more is too many."""
    centres = np.random.default_rng(1).integers(0, 2, (duplicates.NEAR + 2, duplicates.BITS), np.uint8)
    others = centres.copy()
    for same, row in enumerate(others):
        # A bit counts from the highest of a digit, as SQL reads it.
        row[[band[same % 20] for number, band in enumerate(duplicates.BANDS) if number != same]] ^= 1
    rows = cataloged(empty, packed(np.concatenate([centres, others])))
    expected = by_definition(rows)
    assert sum(each is not None for each in expected) == duplicates.NEAR + 1, "the last pair differs in every band"
    assert flags(empty) == expected


def test_the_number_of_statements_and_their_length_do_not_depend_on_the_number_of_images(empty):
    texts = []
    for count in (1, 100):
        cataloged(empty, packed(np.random.default_rng(count).integers(0, 2, (count, duplicates.BITS))))
        with empty.session.query_history() as history:
            duplicates.flag(empty)
        texts.append([query.sql_text for query in history.queries])
        empty.session.sql(f"DELETE FROM {empty.catalog}").collect()
    assert texts[0] == texts[1] and len(texts[0]) == 1


def test_a_copy_in_other_bytes_is_near_and_another_chest_is_not(empty):
    chest, other = (phantom("NORMAL", rng=np.random.default_rng(seed), size=256) for seed in (1, 2))
    image = Image.fromarray(chest)
    copies = [image.resize((150, 150)), image.point(lambda grey: 20 + grey * 0.8)]
    prints = [fingerprint(np.asarray(picture)) for picture in (image, *copies, Image.fromarray(other))]
    rows = cataloged(empty, prints)
    assert sum(each is not None for each in flags(empty)) == 2
    known = rows.loc[rows["PERCEPTUAL_HASH"] == prints[0], "IMAGE_ID"].tolist()
    asked = pd.Series([*prints[1:], prints[1]])
    assert duplicates.resembling(empty, asked, known) == set(prints[1:3])
    assert duplicates.resembling(empty, asked, []) == set()
