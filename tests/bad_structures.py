"""Files whose parts are whole and whose structure is not: for tests in bulk.

`mutate` of `broken_files` damages bytes at random; hardly ever does a length, a size or a count come out that a decoder
believes. Here they are written on purpose: sizes that disagree, chains, nests, overlaps, repeats.
"""

import struct
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image
from pydicom import uid
from tests.dicom_files import FIRST_ELEMENT, chest, dicom, lut
from tests.pictures import encoded

NUMBERS = (0, 1, 2, 3, 7, 8, 12, 15, 16, 31, 32, 33, 64, 255, 256, 1000, 4096, 11_000, 32_767, 32_768, 65_535)
LARGE = (*NUMBERS, 65_536, 10**6, 2**31 - 1, 2**31, 2**32 - 1)
U8 = np.rint(chest() * 255).astype(np.uint8)
_ELEMENTS = (
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"),
    *("PlanarConfiguration", "PixelPaddingValue", "PixelPaddingRangeLimit", "NumberOfFrames", "WindowCenter"),
    *("WindowWidth", "RescaleSlope", "RescaleIntercept", "PixelSpacing", "PixelAspectRatio", "PatientAge"),
    *("PhotometricInterpretation", "VOILUTFunction", "PresentationLUTShape", "PatientID", "SpecificCharacterSet"),
    *("VOILUTSequence", "ModalityLUTSequence", "PixelData", "RedPaletteColorLookupTableDescriptor"),
)
_SYNTAXES = (
    *(uid.ExplicitVRLittleEndian, uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLosslessSV1, uid.RLELossless),
    *(
        uid.JPEG2000,
        uid.JPEG2000Lossless,
        uid.JPEGLSLossless,
        uid.HTJ2K,
        uid.MPEG2MPML,
        uid.DeflatedExplicitVRLittleEndian,
    ),
)


def build(rng: np.random.Generator) -> bytes:
    """One file; the same state gives the same bytes."""
    return _KINDS[int(rng.integers(len(_KINDS)))](rng)


def _pick(rng: np.random.Generator, choices):
    return choices[int(rng.integers(len(choices)))]


@cache
def _encoded(kind: str, side: int = 0, **options) -> bytes:
    image = Image.fromarray(U8)
    return encoded(image.resize((side, side)) if side else image, kind, **options)


# ---------------------------------------------------------------- DICOM


def odd_elements(rng: np.random.Generator) -> bytes:
    """Up to four elements with values, types and lengths of others."""
    raw = {}
    for _ in range(int(rng.integers(1, 5))):
        value = _pick(
            rng,
            (
                b"",
                struct.pack("<H", _pick(rng, NUMBERS)),
                struct.pack("<I", _pick(rng, LARGE)),
                str(_pick(rng, LARGE)).encode() + b" ",
                b"1\\" * int(rng.integers(1, 4000)) + b"1 ",
                b"-0.5e9\\",
                b"MONOCHROME1\\RGB ",
                rng.bytes(2 * int(rng.integers(1, 40))),
                b"\xfe\xff\x00\xe0\x00\x00\x00\x00" * int(rng.integers(1, 2000)),
            ),
        )
        raw[_pick(rng, _ELEMENTS)] = (
            _pick(rng, ("US", "SS", "DS", "IS", "CS", "UN", "OB", "OW", "SQ", "FD", "LO")),
            value,
        )
    return dicom(U8, 8, 8, raw=raw)


