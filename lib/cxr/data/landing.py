"""New images that arrive on the landing stage, from a PACS or a person, become rows of the catalog."""

from cxr.account import migrate
from cxr.account.project import Project
from cxr.data.ingest import ingest
from cxr.data.survey import survey


def ingest_landing(project: Project) -> dict[str, int]:
    """Ingest what lies on the landing stage. Returns the counts of :func:`cxr.data.ingest.ingest`; none if it is empty.

    A folder is a label only if the catalog knows the class; images in other folders have no label, and are scored. It
    can run any number of times: files that are cataloged already are only counted. They may be removed at any time.

    Raises:
        ValueError: the table of `data_csv` or the patients' key cannot be used; says what to do.
    """
    migrate.upgrade(project)
    try:
        arrived = survey(project, project.landing_stage, any_folders=True)
    except FileNotFoundError:  # no file, or none that may be an image
        return {}
    return ingest(project, arrived)
