"""Python functions in the account that run this library's own code, on files where they lie on a stage.

The code goes up as one zip that is named by its content, so code of another version of this project gets another name,
and what a session has defined never changes under it. A function lives as long as the session.
"""

import hashlib
import io
import zipfile
from pathlib import Path

from cxr.account.project import Project
from cxr.model.requirements import DECODING, FUNCTIONS_PYTHON

# What the handlers need; a test runs them with nothing else of this project.
SHIPPED = (
    "cxr/__init__.py",
    "cxr/model",
    "cxr/account/__init__.py",
    "cxr/account/places.py",
    "cxr/data/__init__.py",
    "cxr/data/in_account/__init__.py",
    "cxr/data/in_account/examining.py",
    "cxr/data/in_account/fingerprints.py",
    "cxr/data/in_account/handlers.py",
    "cxr/data/patient_ids/__init__.py",
    "cxr/data/patient_ids/rules.py",
)
_LIBRARY = Path(__file__).resolve().parents[3]
_FOLDER = "functions"  # on the artifacts stage
_PACKAGES = ("snowflake-snowpark-python", *DECODING)
# What is not known of SnowflakeFile stays here: it opens the URL, and the handler reads.
_DEFINITION = """
CREATE TEMPORARY FUNCTION IF NOT EXISTS {name}(URL STRING, {arguments})
RETURNS {returns} LANGUAGE PYTHON RUNTIME_VERSION = '{python}' PACKAGES = ({packages})
IMPORTS = ('{code}') HANDLER = 'run'
COMMENT = 'Give it BUILD_SCOPED_FILE_URL(@stage, path)'
AS $$
from cxr.data.in_account import handlers
from snowflake.snowpark.files import SnowflakeFile


def run(url, {parameters}):
    return handlers.{handler}(lambda: SnowflakeFile.open(url, "rb"), {parameters})
$$"""


def define(project: Project, handler: str, arguments: dict[str, str], returns: str = "VARIANT") -> str:
    """Make sure that a function over scoped URLs is there for this session, and return its name.

    Args:
        handler: a function of `handlers`. Its first argument opens the file, the others are `arguments`.
        arguments: name -> SQL type.
        returns: the SQL type of what the handler answers.
    """
    code = _upload(project)
    version = Path(code).stem.rpartition("-")[2]
    name = project.qualified(f"CXR_{handler.upper()}_{version.upper()}")
    statement = _DEFINITION.format(
        name=name,
        arguments=", ".join(f"{argument.upper()} {kind}" for argument, kind in arguments.items()),
        parameters=", ".join(arguments),
        python=FUNCTIONS_PYTHON,
        packages=", ".join(f"'{package}'" for package in _PACKAGES),
        code=code,
        handler=handler,
        returns=returns,
    )
    project.session.sql(statement.strip()).collect()
    return name


def pack() -> bytes:
    """The code as a zip, the same bytes wherever it is made."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # not compressed: versions of zlib differ
        for path in sorted(_files()):
            entry = zipfile.ZipInfo(path.relative_to(_LIBRARY).as_posix())  # dated 1980
            entry.create_system = 3  # on Windows too
            archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()


def _files() -> set[Path]:
    roots = [_LIBRARY / place for place in SHIPPED]
    return {file for root in roots for file in (root.rglob("*.py") if root.is_dir() else [root])}


def _upload(project: Project) -> str:
    """The code's place on the artifacts stage. One that is there already is not sent again."""
    data = pack()
    place = f"{project.artifacts_stage}/{_FOLDER}/cxr-{hashlib.sha256(data).hexdigest()[:12]}.zip"
    project.session.file.put_stream(io.BytesIO(data), place, auto_compress=False, overwrite=False)
    return place
