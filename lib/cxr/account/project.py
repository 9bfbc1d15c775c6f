"""The project in an account: one session, and the names of what this project keeps there."""

from dataclasses import dataclass

from snowflake.snowpark import Session

from cxr.account.session import connect
from cxr.settings import Settings, load


@dataclass(frozen=True)
class Project:
    """What almost every function of this library needs first.

    `project.catalog` and the like are full names, ready for SQL: settings.py lets nothing but plain identifiers pass.
    """

    session: Session
    settings: Settings

    def qualified(self, name: str) -> str:
        """`DATABASE.SCHEMA.NAME`."""
        return self.settings.qualified(name)

    @property
    def catalog(self) -> str:
        return self.qualified(self.settings.catalog_table)

    @property
    def rejected(self) -> str:
        return self.qualified(self.settings.rejected_table)

    @property
    def facts(self) -> str:
        return self.qualified(self.settings.facts_table)

    @property
    def predictions(self) -> str:
        return self.qualified(self.settings.predictions_table)

    @property
    def training_log(self) -> str:
        return self.qualified(self.settings.training_log_table)

    @property
    def validation_baseline(self) -> str:
        return self.qualified(self.settings.baseline_table)

    @property
    def promotions(self) -> str:
        return self.qualified(self.settings.promotions_table)

    @property
    def images_stage(self) -> str:
        return self.settings.images

    @property
    def artifacts_stage(self) -> str:
        return self.settings.artifacts

    @property
    def service(self) -> str:
        return self.qualified(self.settings.service_name)


def open_project(**overrides) -> Project:
    """Settings by :func:`cxr.settings.load`, a session by :func:`cxr.account.session.connect`.

    Raises:
        ValueError, TypeError: a setting is wrong or unknown.
        RuntimeError: the local account cannot be started.
        snowflake.connector.errors.Error: the connection is refused or unknown.
    """
    settings = load(**overrides)
    return Project(connect(settings=settings), settings)
