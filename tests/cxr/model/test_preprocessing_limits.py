"""Files made to hurt: each is read or refused within 2 s of CPU, and nothing but BadImage is ever raised.

The long forms, with the memory of each file, are `python3 ci soak structures` and `mutations`.
"""

import struct
import time
import zlib
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import JPEGBaseline8Bit
from tests.bad_structures import build
from tests.dicom_files import FIRST_ELEMENT, chest, dicom
from tests.pictures import encoded

from cxr.model import preprocessing
from cxr.model.preprocessing import BadImage

U8 = np.rint(chest() * 255).astype(np.uint8)
META = dicom(U8, 8, 8)[: dicom(U8, 8, 8).index(FIRST_ELEMENT)]
ITEM, UNDEFINED = b"\xfe\xff\x00\xe0", b"\xff\xff\xff\xff"
SEQUENCE = struct.pack("<HH2s2xI", 0x0008, 0x1140, b"SQ", 2**32 - 1)


def deflated(distance: int) -> bytes:
    """30 MB in 30 KB, behind a file meta that ends where nobody looks."""
    meta = META.replace(b"UI\x14\x001.2.840.10008.1.2.1\x00", b"UI\x16\x001.2.840.10008.1.2.1.99")
    private = struct.pack("<HH2s2xI", 2, 0x0102, b"OB", distance) + bytes(distance)
    return meta + private + zlib.compress(bytes(3 * 10**7))[2:]


def repeated_scans(count: int) -> bytes:
    data = encoded(Image.fromarray(U8).resize((2000, 2000)), "JPEG", progressive=True)
    place = data.rfind(b"\xff\xda")
    return data[:place] + data[place:-2] * count + b"\xff\xd9"


def directory(entries: int, next_one: int = 0, size: int = 60_000) -> bytes:
    """Every entry says that it is `size` bytes, and the same ones."""
    body = b"".join(struct.pack("<HHII", 50_000 + number, 7, size, 0) for number in range(entries))
    return b"II*\0" + struct.pack("<IH", 8, entries) + body + struct.pack("<I", next_one)


def chain(count: int) -> bytes:
    links = [struct.pack("<HHHIII", 1, 256, 4, 1, 64, 8 + 18 * (number + 1)) for number in range(count)]
    return b"II*\0" + struct.pack("<I", 8) + b"".join(links)


def png_with(kind: bytes, body: bytes, count: int) -> bytes:
    data = encoded(U8)
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data[:33] + chunk * count + data[33:]


def jpeg_with(mark: bytes, marker: int, body: bytes, count: int = 1) -> bytes:
    data = encoded(U8, "JPEG")
    return data[:2] + (struct.pack(">BBH", 0xFF, marker, 2 + len(mark) + len(body)) + mark + body) * count + data[2:]


HOSTILE = {  # name -> (what is said of it, how it is made)
    "deflated": ("deflated", lambda: deflated(10)),
    "deflated behind a long meta": ("deflated", lambda: deflated(50_000)),
    "elements without end": ("too many elements", lambda: META + b"\x09\x00\x10\x10LO\x00\x00" * 10**6),
    "items without end": ("too many elements", lambda: META + SEQUENCE + (ITEM + bytes(4)) * 10**6),
    "sequences in sequences": ("RecursionError", lambda: META + (SEQUENCE + ITEM + UNDEFINED) * 50_000),
    "a table's items without end": (
        "too many elements",
        lambda: dicom(U8, 8, 8, raw={"VOILUTSequence": ("SQ", (ITEM + bytes(4)) * 10**6)}),
    ),
    "fragments without end": (
        "too many elements",
        lambda: dicom(U8, 8, 8, syntax=JPEGBaseline8Bit, codestream=[encoded(U8, "JPEG")], Rows=120).replace(
            ITEM + b"\x04" + bytes(7), (ITEM + bytes(4)) * 10**6, 1
        ),
    ),
    "scans": ("scans", lambda: repeated_scans(500)),
    "overlapping entries in EXIF": (
        "larger than the file",
        lambda: jpeg_with(b"Exif\0\0", 0xE1, directory(900).ljust(60_000, b"\0")),
    ),
    "overlapping entries in a text": (
        "larger than the file",
        lambda: png_with(
            b"tEXt", b"Raw profile type exif\0\nexif\n60000\n" + directory(900).ljust(60_000, b"\0").hex().encode(), 1
        ),
    ),
    "overlapping entries in blocks that are joined": (
        "larger than the file",
        lambda: jpeg_with(b"Exif\0\0", 0xE1, directory(900, size=600_000).ljust(60_000, b"\0"), count=12),
    ),
    "overlapping entries in an index": (
        "larger than the file",
        lambda: jpeg_with(b"MPF\0", 0xE2, directory(900).ljust(60_000, b"\0")),
    ),
    "overlapping entries in a TIFF": ("larger than the file", lambda: directory(900) + bytes(10**6)),
    "a chain of directories": ("multiframe", lambda: chain(10**5)),
    "a directory that follows itself": ("multiframe", lambda: directory(3, next_one=8) + bytes(10**6)),
    "empty chunks": ("too many chunks", lambda: png_with(b"IDAT", b"", 10**6)),
    "profiles that inflate": (
        "too many chunks",
        lambda: png_with(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**6)), 10**4),
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_made_to_hurt_is_refused_at_once(name):
    said, make = HOSTILE[name]
    data = make()
    start = time.process_time()
    with pytest.raises(BadImage, match=said):
        preprocessing.decode(data, at_least=256)
    assert time.process_time() - start < 2


def test_files_of_bad_structure_are_read_or_refused_in_time():
    said, slowest = Counter(), 0.0
    for seed in range(40):
        data = build(np.random.default_rng(seed))
        start = time.process_time()
        try:
            preprocessing.decode(data, at_least=256)
            said["read"] += 1
        except BadImage as bad:
            said[bad.reason] += 1
        slowest = max(slowest, time.process_time() - start)
    assert slowest < 2 and len(said) > 5 and said["read"] < 30


def test_whatever_a_decoder_raises_refuses_one_file_and_is_named(monkeypatch):
    def broken(data, at_least):
        raise RecursionError("with the patient's name in it")

    monkeypatch.setattr(preprocessing, "decode_picture", broken)
    with pytest.raises(BadImage) as caught:
        preprocessing.decode(encoded(U8))
    assert str(caught.value) == "unreadable: the decoder stopped with RecursionError"
