"""The values that a picture shows, found without a look at each pixel where that is possible."""

from itertools import product

import numpy as np
import pytest
from tests.dicom_files import chest

from cxr.model.dicom.stored_values import Layout, shown_values

LAYOUTS = [Layout(16, 12, 11, False), Layout(16, 12, 11, True), Layout(16, 16, 15, True), Layout(16, 10, 12, False)]


@pytest.mark.parametrize("layout", [*LAYOUTS, Layout(8, 8, 7, False), Layout(8, 8, 7, True)], ids=str)
@pytest.mark.parametrize("order", "<>")
def test_the_range_is_that_of_the_pixels_that_are_no_padding(layout, order):
    rng, size = np.random.default_rng(0), 2**layout.allocated
    for first, count, slope, padding in product((0, -40, 900), (30, 400), (1, -2), (None, 0, 5)):
        words = (rng.integers(first, first + count, (20, 30)) % size).astype(f"{order}u{layout.allocated // 8}")
        values = layout.values() * slope
        padded = np.arange(size) == (words.flat[padding] if padding is not None else -1)
        found, own = shown_values(words, layout, values, padded), values[words[~padded[words]]]
        assert (found.min(), found.max()) == (own.min(), own.max())


@pytest.mark.parametrize("signed", [False, True])
def test_no_pixel_is_counted_where_the_smallest_and_the_largest_word_tell_the_range(signed, monkeypatch):
    monkeypatch.setattr("numpy.bincount", None)
    layout, values = Layout(16, 12, 11, signed), np.rint(chest() * 4095).astype(int) - 2048 * signed
    found = shown_values((values & 0xFFFF).astype("<u2"), layout, layout.values(), np.zeros(2**16, bool))
    assert found.tolist() == [values.min(), values.max()]


def test_a_picture_of_padding_alone_shows_nothing():
    layout = Layout(8, 8, 7, False)
    assert not len(shown_values(np.zeros((4, 4), np.uint8), layout, layout.values(), np.arange(256) == 0))
