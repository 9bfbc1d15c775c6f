"""Check each file of a source in this process: hash it, decode it, accept it or refuse it with a reason.

Uses no account. For files on a stage, `in_place` runs the same checks in the account."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice

from cxr.account.project import Project
from cxr.data import sources
from cxr.data.in_account.examining import CHANGED, Accepted, Origin, Refused, examine
from cxr.data.patient_ids.rules import PatientRules
from cxr.model import preprocessing

BATCH = 1000  # files that are checked, uploaded and merged at a time
WORKERS = 4


@dataclass(frozen=True)
class Found:
    """A file of the source. `reason` and `detail` say why it is refused; an unreadable one has no id."""

    source_name: str
    label: str | None
    cause: str | None = None
    patient_id: str | None = None  # as a table tells it
    image_id: str | None = None
    is_new: bool = False
    reason: str | None = None
    detail: str | None = None


@dataclass(frozen=True)
class Batch:
    """What was found, and those of them that are new images. Their files can be placed until the next batch comes."""

    found: list[Found]
    accepted: list[Accepted]
    reader: object

    def place(self, project: Project) -> "Batch":
        """Put the new images onto the stage. Files that changed or vanished since they were checked are left out."""
        refused = self.reader.place(project, [(row.source_name, row.relative_path) for row in self.accepted])
        if not refused:
            return self
        lost = {row.image_id: refused[row.source_name] for row in self.accepted if row.source_name in refused}
        found = [
            replace(file, is_new=False, reason=bad.reason, detail=bad.detail)
            if (bad := lost.get(file.image_id)) and file.reason is None
            else file
            for file in self.found
        ]
        return Batch(found, [row for row in self.accepted if row.image_id not in lost], self.reader)


def check_files(
    source,
    files: Iterable[tuple[str, Origin]],
    known: Callable[[list[str]], set[str]] = lambda ids: set(),
    rules: PatientRules = PatientRules(),  # noqa: B008 - it is frozen
) -> Iterator[Batch]:
    """Yield the results of all files, in order and in batches; the next batch is decoded in the background.

    Args:
        source: of `sources`.
        files: names, and what is known about them.
        known: returns which of the given ids need no decoding, because they are in the catalog.
        rules: for patient ids.
    """
    started: _Started | None = None
    with ThreadPoolExecutor(WORKERS) as pool, ExitStack() as open_files:
        files = iter(files)
        while batch := list(islice(files, BATCH)):
            before, started = started, _start(pool, source, batch, known, rules, started)
            open_files.push(started.stack)
            if before:
                yield before.finish()
                before.stack.close()
        if started:
            yield started.finish()


@dataclass(frozen=True)
class _Started:
    """A batch whose new files are being decoded; `earlier` are those of the batch before, which may be the same."""

    files: list[tuple[str, Origin]]
    ids: dict[str, str | Refused]
    decoding: dict[str, Future]
    earlier: dict[str, Future]
    reader: object
    stack: ExitStack

    def finish(self) -> Batch:
        verdicts = {image_id: future.result() for image_id, future in (self.earlier | self.decoding).items()}
        accepted = [verdicts[image_id] for image_id in self.decoding if isinstance(verdicts[image_id], Accepted)]
        new = {row.source_name for row in accepted}
        found = [self._found(name, origin, verdicts, name in new) for name, origin in self.files]
        return Batch(found, accepted, self.reader)

    def _found(self, name: str, origin: Origin, verdicts: dict[str, Accepted | Refused], is_new: bool) -> Found:
        patient = origin.patient_id if origin.told_by == "table" else None
        found = Found(name, origin.label, origin.cause, patient, is_new=is_new)
        if origin.problem:
            return replace(found, reason="two_classes", detail=origin.problem)
        image_id = self.ids[name]
        bad = image_id if isinstance(image_id, Refused) else verdicts.get(image_id)
        if isinstance(image_id, str):
            found = replace(found, image_id=image_id)
        return replace(found, reason=bad.reason, detail=bad.detail) if isinstance(bad, Refused) else found


def _start(pool, source, files, known, rules: PatientRules, before: _Started | None) -> _Started:
    """Hash the files of a batch, and begin to decode those that are new."""
    names = [name for name, origin in files if not origin.problem]
    with ExitStack() as stack:
        reader = stack.enter_context(source.reading(names))
        ids = dict(zip(names, pool.map(lambda name: _identify(reader.read, name), names), strict=True))
        there = known([image_id for image_id in ids.values() if isinstance(image_id, str)])
        earlier = before.decoding if before else {}
        decoding: dict[str, Future] = {}
        for name, origin in files:
            image_id = ids.get(name)
            # The batch before may not be in the catalog yet.
            if isinstance(image_id, str) and not (image_id in there or image_id in earlier or image_id in decoding):
                decoding[image_id] = pool.submit(_look, reader.read, name, image_id, origin, rules)
        return _Started(files, ids, decoding, earlier, reader, stack.pop_all())


def _read(read: sources.Read, name: str) -> bytes | Refused:
    try:
        return read(name)
    except preprocessing.BadImage as bad:
        return Refused(bad.reason, bad.detail)
    except OSError as error:
        return Refused("unreadable", error.strerror or type(error).__name__)
    except Exception as error:  # noqa: BLE001 - no file may end the run
        return Refused("unreadable", f"reading it stopped with {type(error).__name__}")


def _identify(read: sources.Read, name: str) -> str | Refused:
    data = _read(read, name)
    return data if isinstance(data, Refused) else hashlib.sha256(data).hexdigest()


def _look(read: sources.Read, name: str, image_id: str, origin: Origin, rules: PatientRules) -> Accepted | Refused:
    data = _read(read, name)
    if isinstance(data, Refused):
        return data
    if hashlib.sha256(data).hexdigest() != image_id:
        return CHANGED
    return examine(data, name, origin, rules)
