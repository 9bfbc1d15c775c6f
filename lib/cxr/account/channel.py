"""Does Snowflake's conda channel have what the registered model, and the functions that decode images, require?

Asked first: a package or version that the channel lacks fails `log_model` with 391546, after minutes of training.
"""

import sys
from collections.abc import Iterator

from snowflake.snowpark import Session
from snowflake.snowpark.exceptions import SnowparkSQLException

from cxr.model.requirements import CONDA_DEPENDENCIES, DECODING, FUNCTIONS_PYTHON

CANNOT_BE_MET = "391546"


def channel_rows(session: Session) -> Iterator[tuple]:
    """A row for each requirement of the registered model and one for the functions: kind, name, needed for, ready, what
    to do.

    https://docs.snowflake.com/en/sql-reference/functions/system_resolve_python_packages
    """
    problem = _problem(session, CONDA_DEPENDENCIES)
    # The answer need not name the package, so each is asked for alone.
    lacking = {name: problem and _problem(session, [name]) for name in CONDA_DEPENDENCIES}
    for name in CONDA_DEPENDENCIES:
        yield "CHANNEL", name, "the registered model", not lacking[name], _what_to_do(lacking[name])
    if problem and not any(lacking.values()):
        yield "CHANNEL", "all of these together", "the registered model", False, _what_to_do(problem)
    problem = _problem(session, DECODING, FUNCTIONS_PYTHON)
    name = f"{', '.join(DECODING)} for Python {FUNCTIONS_PYTHON}"
    yield "CHANNEL", name, "decoding in the account", not problem, _what_to_do(problem)


def _problem(session: Session, requirements: tuple[str, ...] | list[str], python: str = "") -> str:
    """Why the channel cannot meet the requirements together; empty if it can. `python`: a version, else this one."""
    packages = "(" + ", ".join(f"'{name}'" for name in requirements) + ")"
    python = python or f"{sys.version_info.major}.{sys.version_info.minor}"  # the model is logged for this Python
    try:
        session.sql("SELECT SYSTEM$RESOLVE_PYTHON_PACKAGES(?, ?)", params=[python, packages]).collect()
    except SnowparkSQLException as error:
        return error.message
    return ""


def _what_to_do(problem: str) -> str:
    if not problem:
        return ""
    if CANNOT_BE_MET not in problem:
        return f"the channel could not be asked: {problem.splitlines()[0]}"
    return (
        "the channel of warehouses lacks it: change the range in lib/cxr/model/requirements.py to one that it has "
        "(SELECT PACKAGE_NAME, VERSION FROM INFORMATION_SCHEMA.PACKAGES WHERE LANGUAGE = 'python')"
    )
