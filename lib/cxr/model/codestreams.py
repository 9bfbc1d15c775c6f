"""Check the sizes inside a compressed picture before a decoder, which trusts them, allocates memory.

JPEG and JPEG-LS (ISO 10918-1, 14495-1), JPEG 2000 (15444-1).
"""

import struct
from dataclasses import dataclass

from cxr.model.xray import BadImage

MAX_SCANS = 100  # of a JPEG; encoders write up to 15
MAX_J2K_BYTES = 10 * 2**20  # what a core decodes in 1.5 s
MAX_J2K_PIXELS = 24_000_000  # the decoder takes 8 bytes for each
MAX_J2K_TILES = 4096
MAX_J2K_LAYERS = 64
MIN_J2K_PRECINCT = 5  # as a power of two
_J2K_START = b"\xff\x4f\xff\x51"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_ARITHMETIC = frozenset(range(0xC9, 0xD0))


@dataclass(frozen=True)
class Codestream:
    width: int
    height: int
    components: int
    precision: int  # bits a sample
    signed: bool = False


def read(data: bytes, is_j2k: bool) -> tuple[bytes, Codestream]:
    """(the codestream alone, its header). Raises BadImage."""
    if not is_j2k:
        return data, read_jpeg(data)
    # Without the boxes of a JP2 file, which DICOM forbids and some files have.
    data = data[max(data.find(_J2K_START), 0) :] if data[4:8] == b"jP  " else data
    return data, read_j2k(data)


def read_jpeg(data: bytes) -> Codestream:
    """The frame header of a JPEG or JPEG-LS codestream.

    Raises:
        BadImage: there is none or more than one, or the codestream has too many scans.
    """
    if data[:2] != b"\xff\xd8":
        raise BadImage("unreadable", "the pixels are not the JPEG that the transfer syntax says")
    frames, scan = _jpeg_frames(data)
    if not scan or len(frames) != 1 or len(frames[0][1]) < 6:
        raise BadImage("unreadable", "the JPEG has not one frame header before its pixels")
    if frames[0][0] in _ARITHMETIC:
        raise BadImage("unsupported", "JPEG with arithmetic coding")
    check_scans(data)
    precision, height, width, components = struct.unpack_from(">BHHB", frames[0][1])
    return Codestream(width, height, components, precision)


def _jpeg_frames(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """(marker and content of each frame header, where the first scan begins), or 0 for a place that is not found."""
    frames, place = [], 2
    while len(data) >= place + 4 and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == 0xDA:
            return frames, place
        if marker in _FRAMES:
            frames.append((marker, data[place + 4 : place + 2 + length]))
        place += 1 if marker == 0xFF else 2 + length  # 0xFF may be repeated before a marker
    return frames, 0


def first_scan(data: bytes) -> int:
    """Where a JPEG's headers end; the end of `data` if that is unknown."""
    return _jpeg_frames(data)[1] or len(data)


def count_scans(data: bytes) -> int:
    """How often the decoder goes through all pixels of a JPEG, or more."""
    frames, scan = _jpeg_frames(data)
    if scan and len(frames) == 1 and frames[0][0] in (0xC0, 0xC1) and data[scan + 4 : scan + 5] == frames[0][1][5:6]:
        return 1  # sequential, and the first scan holds every component: the decoder takes no second one
    return data.count(b"\xff\xda")


def check_scans(data: bytes) -> None:
    """Raises BadImage."""
    if count_scans(data) > MAX_SCANS:
        raise BadImage("unsupported", f"a JPEG of more than {MAX_SCANS} scans")


def read_j2k(data: bytes) -> Codestream:
    """The main header of a JPEG 2000 codestream.

    Raises:
        BadImage: it is damaged, or takes the decoder too long.
    """
    if data[:4] != _J2K_START or len(data) < 42:
        raise BadImage("unreadable", "the pixels are not the JPEG 2000 that the transfer syntax says")
    x, y, x_start, y_start, tile_x, tile_y, tile_x0, tile_y0, components = struct.unpack_from(">8IH", data, 8)
    sampling = data[42 : 42 + 3 * components]
    if not components or len(sampling) < 3 * components or x <= x_start or y <= y_start or not (tile_x and tile_y):
        raise BadImage("unreadable", "the JPEG 2000 header is damaged")
    width, height = x - x_start, y - y_start
    if any(step != 1 for place in (1, 2) for step in sampling[place::3]) or len(set(sampling[::3])) > 1:
        raise BadImage("unsupported", "JPEG 2000 whose components differ in size or depth")
    if len(data) > MAX_J2K_BYTES or width * height * components > MAX_J2K_PIXELS:
        raise BadImage("too_large", "more JPEG 2000 than can be decoded in 2 s")
    if -(-(x - tile_x0) // tile_x) * -(-(y - tile_y0) // tile_y) > MAX_J2K_TILES:
        raise BadImage("unsupported", f"JPEG 2000 of more than {MAX_J2K_TILES} tiles")
    _check_headers(data)
    return Codestream(width, height, components, (sampling[0] & 0x7F) + 1, bool(sampling[0] & 0x80))


def _check_headers(data: bytes) -> None:
    """Layers and precincts, for each of which the decoder keeps a record: in the headers of the file and its tiles."""
    place = 2
    while len(data) >= place + 4:
        marker, length = struct.unpack_from(">HH", data, place)
        if marker == 0xFF90:  # SOT: a part of a tile begins
            if len(data) < place + 12:
                return
            part = struct.unpack_from(">I", data, place + 6)[0]
            _check_part(data, place + 12)
            if part < 14:  # 0: as far as the file goes
                return
            place += part
            continue
        if marker == 0xFFD9:
            return
        _check_coding(marker, data[place + 4 : place + 2 + length])
        if length < 2 or marker < 0xFF00:
            raise BadImage("unreadable", "the JPEG 2000 header is damaged")
        place += 2 + length


def _check_part(data: bytes, place: int) -> None:
    while len(data) >= place + 4:
        marker, length = struct.unpack_from(">HH", data, place)
        if marker == 0xFF93:  # SOD
            return
        _check_coding(marker, data[place + 4 : place + 2 + length])
        if length < 2:
            raise BadImage("unreadable", "the JPEG 2000 header is damaged")
        place += 2 + length


def _check_coding(marker: int, segment: bytes) -> None:
    """A COD or COC segment: how a tile, or one component of it, is coded."""
    if marker == 0xFF5F:  # POC
        raise BadImage("unsupported", "JPEG 2000 whose order of progression changes")
    if marker not in (0xFF52, 0xFF53):
        return
    layers, style = (int.from_bytes(segment[2:4], "big"), segment[5:]) if marker == 0xFF52 else (1, segment[2:])
    if len(style) < 5:
        raise BadImage("unreadable", "the JPEG 2000 header is damaged")
    own_precincts = segment[0 if marker == 0xFF52 else 1] & 1
    levels, blocks, precincts = style[0], style[1:3], style[5 : 6 + style[0]] if own_precincts else b""
    if layers > MAX_J2K_LAYERS or levels > 10 or max(blocks) > 8 or min(blocks) < 1:
        raise BadImage("unsupported", f"JPEG 2000 of more than {MAX_J2K_LAYERS} layers or 10 levels, or of odd blocks")
    # The first precinct is that of the smallest picture, which is small anyhow.
    if any(min(size & 15, size >> 4) < MIN_J2K_PRECINCT for size in precincts[1:]):
        raise BadImage("unsupported", f"JPEG 2000 with precincts of less than {2**MIN_J2K_PRECINCT} pixels")
