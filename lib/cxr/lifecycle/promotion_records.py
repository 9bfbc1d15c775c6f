"""The table of promotions: which version went into production, and when. It survives a crash between alias changes."""

import time
import uuid
from dataclasses import dataclass

from cxr.account.project import Project

STALE_SECONDS = 60  # a promotion takes seconds; one that started longer ago was interrupted


_RECENT = f"STARTED_AT > DATEADD('second', -{STALE_SECONDS}, CURRENT_TIMESTAMP()::TIMESTAMP_NTZ)"


@dataclass(frozen=True)
class Record:
    promotion_id: str
    from_version: str | None
    to_version: str
    status: str


def begin(project: Project, from_version: str | None, to_version: str, reason: str) -> str | None:
    """Record the start of a promotion, before any alias changes. Returns its id, or None if another is in progress.

    If two start together, the one that was recorded first continues.
    """
    promotion_id, model = uuid.uuid4().hex, project.settings.model_name
    project.session.sql(
        f"""INSERT INTO {project.promotions}
        (PROMOTION_ID, MODEL_NAME, FROM_VERSION, TO_VERSION, STATUS, REASON) VALUES (?, ?, ?, ?, 'started', ?)""",
        params=[promotion_id, model, from_version, to_version, reason],
    ).collect()
    first = project.session.sql(
        f"""SELECT PROMOTION_ID FROM {project.promotions} WHERE MODEL_NAME = ? AND STATUS = 'started'
        AND {_RECENT}
        ORDER BY STARTED_AT, PROMOTION_ID LIMIT 1""",
        params=[model],
    ).collect()
    if first and first[0][0] == promotion_id:
        return promotion_id
    end(project, promotion_id, "gave way")
    return None


def wait_for_others(project: Project) -> None:
    """Wait until no promotion is in progress. One that started more than a minute ago counts as interrupted."""
    while project.session.sql(
        f"SELECT 1 FROM {project.promotions} WHERE MODEL_NAME = ? AND STATUS = 'started' AND {_RECENT} LIMIT 1",
        params=[project.settings.model_name],
    ).collect():
        time.sleep(1)


def end(project: Project, promotion_id: str, status: str) -> None:
    project.session.sql(
        f"UPDATE {project.promotions} SET STATUS = ? WHERE PROMOTION_ID = ?", params=[status, promotion_id]
    ).collect()


def last(project: Project) -> Record | None:
    """The newest record of this model, except promotions that gave way to another one."""
    rows = project.session.sql(
        f"""SELECT PROMOTION_ID, FROM_VERSION, TO_VERSION, STATUS FROM {project.promotions}
        WHERE MODEL_NAME = ? AND STATUS IN ('started', 'done', 'broken off')
        ORDER BY STARTED_AT DESC, PROMOTION_ID DESC LIMIT 1""",
        params=[project.settings.model_name],
    ).collect()
    return Record(*rows[0]) if rows else None
