"""Files that no reader of images should trip over. For tests only.

`write_broken_files` makes one file of each kind that a hospital's folder holds beside its X-rays, with the reason code
that is expected of it; `mutate` damages any file at random, for tests in bulk.
"""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from tests.dicom_files import FIRST_ELEMENT, dicom
from tests.pictures import encoded

from cxr.phantoms.dataset import phantom

DUPLICATE = "exact_duplicate.jpeg"


def write_broken_files(folder: Path, seed: int = 0) -> dict[str, str]:
    """Write the files below into `folder`, which is made if need be. The same seed gives the same bytes.

    Args:
        folder: where to; files of the same names are written over.
        seed: for the chest in the images and the noise in the rest.

    Returns:
        File name -> "ok" for odd but valid images, else the reason to refuse it: one of empty, unreadable, truncated,
        unsupported, multiframe, too_large, too_small, aspect_ratio, blank, not_greyscale; and "duplicate" for
        `DUPLICATE`, whose bytes are those of "plain.jpeg".
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    chest = phantom("NORMAL", rng=rng, size=192)
    reasons = {}
    for name, (reason, data) in {**_damaged(chest, rng), **_refused(chest, rng), **_odd_but_valid(chest)}.items():
        (folder / name).write_bytes(data)
        reasons[name] = reason
    return reasons


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Damage a file: one to three of bit flips, truncation, zeros, a foreign header, a cut, a repeat, huge numbers.

    Args:
        data: any bytes; empty ones stay empty or grow.
        rng: the same state and data give the same result.

    Returns:
        The damaged bytes: at most 8 KiB longer per kind of damage than `data`; in rare cases equal to it.
    """
    for _ in range(int(rng.integers(1, 4))):
        data = _MUTATIONS[int(rng.integers(len(_MUTATIONS)))](data, rng)
    return data


