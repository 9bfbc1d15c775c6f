"""The project in an account: one session, and the names of the project's objects there."""

from dataclasses import dataclass

from snowflake.snowpark import Session

from cxr.account.session import connect
from cxr.settings import Settings, load


@dataclass(frozen=True)
class Project:
    """Session and settings. Most functions of this library take it as their first argument.

    `project.catalog` and the other properties are full names (`DATABASE.SCHEMA.NAME`, stages with a leading `@`). They
    are safe to put into SQL, because settings.py accepts only plain identifiers.
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
    def pixels(self) -> str:
        return self.qualified(self.settings.pixels_table)

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
    def landing_stage(self) -> str:
        return self.settings.landing

    @property
    def artifacts_stage(self) -> str:
        return self.settings.artifacts

    @property
    def service(self) -> str:
        return self.qualified(self.settings.service_name)


def open_project(**overrides) -> Project:
    """A project with settings from :func:`cxr.settings.load` and a session from :func:`cxr.account.session.connect`.

    Args:
        overrides: settings by name, and `argv` and `environ` of :func:`cxr.settings.load`.

    Raises:
        ValueError, TypeError: a setting is invalid or unknown.
        RuntimeError: the local account cannot be started.
        snowflake.connector.errors.Error: the connection is refused or unknown.
    """
    settings = load(**overrides)
    return Project(connect(settings=settings), settings)
