"""The secret key for the digests of patient ids: its sources, in an account and on a laptop."""

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from snowflake.snowpark.secrets import get_generic_secret_string

from cxr.account.project import Project
from cxr.account.session import account_directory, is_local

FILE = "patient.key"
HOW_TO_GIVE_ONE = (
    "set CXR_PATIENT_KEY to a secret of your own, or patient_key_file to a file with it; or, for notebooks and tasks "
    "that run headless in an account, put the key into a secret there, set "
    "CXR_PATIENT_KEY_SECRET=DATABASE.SCHEMA.SECRET and deploy again (docs/data.md, Patients)"
)


@dataclass(frozen=True)
class PatientKey:
    """`chosen`: the user set it, by a setting or a secret. Otherwise it was generated for a local account."""

    value: str = field(repr=False)
    chosen: bool


def find_patient_key(project: Project) -> PatientKey | None:
    """The setting `patient_key`, else the file `patient_key_file`, else the account's secret `patient_key_secret` where
    this process was given it, else the local key.

    None if there is none of them. On Snowflake no key is generated, because it would be lost with the container.

    Raises:
        ValueError: the file `patient_key_file` cannot be read, or is empty.
    """
    settings = project.settings
    if settings.patient_key:
        return PatientKey(settings.patient_key, chosen=True)
    if settings.patient_key_file:
        return PatientKey(_read(Path(settings.patient_key_file)), chosen=True)
    if settings.patient_key_secret:
        # Its name in a container, as the documentation has it: database/schema/secret.
        name = settings.patient_key_secret.lower().replace(".", "/")
        try:
            return PatientKey(get_generic_secret_string(name), chosen=True)
        except (NotImplementedError, ValueError):  # not in a container, or the container has no such secret
            pass
    if is_local(project.session):
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
    """The key in the local account's folder, readable only by its owner; generated at the first call."""
    # A notebook that the local account runs finds the account's folder in SNOWFLAKE_HOME.
    home = Path(os.environ.get("SNOWFLAKE_HOME", ""))
    folder = home if (home / "server.json").is_file() else account_directory(project.settings)
    path, own = folder / FILE, folder / f"{FILE}.{os.getpid()}"
    if not path.exists():
        with open(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        try:
            os.link(own, path)  # atomic, and never replaces a key that another process has just created
        except FileExistsError:
            pass
        finally:
            own.unlink()
    return _read(path)