def _damaged(chest: np.ndarray, rng: np.random.Generator) -> dict[str, tuple[str, bytes]]:
    jpeg, png = encoded(chest, "JPEG"), encoded(chest, "PNG")
    return {
        "empty.jpeg": ("empty", b""),
        "text.jpeg": ("unreadable", b"Scanned and filed on Monday; the image is on the other disk.\n" * 20),
        "noise.png": ("unreadable", rng.bytes(4096)),
        "header_only.jpeg": ("unreadable", jpeg[:20]),
        "truncated.jpeg": ("truncated", jpeg[: len(jpeg) // 2]),
        "truncated.png": ("truncated", png[: len(png) // 2]),
        "bomb.png": ("too_large", _png_of_declared_size(60_000, 60_000)),
        "longer_than_its_picture.dcm": ("unreadable", _dicom(chest, PixelData=chest.tobytes() * 2)),
        "dicom_without_pixels.dcm": ("unreadable", _dicom(chest, PixelData=...)),
    }


def _refused(chest: np.ndarray, rng: np.random.Generator) -> dict[str, tuple[str, bytes]]:
    return {
        "tiny.png": ("too_small", encoded(chest[:8, :8], "PNG")),
        "blank.jpeg": ("blank", encoded(np.full_like(chest, 117), "JPEG")),
        "photograph.jpeg": ("not_greyscale", encoded(_photograph(rng), "JPEG")),
        "strip.png": ("aspect_ratio", encoded(np.resize(chest, (40, 1000)), "PNG")),
        "gif_named.png": ("unsupported", encoded(chest, "GIF")),
        "bitmap_named.jpeg": ("unsupported", encoded(chest, "BMP")),
        "nine_levels.png": ("blank", encoded(chest // 29, "PNG")),
        "sixteen_bits_of_colour.png": ("unsupported", _png_of_declared_size(200, 200, bits=16, colour=2)),
        "deflated.dcm": ("unsupported", _deflated(_dicom(chest))),
        "two_frames.dcm": ("multiframe", _dicom(chest, NumberOfFrames=2, PixelData=chest.tobytes() * 2)),
        DUPLICATE: ("duplicate", encoded(chest, "JPEG")),
    }


def _odd_but_valid(chest: np.ndarray) -> dict[str, tuple[str, bytes]]:
    image = Image.fromarray(chest)
    turned = Image.Exif()
    turned[0x0112] = 6  # Orientation: to be shown turned by 90 degrees
    clear = Image.merge("LA", (image, Image.new("L", image.size, 255)))
    # A little darker each, so that no two of them are the same image.
    unnamed, twelve_bits = image.point(lambda grey: grey * 0.98), chest.astype(np.uint16) * 16
    return {
        "plain.jpeg": ("ok", encoded(image, "JPEG")),
        "sixteen_bits.png": ("ok", encoded(twelve_bits, "PNG")),
        "cmyk.jpeg": ("ok", encoded(image.convert("RGB").convert("CMYK"), "JPEG")),
        "three_equal_channels.jpeg": ("ok", encoded(image.convert("RGB"), "JPEG")),
        "palette.png": ("ok", encoded(image.convert("P"), "PNG")),
        "turned_by_exif.jpeg": ("ok", encoded(image.rotate(90), "JPEG", exif=turned)),
        "alpha.png": ("ok", encoded(clear, "PNG")),
        "one_frame.dcm": ("ok", _dicom(chest)),
        "jpeg_named.png": ("ok", encoded(image.point(lambda grey: grey * 0.96), "JPEG")),
        "Größe 1 – thorax (kopie) 胸部 'a' %20.JPEG": ("ok", encoded(unnamed, "JPEG")),
    }


def _png_of_declared_size(width: int, height: int, bits: int = 8, colour: int = 0) -> bytes:
    """A few hundred bytes that claim to be an image of any size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    pixels = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _photograph(rng: np.random.Generator) -> np.ndarray:
    """Sky, meadow and a red barn."""
    picture = np.zeros((160, 200, 3), float)
    picture[:90] = [110, 160, 230]
    picture[90:] = [70, 140, 50]
    picture[60:120, 70:130] = [180, 50, 40]
    return np.clip(picture + rng.normal(0, 8, picture.shape), 0, 255).astype(np.uint8)


def _deflated(data: bytes) -> bytes:
    """The same file in the syntax of which nobody knows the size."""
    start = data.index(FIRST_ELEMENT)
    meta = data[:start].replace(b"UI\x14\x001.2.840.10008.1.2.1\0", b"UI\x16\x001.2.840.10008.1.2.1.99")
    return meta + zlib.compress(data[start:])[2:]


def _dicom(chest: np.ndarray, **elements: object) -> bytes:
    return dicom(chest, 8, 8, PatientName="Phantom^Peter", PatientID="P0001", **elements)


def _flip_bits(data: bytes, rng: np.random.Generator) -> bytes:
    if not data:
        return data
    damaged = bytearray(data)
    # Half of the time near the start, where the headers are: flips among the pixels are harmless for most formats.
    reach = len(data) if rng.random() < 0.5 else min(len(data), 512)
    for place in rng.integers(reach, size=int(rng.integers(1, 33))):
        damaged[place] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def _truncate(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(len(data) + 1))]


def _insert_zeros(data: bytes, rng: np.random.Generator) -> bytes:
    place = int(rng.integers(len(data) + 1))
    return data[:place] + bytes(int(rng.integers(1, 4097))) + data[place:]


def _blank_out(data: bytes, rng: np.random.Generator) -> bytes:
    place = int(rng.integers(len(data) + 1))
    count = min(len(data) - place, int(rng.integers(1, 4097)))
    return data[:place] + bytes(count) + data[place + count :]


def _swap_header(data: bytes, rng: np.random.Generator) -> bytes:
    header = _HEADERS[int(rng.integers(len(_HEADERS)))]
    return header + data[len(header) :]


def _cut_out(data: bytes, rng: np.random.Generator) -> bytes:
    first, last = sorted(rng.integers(len(data) + 1, size=2).tolist())
    return data[:first] + data[last:]


def _repeat(data: bytes, rng: np.random.Generator) -> bytes:
    place = int(rng.integers(len(data) + 1))
    return data[:place] + data[max(0, place - int(rng.integers(1, 8193))) :]


def _write_huge_number(data: bytes, rng: np.random.Generator) -> bytes:
    """Sizes, lengths and offsets stand near the start of a file in every format."""
    place = int(rng.integers(min(len(data), 256) + 1))
    number = [b"\xff\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\xea\x60", b"\x00\x00\x00\x00"]
    chosen = number[int(rng.integers(len(number)))]
    return data[:place] + chosen + data[place + len(chosen) :]


_MUTATIONS: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    _flip_bits,
    _truncate,
    _insert_zeros,
    _blank_out,
    _swap_header,
    _cut_out,
    _repeat,
    _write_huge_number,
)
_HEADERS = (
    b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"BM",
    b"II*\x00\x08\x00\x00\x00",
    b"MM\x00*\x00\x00\x00\x08",
    bytes(128) + b"DICM",
    b"%PDF-1.7\n",
    b"PK\x03\x04",
)
