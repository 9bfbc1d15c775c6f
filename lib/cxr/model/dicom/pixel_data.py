"""The words of PixelData, as stored in the file or as decoded by its codec.

Native and RLE pixels are unpacked here, JPEG and JPEG 2000 by Pillow, the rest by a plugin of pydicom if one is there.
Whatever says how large the picture is must agree with Rows x Columns before anything is decoded.
"""

import io
import struct

import numpy as np
from PIL import Image

from cxr.model import codestreams
from cxr.model.dicom.elements import element, raw_bytes, word
from cxr.model.dicom.stored_values import Layout
from cxr.model.xray import BadImage

JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
HTJ2K = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")
JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
JPEG_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
RLE = "1.2.840.10008.1.2.5"


def pixel_words(
    header, syntax, interpretation: str, shape: tuple[int, int, int], layout: Layout
) -> tuple[np.ndarray, str]:
    """(uint8 or uint16 [rows, columns, samples], the photometric interpretation that they have now).

    Args:
        header: of pydicom.
        syntax: its transfer syntax, a UID of pydicom.
        interpretation: its PhotometricInterpretation; a decoder may have made RGB of it.
        shape: rows, columns, samples.
        layout: the header's `Layout`.

    Raises:
        BadImage: the pixels are not of this size, or nothing at hand decodes them.
    """
    if not syntax.is_compressed:
        return _native(header, raw_bytes(header, "PixelData"), shape, layout.allocated // 8), interpretation
    if syntax not in (RLE, *JPEG, *JPEG_2000):
        _check_plugin(syntax)
    stream = _joined_fragments(header)
    if syntax == RLE:
        return _rle(stream, shape, layout.allocated // 8), interpretation
    if layout.high_bit != layout.stored - 1:
        raise BadImage("unsupported", "HighBit is not BitsStored - 1 in a compressed picture")
    stream, found = codestreams.read(stream, is_j2k=syntax in JPEG_2000 + HTJ2K)
    if (found.height, found.width, found.components) != shape:
        raise BadImage("unreadable", "the compressed picture is not of the size that Rows and Columns say")
    if found.precision > layout.allocated:
        raise BadImage("unreadable", "the compressed samples have more bits than BitsAllocated")
    if syntax in JPEG_2000:
        words = _j2k_by_pillow(stream, found, layout.allocated)
        interpretation = "RGB" if interpretation in ("YBR_ICT", "YBR_RCT") else interpretation
    elif syntax in JPEG:
        words, interpretation = _jpeg_by_pillow(stream, found, interpretation)
    else:
        words = _by_plugin(header, syntax, stream, shape)
    words = words.astype(f"u{layout.allocated // 8}", copy=False).reshape(shape)
    if found.precision > layout.stored and not _fits(words, layout.stored, found.signed):
        raise BadImage("unreadable", "the compressed samples have more bits than BitsStored")
    return words, interpretation


def _fits(words: np.ndarray, bits: int, signed: bool) -> bool:
    values = words.view(f"i{words.itemsize}") if signed else words
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    return low <= values.min() and values.max() < high


def _native(header, data: bytes, shape: tuple[int, int, int], bytes_each: int) -> np.ndarray:
    size = shape[0] * shape[1] * shape[2] * bytes_each
    if element(header, "PixelData").length == 0xFFFFFFFF:
        raise BadImage("unreadable", "PixelData is in fragments, which the transfer syntax does not say")
    if len(data) < size:
        raise BadImage("unreadable", "PixelData is shorter than the picture")
    # Some writers fill up with zeros. Whatever else follows is another picture, or not what the header says.
    if len(data) >= 2 * size or data.count(0, size) != len(data) - size:
        raise BadImage("unreadable", "PixelData is longer than the picture")
    found = element(header, "PixelData")
    swapped = not found.is_little_endian
    if bytes_each == 1 and swapped and found.VR == "OW":  # its bytes come in pairs
        samples = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").view(np.uint8)[:size]
    else:
        samples = np.frombuffer(data, f"{'>' if swapped else '<'}u{bytes_each}", size // bytes_each)
    planes = shape[2] > 1 and word(header, "PlanarConfiguration", 0) == 1
    return np.moveaxis(samples.reshape(shape[2], *shape[:2]), 0, 2) if planes else samples.reshape(shape)


def _joined_fragments(header) -> bytes:
    """The frame, taken out of the header: the items of PS3.5 A.4 but the first, which holds offsets."""
    data = raw_bytes(header, "PixelData")
    if element(header, "PixelData").length != 0xFFFFFFFF:
        raise BadImage("unreadable", "PixelData is not in fragments, as the transfer syntax says")
    fragments, place = [], 0
    while place < len(data):
        if data[place : place + 4] != b"\xfe\xff\x00\xe0" or len(data) < place + 8:
            break
        length = struct.unpack_from("<I", data, place + 4)[0]
        if place + 8 + length > len(data):
            raise BadImage("unreadable", "a fragment of PixelData is longer than the file")
        fragments.append(data[place + 8 : place + 8 + length])
        place += 8 + length
    if len(fragments) < 2:
        raise BadImage("unreadable", "PixelData holds no fragment")
    del header["PixelData"], data
    return b"".join(fragments[1:])


def _rle(stream: bytes, shape: tuple[int, int, int], bytes_each: int) -> np.ndarray:
    """PS3.5 annex G: a segment for each byte of each sample, the most significant first, each packed as in TIFF."""
    count, *starts = struct.unpack_from("<16I", stream.ljust(64, b"\0"))
    starts = starts[:count] + [len(stream)]
    if count != shape[2] * bytes_each or starts[0] < 64 or starts != sorted(starts):
        raise BadImage("unreadable", "the RLE header does not fit the picture or its own segments")
    pixels, view = shape[0] * shape[1], memoryview(stream)
    words = np.empty((pixels, shape[2], bytes_each), np.uint8)
    for number, (start, end) in enumerate(zip(starts, starts[1:], strict=False)):
        try:
            plane = Image.frombytes("L", (pixels, 1), view[start:end], "packbits", "L")
        except ValueError:
            raise BadImage("unreadable", "an RLE segment is shorter than the picture") from None
        sample, place = divmod(number, bytes_each)
        words[:, sample, bytes_each - 1 - place] = np.asarray(plane)[0]
    return words.view(f"<u{bytes_each}").reshape(shape)


def _opened(stream: bytes, kind: str, found: codestreams.Codestream) -> Image.Image:
    image = Image.open(io.BytesIO(stream), formats=(kind,))
    if image.size != (found.width, found.height):
        raise BadImage("unreadable", "the decoder sees another size than the header of the codestream")
    return image


def _j2k_by_pillow(stream: bytes, found: codestreams.Codestream, allocated: int) -> np.ndarray:
    """Pillow widens samples to 8 or 16 bits and makes signed ones positive; both are undone here."""
    image = _opened(stream, "JPEG2000", found)
    if image.mode not in ("L", "I;16", "RGB") or (image.mode == "RGB" and found.precision != 8):
        raise BadImage("unsupported", "JPEG 2000 of other than 8 to 16 bits of grey or 8 bits of colour")
    words = np.asarray(image)
    words = words >> (8 * words.itemsize - found.precision)
    if found.signed:
        words = (words.astype(np.int32) - 2 ** (found.precision - 1)) & (2**allocated - 1)
    return words


def _jpeg_by_pillow(stream: bytes, found: codestreams.Codestream, interpretation: str) -> tuple[np.ndarray, str]:
    if found.precision != 8:
        raise BadImage("unsupported", f"JPEG of {found.precision} bits")
    image = _opened(stream, "JPEG", found)
    if found.components == 3:
        if "adobe_transform" in image.info:
            interpretation = "RGB"  # Adobe's mark says what the samples are, and the decoder heeds it
        else:
            image.draft("YCbCr", image.size)  # without the mark the decoder takes RGB for YCbCr
    return np.asarray(image), interpretation


def _check_plugin(syntax) -> None:
    # Loaded already: the header was read before.
    from pydicom.pixels import get_decoder

    if syntax not in HTJ2K + JPEG_LS + JPEG_LOSSLESS or not get_decoder(syntax).is_available:
        raise BadImage("unsupported", f"no plugin of pydicom reads {syntax.name} here")


def _by_plugin(header, syntax, stream: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    # Loaded already: the header was read before.
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder

    header.PixelData = encapsulate([stream], has_bot=False)
    pixels = get_decoder(syntax).as_array(header, raw=True)[0]
    return pixels.view(f"u{pixels.itemsize}").reshape(shape)
