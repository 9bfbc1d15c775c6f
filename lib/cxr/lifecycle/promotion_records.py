"""The table of promotions: which version went into production, and when. It survives a crash between alias changes.

Times are in UTC, SYSDATE(): the other functions give the time of a session's zone, and sessions differ in it.
"""

import logging
import time
import uuid
from dataclasses import dataclass

from cxr.account.project import Project

STALE_SECONDS = 60  # a promotion takes seconds; one that started longer ago was interrupted

# Earlier versions wrote times of the session's zone, which may be hours ahead: these are not recent.
_RECENT = f"ABS(DATEDIFF('second', STARTED_AT, SYSDATE())) < {STALE_SECONDS}"

log = logging.getLogger(__name__)


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
        (PROMOTION_ID, STARTED_AT, MODEL_NAME, FROM_VERSION, TO_VERSION, STATUS, REASON)
        VALUES (?, SYSDATE(), ?, ?, ?, 'started', ?)""",
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
    said = set()
    while others := project.session.sql(
        f"""SELECT TO_VERSION FROM {project.promotions} WHERE MODEL_NAME = ? AND STATUS = 'started'
        AND {_RECENT} LIMIT 1""",
        params=[project.settings.model_name],
    ).collect():
        version = others[0][0]
        if version not in said:
            said.add(version)
            log.warning("the promotion of %s is in progress: waiting, at most %d s", version, STALE_SECONDS)
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
