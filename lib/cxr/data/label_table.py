"""A CSV table with the label and the patient of each file, and the matching of its rows to files.

Errors tell lines, never files: those may be named after patients, and an account keeps what a failed run says.
"""

import csv
import io
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

COLUMNS = ("label", "patient_id", "cause")


@dataclass(frozen=True)
class Row:
    """`parts` are those of the path in the column `file`; the rest is "" where the table says nothing."""

    line: int
    parts: tuple[str, ...]
    label: str
    patient_id: str
    cause: str

    @property
    def told(self) -> tuple[str, str, str]:
        return self.label, self.patient_id, self.cause

    @property
    def file(self) -> str:
        return "/".join(self.parts)


@dataclass(frozen=True)
class Matches:
    """The row of each file; `rows_left` are rows that match no file, `files_left` files that no row names."""

    rows: dict[str, Row]
    rows_left: tuple[str, ...]
    files_left: tuple[str, ...]


class LabelTable:
    """A table whose paths may be absolute, Windows paths, or begin with `./`: they match by their end."""

    def __init__(self, name: str, rows: Sequence[Row]):
        self.name = name
        self.rows = rows
        self._by_file: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            self._by_file[row.parts[-1]].append(row)

    def labels(self) -> set[str]:
        """The values of the column `label`."""
        return {row.label for row in self.rows if row.label}

    def causes(self) -> set[str]:
        return {row.cause for row in self.rows if row.cause}

    def find(self, name: str) -> Row | None:
        """The row that names this file, if the file is looked at alone.

        Raises:
            ValueError: several rows do, and they differ.
        """
        parts = split(name)
        rows = [row for row in self._by_file.get(parts[-1], ()) if _is_tail(row.parts, parts)]
        longest = max((min(len(row.parts), len(parts)) for row in rows), default=0)
        return self._one([row for row in rows if min(len(row.parts), len(parts)) == longest])

    def match(self, names: Iterable[str], root: str = "") -> Matches:
        """Find each row's file among all names of a source, and each file's row.

        Args:
            root: the source's own path, which absolute paths may begin with.

        Raises:
            ValueError: a row's path stands for several files; rows that differ name one file; no row names any file.
        """
        by_file: dict[str, list[tuple[str, tuple[str, ...]]]] = defaultdict(list)
        for name in names:
            parts = split(name)
            by_file[parts[-1]].append((name, parts))
        below = split(root) if root else ()
        matched: dict[str, list[Row]] = defaultdict(list)
        rows_left = []
        for row in self.rows:
            found = _files_of(row, by_file.get(row.parts[-1], ()), below)
            if len(found) > 1:
                raise ValueError(f"{self.name}, line {row.line} stands for {len(found)} files: write more of its path")
            if found:
                matched[found[0]].append(row)
            else:
                rows_left.append(row.file)
        rows = {name: self._one(named) for name, named in matched.items()}
        files_left = [name for files in by_file.values() for name, _ in files if name not in rows]
        if self.rows and not rows:
            raise ValueError(
                f"{self.name}: none of its {len(self.rows):,} rows names one of the source's {len(files_left):,} "
                "files. A row's path and that of its file must have the same end: compare some of both"
            )
        return Matches(rows, tuple(rows_left), tuple(sorted(files_left)))

    def _one(self, rows: Sequence[Row]) -> Row | None:
        if len({row.told for row in rows}) > 1:
            lines = " and ".join(str(row.line) for row in rows)
            raise ValueError(f"{self.name}, lines {lines} say different things about one file: keep one")
        return rows[0] if rows else None


def _files_of(row: Row, files: Sequence[tuple[str, tuple[str, ...]]], below: tuple[str, ...]) -> list[str]:
    """The files whose path ends as the row's, or the row's as theirs; the file itself where its path is written out."""
    found = [(name, parts) for name, parts in files if _is_tail(row.parts, parts)]
    if len(found) > 1:
        written_out = [name for name, parts in found if below and row.parts == below + parts]
        # A bare name may mean any file of that name, also the one that lies in no folder.
        written_out = written_out or [name for name, parts in found if row.parts == parts and len(parts) > 1]
        if written_out:
            return written_out
    return [name for name, _ in found]


def _is_tail(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    shared = min(len(one), len(other))
    return one[-shared:] == other[-shared:]


def split(path: str) -> tuple[str, ...]:
    """The parts of a path of any system, without drive and `./`. At least one part, which may be empty."""
    path = re.sub(r"^[A-Za-z]:(?=[\\/])", "", unicodedata.normalize("NFC", path.strip())).replace("\\", "/")
    return tuple(part for part in path.split("/") if part not in ("", ".")) or ("",)


def read_table(path: str | Path) -> LabelTable:
    """Read a CSV with a column `file` and any of `label`, `patient_id`, `cause`.

    Commas, semicolons or tabs; UTF-8 or UTF-16 with or without a byte order mark; quoted cells may hold line breaks.

    Raises:
        ValueError: it is no such text, lacks columns, or says different things about one file.
    """
    lines = io.StringIO(_text(Path(path)), newline="")
    header = lines.readline()
    separator = max(",;\t", key=header.count)
    lines.seek(0)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    rows: dict[tuple[str, ...], Row] = {}
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
        if "file" not in columns or not set(COLUMNS) & set(columns):
            raise ValueError(
                f"{path} needs a first line that names its columns: `file` and one of {', '.join(COLUMNS)}"
            )
        for cells in reader:
            if any(cell.strip() for cell in cells):
                row = _row(path, reader.line_num, dict(zip(columns, cells, strict=False)))
                before = rows.setdefault(row.parts, row)
                if before.told != row.told:
                    raise ValueError(
                        f"{path}, lines {before.line} and {row.line} say different things about one file: keep one"
                    )
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
    return LabelTable(str(path), tuple(rows.values()))


def _row(path: str | Path, line: int, cells: dict[str, str]) -> Row:
    parts = split(cells.get("file", ""))
    if parts == ("",):
        raise ValueError(f"{path}, line {line} names no file")
    told = (" ".join(cells.get(name, "").split()) for name in COLUMNS)
    return Row(line, parts, *told)


def _text(path: Path) -> str:
    data = path.read_bytes()
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}, line {line} is not UTF-8: save the table as CSV in UTF-8") from None