def odd_codestream(rng: np.random.Generator) -> bytes:
    """A codestream of another size, kind or syntax than the header says."""
    kind = _pick(rng, ("JPEG", "JPEG2000"))
    options = {"no_jp2": bool(rng.random() < 0.7)} if kind == "JPEG2000" else {"progressive": bool(rng.random() < 0.5)}
    stream = bytearray(_encoded(kind, int(_pick(rng, (0, 0, 64, 2000))), **options))
    place = stream.find(b"\xff\x4f\xff\x51") if kind == "JPEG2000" else stream.find(b"\xff\xc0")
    if place < 0:
        place = stream.find(b"\xff\xc2")
    for _ in range(int(rng.integers(0, 3))):
        if kind == "JPEG":
            struct.pack_into(">H", stream, place + int(_pick(rng, (5, 7))), _pick(rng, NUMBERS))
        else:
            _odd_j2k(stream, place, rng)
    rows, columns = (_pick(rng, NUMBERS) if rng.random() < 0.3 else side for side in U8.shape)
    fragments = [bytes(stream)]
    if rng.random() < 0.3:
        step = int(rng.integers(1, 200))
        fragments = [bytes(stream[start : start + step]) for start in range(0, len(stream), step)]
    return dicom(U8, 8, 8, syntax=_pick(rng, _SYNTAXES[1:]), codestream=fragments, Rows=rows, Columns=columns)


def _odd_j2k(stream: bytearray, place: int, rng: np.random.Generator) -> None:
    """A size or a tile of SIZ, or a layer, a level, a block or a precinct of COD."""
    coding = stream.find(b"\xff\x52", place)
    if rng.random() < 0.5:
        struct.pack_into(">I", stream, place + 8 + 4 * int(rng.integers(8)), _pick(rng, LARGE))
    elif rng.random() < 0.5:
        struct.pack_into(">H", stream, coding + 6, _pick(rng, NUMBERS))
    else:
        stream[coding + int(rng.integers(4, 14))] = int(rng.integers(256))


def odd_rle(rng: np.random.Generator) -> bytes:
    """Segments that overlap, are missing, or never end."""
    offsets = [_pick(rng, (64, 70, 1000, *LARGE)) for _ in range(15)]
    offsets[0] = 64 if rng.random() < 0.8 else offsets[0]
    header = struct.pack("<16I", _pick(rng, (0, 1, 1, 1, 2, 3, 15, 2**32 - 1)), *offsets)
    body = _pick(rng, (b"\x80" * 10**6, b"\x81\x07" * 10**6, rng.bytes(20_000), b"\x7f" + U8.tobytes()[:128]))
    rows, columns = (_pick(rng, NUMBERS) if rng.random() < 0.5 else side for side in U8.shape)
    return dicom(U8, 8, 8, syntax=uid.RLELossless, codestream=header + body, Rows=rows, Columns=columns)


def odd_tables(rng: np.random.Generator) -> bytes:
    name = _pick(rng, ("VOILUTSequence", "ModalityLUTSequence"))
    count, first, bits = (_pick(rng, NUMBERS) for _ in range(3))
    bits = bits if rng.random() < 0.5 else int(_pick(rng, (8, 12, 16)))
    data = np.arange(_pick(rng, (count or 65536, *NUMBERS))) % 256
    return dicom(U8, 8, 8, **{name: lut(count, first, bits, data)})


def endless_header(rng: np.random.Generator) -> bytes:
    """Many elements, many items, or sequences in sequences, of known or unknown length."""
    whole = dicom(U8, 8, 8)
    start = whole.index(FIRST_ELEMENT)
    count = int(_pick(rng, (100, 10_000, 300_000)))
    item = b"\xfe\xff\x00\xe0"
    undefined = b"\xff\xff\xff\xff"
    begin = struct.pack("<HH2s2xI", 0x0008, 0x1140, b"SQ", 2**32 - 1)
    filling = _pick(
        rng,
        (
            b"\x09\x00\x10\x10LO\x00\x00" * count,
            begin + (item + bytes(4)) * count + b"\xfe\xff\xdd\xe0" + bytes(4),
            (begin + item + undefined) * min(count, 20_000),
            struct.pack("<HH2s2xI", 0x0028, 0x3010, b"SQ", 8 * count) + (item + bytes(4)) * count,
            struct.pack("<HH2s2xI", 0x0009, 0x1010, b"UN", 2**32 - 1) + (item + undefined) * min(count, 20_000),
        ),
    )
    return whole[:start] + filling + whole[start:]


