"""How many parts a JPEG, PNG or TIFF has, counted before a decoder goes through them one by one.

A few bytes can ask for much: a directory whose entries all point at the same megabytes, a chain of directories, a scan
that is repeated, a million empty chunks.
"""

import struct

from cxr.model.codestreams import MAX_SCANS, check_scans, first_scan
from cxr.model.xray import BadImage

MAX_ENTRIES = 1000  # of a directory
MAX_STRIPS = 100_000  # of a TIFF; tiles are strips here
MAX_CHUNKS = 50_000  # of a PNG
MAX_INFLATED_CHUNKS = 50  # of a PNG, beside its pixels; each may grow to 1 MB
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_EXIF, _GPS, _INTEROPERABILITY = 34665, 34853, 40965
_STRIPS = (273, 279, 324, 325)  # offsets and lengths, of strips and of tiles
_COMPRESSION, _PHOTOMETRIC_INTERPRETATION = 259, 262
_JPEG = 7
_COMPRESSIONS = (1, 2, 3, 4, 5, _JPEG, 8, 32773, 32946, 50000)  # not LZMA and WebP, which are slow, nor JPEG of 1992


def check_parts(data: bytes) -> None:
    """Raises BadImage for what would take a decoder too long; other kinds of file pass."""
    if data.startswith(b"\xff\xd8"):
        check_scans(data)
        _check_directories_inside(data[: first_scan(data)])
    elif data.startswith(b"\x89PNG"):
        _check_png(data)
    elif data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        _check_tiff(data)


def _check_directories_inside(data: bytes) -> None:
    """EXIF (APP1) and the index of a picture of several (APP2), in a JPEG's headers."""
    view = memoryview(data)
    for mark in (b"Exif\0\0", b"MPF\0"):
        place, found = data.find(mark), 0
        while place >= 0:
            found += 1
            if found > 16:
                raise BadImage("unsupported", "a picture with more than 16 EXIF blocks")
            check_directory(view[place + len(mark) :])  # decoders join such blocks, so one may reach into the next
            place = data.find(mark, place + 1)


def _check_png(data: bytes) -> None:
    place, count, inflated = 8, 0, 0
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        count, inflated = count + 1, inflated + (kind in (b"iCCP", b"zTXt", b"iTXt"))
        if count > MAX_CHUNKS or inflated > MAX_INFLATED_CHUNKS:
            raise BadImage("unsupported", "a PNG of too many chunks")
        body = data[place + 8 : place + 8 + min(length, 2**20)] if kind in (b"IHDR", b"eXIf") else b""
        if kind == b"IHDR" and len(body) >= 10 and body[8] == 16 and body[9] != 0:
            raise BadImage("unsupported", "a PNG of 16 bits with colour or transparency")
        if kind == b"eXIf":
            if length > 2**16:
                raise BadImage("unsupported", "an EXIF block of more than 64 KiB")
            check_directory(body)
        place += 12 + length


def _check_tiff(data: bytes) -> None:
    entries, following = check_directory(data)
    if following:
        raise BadImage("multiframe", "more than one image in the file; one is read")
    if _PHOTOMETRIC_INTERPRETATION not in entries:
        raise BadImage("unreadable", "the TIFF has no PhotometricInterpretation: nobody knows which end is white")
    strips = max((entries[tag][0] for tag in _STRIPS if tag in entries), default=0)
    compression = entries.get(_COMPRESSION, (1, 1))[1]
    if strips > MAX_STRIPS or (compression == _JPEG and data.count(b"\xff\xda") > MAX_SCANS + strips):
        raise BadImage("unsupported", f"a TIFF of more than {MAX_STRIPS} strips or tiles, or of JPEG in many scans")
    if compression not in _COMPRESSIONS:
        raise BadImage("unsupported", "a TIFF that is compressed in a way that no X-ray is")


def check_directory(data: bytes | memoryview) -> tuple[dict[int, tuple[int, int]], int]:
    """A TIFF's directory and those it names, as EXIF has them too. Returns ({tag: (count, value or offset)}, the next).

    What is no directory is left to the decoder.
    """
    data = data[6:] if data[:6] == b"Exif\0\0" else data
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    big = data[2:4] in (b"+\0", b"\0+")
    if not order or len(data) < (16 if big else 8):
        return {}, 0
    first = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, 8 if big else 4)[0]
    entries, following = _entries(data, first, order, big)
    for tag in (_EXIF, _GPS, _INTEROPERABILITY):
        if tag in entries:
            inner, _ = _entries(data, entries[tag][1], order, big)
            if tag == _EXIF and _INTEROPERABILITY in inner:
                _entries(data, inner[_INTEROPERABILITY][1], order, big)
    return entries, following


def _entries(data: bytes | memoryview, place: int, order: str, big: bool) -> tuple[dict[int, tuple[int, int]], int]:
    head, entry, after = ("Q", "HHQQ", "Q") if big else ("H", "HHII", "I")
    if place + struct.calcsize(f"={head}") > len(data):
        return {}, 0
    count = struct.unpack_from(f"{order}{head}", data, place)[0]
    if count > MAX_ENTRIES:
        raise BadImage("unsupported", f"a directory of more than {MAX_ENTRIES} entries")
    place += struct.calcsize(f"={head}")
    step, entries, total = struct.calcsize(f"={entry}"), {}, 0
    for start in range(place, min(place + count * step, len(data) - step + 1), step):
        tag, kind, number, value = struct.unpack_from(f"{order}{entry}", data, start)
        if kind == 3 and number == 1:  # a short stands at the beginning of its field
            value = struct.unpack_from(f"{order}H", data, start + step - (8 if big else 4))[0]
        entries[tag] = number, value
        size = number * _SIZES.get(kind, 1)
        total += min(size, max(0, len(data) - value)) if size > 4 else 0
    if total > 2 * len(data):
        raise BadImage("unreadable", "the entries of a directory are larger than the file")
    end = place + count * step
    whole = end + struct.calcsize(f"={after}") <= len(data)
    return entries, struct.unpack_from(f"{order}{after}", data, end)[0] if whole else 0
