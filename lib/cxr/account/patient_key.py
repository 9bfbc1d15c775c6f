"""The secret key under which patients' ids are stored: where it comes from, in an account and on a laptop."""

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from snowflake.snowpark.secrets import get_generic_secret_string

from cxr.account.project import Project
from cxr.account.session import account_directory

FILE = "patient.key"
HOW_TO_GIVE_ONE = (
    "set CXR_PATIENT_KEY to a secret of your own, or patient_key_file to a file that holds it, or give the code bundle "
    "a secret and its name as patient_key_secret (docs/data.md, Patients)"
)


@dataclass(frozen=True)
class PatientKey:
    """`chosen`: the user gave it, in a setting or as a secret; else it was made for a local account."""

    value: str = field(repr=False)
    chosen: bool


def find_patient_key(project: Project) -> PatientKey | None:
    """The setting, else the file that a setting names, else the code bundle's secret, else the local account's own.

    None where there is none: on Snowflake nobody makes one up, because it would be lost with the container.

    Raises:
        ValueError: the file that `patient_key_file` names cannot be read, or is empty.
    """
    settings = project.settings
    if settings.patient_key:
        return PatientKey(settings.patient_key, chosen=True)
    if settings.patient_key_file:
        return PatientKey(_read(Path(settings.patient_key_file)), chosen=True)
    try:
        return PatientKey(get_generic_secret_string(settings.patient_key_secret), chosen=True)
    except (NotImplementedError, ValueError):  # no container, or a container that was given no such secret
        pass
    if project.session.connection.host in ("127.0.0.1", "localhost", "::1"):
        return PatientKey(_local_key(project), chosen=False)
    return None


def _read(path: Path) -> str:
    try:
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"patient_key_file={path}: {type(error).__name__}") from None
    if not value:
        raise ValueError(f"patient_key_file={path} is empty")
    return value


def _local_key(project: Project) -> str:
    """Kept in the account's folder, readable by its owner alone; made when it is first asked for."""
    # A notebook that the local account itself runs finds the account where its connection is.
    home = Path(os.environ.get("SNOWFLAKE_HOME", ""))
    folder = home if (home / "server.json").is_file() else account_directory(project.settings)
    path, own = folder / FILE, folder / f"{FILE}.{os.getpid()}"
    if not path.exists():
        with open(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        try:
            os.link(own, path)  # whole or not at all, and never over the key that another process has just made
        except FileExistsError:
            pass
        finally:
            own.unlink()
    return _read(path)