def deflated(rng: np.random.Generator) -> bytes:
    """Little that becomes much, behind a file meta of any length."""
    whole = dicom(U8, 8, 8)
    start = whole.index(FIRST_ELEMENT)
    meta = whole[:start].replace(b"1.2.840.10008.1.2.1\x00", b"1.2.840.10008.1.2.1.99")
    length = struct.unpack_from("<H", meta, meta.index(b"\x02\x00\x10\x00UI") + 6)[0]
    meta = meta.replace(
        b"\x02\x00\x10\x00UI" + struct.pack("<H", length), b"\x02\x00\x10\x00UI" + struct.pack("<H", 22)
    )
    private = struct.pack("<HH2s2xI", 2, 0x0102, b"OB", 2 * int(rng.integers(40_000)))
    private += bytes(struct.unpack_from("<I", private, 8)[0])
    body = _pressed(whole[start:], int(_pick(rng, (0, 10**7, 10**8))))
    return meta + (private if rng.random() < 0.8 else b"") + body


@cache
def _pressed(data: bytes, zeros: int) -> bytes:
    pressed = zlib.compressobj(1, zlib.DEFLATED, -15)
    return pressed.compress(data + bytes(zeros)) + pressed.flush()


def pixels_of_another_length(rng: np.random.Generator) -> bytes:
    rows, columns = _pick(rng, NUMBERS), _pick(rng, NUMBERS)
    data = rng.bytes(int(_pick(rng, (0, 1, 1000, 11_519, 11_521, 23_040, 10**6))))
    return dicom(U8, 8, int(_pick(rng, (8, 16))), Rows=rows, Columns=columns, PixelData=data)


# ---------------------------------------------------------------- pictures


def jpeg_scans(rng: np.random.Generator) -> bytes:
    """A scan or a segment, many times; sometimes of a large picture."""
    data = _encoded("JPEG", int(_pick(rng, (0, 5000))), progressive=bool(rng.random() < 0.7))
    place = data.rfind(b"\xff\xda")
    scan, count = data[place:-2], int(_pick(rng, (1, 50, 99, 1000)))
    scan = scan if rng.random() < 0.5 else scan[: int(rng.integers(12, 400))]
    if rng.random() < 0.3:
        comment = b"\xff\xfe" + struct.pack(">H", 2 + 60_000) + rng.bytes(60_000)
        return data[:2] + comment * min(count, 300) + data[2:]
    return data[:place] + scan * (count if len(scan) < 5000 else min(count, 30)) + data[-2:]


def exif(rng: np.random.Generator) -> bytes:
    """Entries that all point at the same bytes, in JPEG and in PNG, or in the index of a picture of several."""
    directory = _directory(rng, entries=int(_pick(rng, (1, 100, 999, 5000))), size=60_000)[:60_000].ljust(60_000, b"\0")
    mark = _pick(rng, (b"Exif\0\0", b"MPF\0"))
    if rng.random() < 0.6:
        data, marker = _encoded("JPEG"), 0xE1 if mark[0] == 69 else 0xE2
        segment = struct.pack(">BBH", 0xFF, marker, 2 + len(mark) + len(directory)) + mark + directory
        return data[:2] + segment * int(_pick(rng, (1, 3, 40))) + data[2:]
    return _png_with(rng, b"eXIf", directory, 1)


