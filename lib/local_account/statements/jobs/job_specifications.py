"""The specification of a job: what it asks for, and whether a process can give it.

A field that is not read here is refused by name, and so is more than this machine has.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml

from local_account.account.session import Session
from local_account.sql.stage_files import locate
from local_account.text.errors import SnowflakeError, unsupported

FIELDS = {
    "a job's specification": "spec",
    "spec": "containers volumes",
    "a container": "name image command args env volumeMounts resources",
    "a volume": "name source stageConfig size",
    "stageConfig": "name resources",
    "a volume mount": "name mountPath",
    "resources": "requests limits",
    "requests and limits": "cpu memory nvidia.com/gpu",
}
UNITS = {"": 1} | {f"{prefix}{i}": base**power for i, base in (("", 1000), ("I", 1024))
                   for power, prefix in enumerate("KMGT", 1)}  # fmt: skip
GPU = "nvidia.com/gpu"


@dataclass
class Specification:
    """What the container needs. ``volumes``: mount path -> ``@stage/path``, None for an empty folder."""

    text: str
    name: str
    image: str
    command: list[str]
    env: dict[str, str]
    volumes: dict[str, str | None] = field(default_factory=dict)


def invalid(text: str) -> SnowflakeError:
    return SnowflakeError(f"Invalid spec: {text}", 395018, "22023")


def read_specification(session: Session, text: str) -> Specification:
    """Raises for what is invalid, missing in the account, or more than one process of this machine."""
    try:
        whole = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise invalid(f"it is not YAML: {error}") from error
    spec = known_fields(known_fields(whole, "a job's specification").get("spec"), "spec")
    containers = listed(spec, "containers")
    if not containers:
        raise invalid("spec.containers is missing.")
    if len(containers) > 1:
        names = ", ".join(str(other.get("name")) for other in containers)
        raise unsupported(f"several containers in a job ({names}): it is one process here", __name__)
    container = known_fields(containers[0], "a container")
    for name in ("name", "image"):
        if not isinstance(container.get(name), str):
            raise invalid(f"a container has no {name}.")
    found = Specification(text, container["name"], container["image"], command_of(container), environment_of(container))
    check_amounts(container, container["name"])
    sources = {volume["name"]: source_of(session, volume) for volume in map(named_volume, listed(spec, "volumes"))}
    for mount in listed(container, "volumeMounts"):
        path, name = mount_path(known_fields(mount, "a volume mount").get("mountPath")), mount.get("name")
        if name not in sources:
            raise invalid(f"there is no volume {name} to mount at {path}.")
        if beside := [
            other for other in found.volumes if f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/")
        ]:
            raise unsupported(f"a volume at {path} and another one at {beside[0]}", __name__)
        found.volumes[path] = sources[name]
    return found


def known_fields(given: object, what: str) -> dict:
    if not isinstance(given, dict):
        raise invalid(f"{what} must be a mapping.")
    for key in given.keys() - set(FIELDS[what].split()):
        raise unsupported(f"{key} in {what} of EXECUTE JOB SERVICE", __name__)
    return given


def listed(holder: dict, key: str) -> list:
    value = holder.get(key) or []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise invalid(f"{key} must be a list of mappings.")
    return value


def command_of(container: dict) -> list[str]:
    """``command`` and ``args``. Without a command an image's own entry point would run."""
    words = []
    for key in ("command", "args"):
        value = container.get(key) or []
        if not isinstance(value, list) or not all(isinstance(word, (str, int, float)) for word in value):
            raise invalid(f"{key} must be a list of strings.")
        words += map(plain, value)
    if not container.get("command"):
        what = f"the entry point of the image {container['image']}: no image is run here, write the container's command"
        raise unsupported(what, __name__)
    return words


def environment_of(container: dict) -> dict[str, str]:
    given = container.get("env") or {}
    if not isinstance(given, dict) or not all(isinstance(value, (str, int, float)) for value in given.values()):
        raise invalid("env must map names to strings.")
    return {str(name): plain(value) for name, value in given.items()}


def plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def mount_path(path: object) -> str:
    if not isinstance(path, str) or not path.startswith("/") or ".." in path.split("/") or not path.strip("/"):
        raise invalid(f"the path {path!r} of a mount is not absolute.")
    return path.rstrip("/")


def named_volume(volume: dict) -> dict:
    if not isinstance(known_fields(volume, "a volume").get("name"), str):
        raise invalid("a volume has no name.")
    return volume


def source_of(session: Session, volume: dict) -> str | None:
    """A volume's ``@stage/path``, qualified; None for an empty folder."""
    source, name = str(volume.get("source")), volume["name"]
    if source.startswith("@"):
        raise invalid(
            f"the volume {name} has the old form of a stage mount, which Snowflake refuses since the bundle 2026_08. "
            f"Write source: stage, and below it stageConfig: {{name: '{source}'}}."
        )
    if source in ("local", "memory"):
        return None
    if source != "stage":
        raise unsupported(f"volumes with source: {source} ({name})", __name__)
    place = known_fields(volume.get("stageConfig"), "stageConfig").get("name")
    if not isinstance(place, str) or not place.startswith("@"):
        raise invalid(f"the volume {name} needs stageConfig.name, such as '@DATABASE.SCHEMA.STAGE/folder'.")
    check_amounts(volume["stageConfig"], f"the mount of {name}")
    location = locate(session, place)
    if location.stage in ("", "~") or location.target.is_file():
        raise invalid(f"the volume {name} needs a folder of a named stage, not {place}.")
    return f"@{location.stage}/{location.path}".rstrip("/")


def check_amounts(holder: dict, name: str) -> None:
    """Raise where more is requested than this machine has."""
    here = {"cpu": os.cpu_count() or 1, "memory": psutil.virtual_memory().total, GPU: gpus()}
    resources = known_fields(holder.get("resources") or {}, "resources")
    for kind in resources:
        for key, text in known_fields(resources[kind] or {}, "requests and limits").items():
            if amount(text) > here[key] and (kind == "requests" or key == GPU):
                raise unsupported(f"{kind} of {key}: {text} by {name}: this machine has {here[key]}", __name__)


def amount(text: object) -> float:
    """``16Gi``, ``500m`` or ``2`` as a number."""
    found = re.fullmatch(r"([\d.]+)(m|[KMGT]i?)?", str(text), re.I)
    if not found:
        raise invalid(f"{text!r} is no amount of a resource.")
    return float(found[1]) / 1000 if found[2] == "m" else float(found[1]) * UNITS[(found[2] or "").upper()]


def gpus() -> int:
    return len(list(Path("/dev").glob("nvidia[0-9]*")))
