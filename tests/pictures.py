"""Pictures as the bytes of a file, for tests."""

import io

import numpy as np
from PIL import Image


def encoded(picture: np.ndarray | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The bytes of a file of this kind; `options` are Pillow's for it."""
    file = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(file, kind, **options)
    return file.getvalue()