def _directory(rng: np.random.Generator, entries: int, size: int, order: str = "<") -> bytes:
    """A directory at 8 whose entries reach over most of `size` bytes."""
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, min(entries, 65_535))
    some = b""
    for number in range(min(entries, 200)):
        tag = int(_pick(rng, (0x0112, 34665, 34853, 40965, 700, 33723, 37510, 50_000 + number)))
        kind, count = int(_pick(rng, (1, 2, 3, 4, 5, 7, 12, 16))), int(_pick(rng, (1, size // 16, size // 2, size)))
        some += struct.pack(f"{order}HHII", tag, kind, count, int(_pick(rng, (0, 6, 8, 100, size // 2))))
    out += (some * (entries // 200 + 1))[: 12 * entries]
    return out + struct.pack(f"{order}I", int(_pick(rng, (0, 0, 8, 100))))


def png_chunks(rng: np.random.Generator) -> bytes:
    """Empty chunks, texts that inflate, palettes and transparency where none belong."""
    bomb = b"Comment\0\0" + zlib.compress(bytes(10**6))
    kind, body = _pick(
        rng,
        (
            (b"tEXt", b"a\0b"),
            (b"zTXt", bomb),
            (b"iCCP", bomb),
            (b"IDAT", b""),
            (b"tRNS", bytes(2)),
            (b"acTL", bytes(8)),
        ),
    )
    return _png_with(rng, kind, body, int(_pick(rng, (1, 100, 3000, 200_000))))


def _png_with(rng: np.random.Generator, kind: bytes, body: bytes, count: int) -> bytes:
    data = bytearray(_encoded("PNG", int(_pick(rng, (0, 0, 3000)))))
    if rng.random() < 0.3:  # sizes, depth, colour type, interlace
        data[16:29] = struct.pack(
            ">IIBBBBB",
            *(_pick(rng, NUMBERS) for _ in "wh"),
            *(int(_pick(rng, (0, 1, 2, 3, 4, 6, 8, 16))) for _ in "dt"),
            0,
            0,
            int(rng.integers(2)),
        )
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return bytes(data[:33]) + chunk * min(count, 40 * 2**20 // len(chunk)) + bytes(data[33:])


def tiff(rng: np.random.Generator) -> bytes:
    """Tags that disagree with each other and with the strips; chains of directories."""
    order = _pick(rng, "<>")
    pixels = _pick(rng, (U8.tobytes(), zlib.compress(U8.tobytes()), zlib.compress(bytes(2 * 10**7)), rng.bytes(5000)))
    height, width = U8.shape
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(pixels)}
    for _ in range(int(rng.integers(1, 6))):
        tags[int(_pick(rng, (*tags, 266, 274, 284, 317, 320, 322, 323, 324, 325, 330, 338, 339, 34665)))] = _pick(
            rng, LARGE
        )
    tags[259] = int(_pick(rng, (1, 2, 3, 4, 5, 6, 7, 8, 32773, 34925, 50000))) if rng.random() < 0.5 else tags[259]
    body = b""
    for tag in sorted(tags):
        kind, count = (4, 1) if rng.random() < 0.9 else (int(rng.integers(1, 19)), int(_pick(rng, LARGE)))
        body += struct.pack(f"{order}HHII", tag, kind, count, tags[tag])
    following = int(_pick(rng, (0, 0, 0, 8, 8 + len(pixels))))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(pixels))
    return head + pixels + struct.pack(f"{order}H", len(tags)) + body + struct.pack(f"{order}I", following)


def tiff_of_many(rng: np.random.Generator) -> bytes:
    """A long chain of directories, or a directory of overlapping entries."""
    if rng.random() < 0.5:
        return _directory(rng, int(_pick(rng, (10, 900, 60_000))), 10**6, _pick(rng, "<>")) + bytes(10**6)
    count = int(_pick(rng, (2, 1000, 100_000)))
    ends = [8 + 18 * (number + 1) for number in range(count - 1)] + [0]
    return b"II*\0" + struct.pack("<I", 8) + b"".join(struct.pack("<HHHIII", 1, 256, 4, 1, 64, end) for end in ends)


_KINDS: tuple[Callable[[np.random.Generator], bytes], ...] = (
    *(odd_elements, odd_elements, odd_codestream, odd_codestream, odd_codestream, odd_rle, odd_tables, endless_header),
    *(deflated, pixels_of_another_length, jpeg_scans, exif, png_chunks, tiff, tiff, tiff_of_many),
)
