"""The classes that a catalog, a run and a model version know: one negative class ("normal") and the others."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

NEGATIVE_NAMES = ("normal", "healthy", "negative", "no finding")


@lru_cache(maxsize=4096)
def class_key(text: str) -> str:
    """What two spellings of one class share: case, spaces, underscores, hyphens and a plural s do not count."""
    key = re.sub(r"[\s_\-]+", "", unicodedata.normalize("NFC", text)).casefold()
    return key[:-1] if len(key) > 2 and key.endswith("s") else key


def spelling(text: str) -> str:
    """A class's name as the catalog holds it: upper case, composed letters."""
    return unicodedata.normalize("NFC", text.strip()).upper()


_NEGATIVE_KEYS = frozenset(map(class_key, NEGATIVE_NAMES))


def is_negative(text: str, negative_label: str = "") -> bool:
    """Whether this is the name of a negative class; with `negative_label`, whether it is that one."""
    return class_key(text) == class_key(negative_label) if negative_label else class_key(text) in _NEGATIVE_KEYS


@dataclass(frozen=True)
class LabelSet:
    """`negative` is class 0; `others` follow in their order. Names are upper case."""

    negative: str
    others: tuple[str, ...] = ()

    def __post_init__(self):
        if len({*map(class_key, self.names)}) != len(self.names) or not all(self.names):
            raise ValueError(f"{self.names} names a class twice, or one without a name")

    @classmethod
    def of(cls, names: Iterable[str], negative_label: str = "") -> "LabelSet":
        """The set of these names, in alphabetical order after the negative class.

        Raises:
            ValueError: none of them is a negative class, or several are.
        """
        spelled: dict[str, str] = {}
        for name in sorted(map(spelling, names)):
            spelled.setdefault(class_key(name), name)
        negatives = [name for name in spelled.values() if is_negative(name, negative_label)]
        if len(negatives) != 1:
            found = ", ".join(spelled.values()) or "none"
            wanted = negative_label or ", ".join(NEGATIVE_NAMES)
            raise ValueError(f"exactly one class must be the negative one ({wanted}); the classes are: {found}")
        return cls(negatives[0], tuple(name for name in spelled.values() if name != negatives[0]))

    @property
    def names(self) -> tuple[str, ...]:
        return self.negative, *self.others

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and self.find(text) is not None

    def find(self, text: str) -> str | None:
        """The class that this text names, in whatever spelling."""
        key = class_key(text)
        return next((name for name in self.names if class_key(name) == key), None)

    def to_list(self) -> list[str]:
        """The names, the negative class first."""
        return list(self.names)

    @classmethod
    def from_list(cls, names: Sequence[str]) -> "LabelSet":
        """The inverse of `to_list`."""
        return cls(names[0], tuple(names[1:]))

    def extended(self, names: Iterable[str]) -> "LabelSet":
        """With further classes at the end; known ones are left where they are."""
        new: dict[str, str] = {}
        for name in sorted(map(spelling, names)):
            if name not in self:
                new.setdefault(class_key(name), name)
        return LabelSet(self.negative, (*self.others, *new.values()))

    def only(self, names: Iterable[str]) -> "LabelSet":
        """Without those of `others` that are not among the names."""
        kept = set(names)
        return LabelSet(self.negative, tuple(name for name in self.others if name in kept))
