"""Lookup tables of a DICOM header: modality, VOI and palette (PS3.3 C.11.1.1, C.11.2.1.1, C.7.6.3.1.5)."""

import struct
from dataclasses import dataclass

import numpy as np

from cxr.model.dicom.elements import element, raw_bytes, words
from cxr.model.dicom.reading import first_item
from cxr.model.xray import BadImage


@dataclass(frozen=True)
class LookupTable:
    first: int
    entries: np.ndarray
    bits: int

    @property
    def top(self) -> int:
        return 2**self.bits - 1

    def apply(self, values: np.ndarray) -> np.ndarray:
        """The entries for values of any range: those outside the table get its first or its last one."""
        places = np.rint(values).astype(np.int64) - self.first
        return self.entries[places.clip(0, len(self.entries) - 1)]


def table_of_sequence(header, name: str, signed: bool, may_be_incomplete: bool = False) -> LookupTable | None:
    """The table of a sequence's first item; None where the sequence is absent or empty.

    Args:
        header: of pydicom.
        name: of the sequence.
        signed: whether the table's input can be negative.
        may_be_incomplete: whether an item without a table is None too.
    """
    item = first_item(header, name)
    if item is None:
        return None
    if not (raw_bytes(item, "LUTDescriptor") and raw_bytes(item, "LUTData")):
        if may_be_incomplete:
            return None
        raise BadImage("unreadable", f"the item of {name} holds no LUTDescriptor or no LUTData")
    return lookup_table(item, "LUTDescriptor", "LUTData", signed)


def lookup_table(item, descriptor: str, data: str, signed: bool) -> LookupTable:
    """Raises BadImage, with the element's name, where descriptor and data disagree."""
    described = words(item, descriptor)
    if len(described) != 3:
        raise BadImage("unreadable", f"{descriptor} does not hold three values")
    count, first, bits = described[0] or 2**16, described[1], described[2]
    # Files disagree with themselves about this value's type. It is an input value, so the input's sign decides.
    if (signed or element(item, descriptor).VR == "SS") and first >= 2**15:
        first -= 2**16
    if not 1 <= bits <= 16:
        raise BadImage("unreadable", f"{descriptor} says that an entry has no bits, or more than 16")
    entries = _entries(item, data, count, bits)
    if entries.max() >= 2**bits:
        raise BadImage("unreadable", f"{data} has entries of more bits than {descriptor} says")
    return LookupTable(first, entries, bits)


def _entries(item, name: str, count: int, bits: int) -> np.ndarray:
    raw = raw_bytes(item, name)
    order = "<" if not raw or element(item, name).is_little_endian else ">"
    if len(raw) == 2 * count:
        return np.array(struct.unpack(f"{order}{count}H", raw))
    if bits <= 8 and len(raw) == count + count % 2:  # two entries a word
        bytes_ = np.frombuffer(raw, np.uint8)
        return (bytes_ if order == "<" else bytes_.reshape(-1, 2)[:, ::-1].ravel())[:count].astype(np.int64)
    raise BadImage("unreadable", f"{name} holds more or fewer entries than its descriptor says")
