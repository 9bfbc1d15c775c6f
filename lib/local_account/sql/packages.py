"""The Python packages that the warehouse offers, and whether a list of requirements can be met."""

import importlib.metadata
import json
import platform
import re
from collections.abc import Callable
from pathlib import Path

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import Version

from local_account.account.limits import read_limits
from local_account.account.session import Session
from local_account.text.errors import compilation_error
from local_account.text.literals import items

NAMED_OTHERWISE = {"pytorch": "torch", "py-opencv": "opencv-python"}  # in the channel: here
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
CONFLICT = (
    "Cannot create a Python function with the specified packages. Please check your packages specification and try "
    "again. 'One or more package conflicts were detected.'."
)


Versions = Callable[[str], list[str]]  # a package -> its versions, lowest first


def in_environment(package: str) -> list[str]:
    """The version that is installed here; local handlers run with it."""
    if package == "python":
        return [platform.python_version()]
    try:
        return [importlib.metadata.version(NAMED_OTHERWISE.get(package, package)).split("+")[0]]
    except importlib.metadata.PackageNotFoundError:
        return []


def in_channel(root: Path) -> Versions:
    """What limits.json lists, else what is installed."""
    listed = read_limits(root).packages
    if listed is None:
        return in_environment
    pairs = [entry.split("==") for entry in listed]
    return lambda package: sorted((version for name, version in pairs if normal(name) == package), key=Version)


def rows(root: Path) -> list[tuple[str, str]]:
    """(name, version) of everything in the channel, for INFORMATION_SCHEMA.PACKAGES."""
    listed = read_limits(root).packages
    if listed is not None:
        return sorted(tuple(entry.split("==")) for entry in listed)
    found = {d.metadata["Name"].lower(): d.version.split("+")[0] for d in importlib.metadata.distributions()}
    found |= {theirs: found[ours] for theirs, ours in NAMED_OTHERWISE.items() if ours in found}
    return sorted(found.items())


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def resolve(requirements: list[str], versions: Versions) -> dict[str, str]:
    """Package -> the highest version that fits. Raises 391546 and names what is not to be had."""
    chosen, missing = {}, []
    for text in requirements:
        wanted = requirement(text)
        name, known = normal(wanted.name), versions(normal(wanted.name))
        fitting = [version for version in known if wanted.specifier.contains(version, prereleases=True)]
        if fitting:
            chosen[name] = fitting[-1]
        else:
            missing.append(f"{text} ({f'there is {name} ' + ', '.join(known) if known else 'unknown package'})")
    if missing:
        raise compilation_error(f"{CONFLICT} Not available: {'; '.join(missing)}.", 391546)
    return chosen


def requirement(text: str) -> Requirement:
    """``pandas``, ``pandas>=2``, or conda's ``pandas=2.2`` and ``python==3.11.*``; without a channel."""
    plain = re.sub(r"(?<![<>=!~])=(?!=)\s*([\w.*]+)", r"==\1", text.rpartition("::")[2])
    try:
        return Requirement(plain)
    except InvalidRequirement as error:
        raise compilation_error(f"{CONFLICT} '{text}' cannot be read.", 391546) from error


def resolve_packages(session: Session, python: str, packages: str, repository: str = "") -> str:
    """SYSTEM$RESOLVE_PYTHON_PACKAGES. A repository has what is installed here."""
    if repository:
        session.need("ARTIFACT REPOSITORY", repository)
    if python not in PYTHONS:
        raise compilation_error(f"Python {python} is not offered; there are {', '.join(PYTHONS)}.", 391546)
    versions = in_environment if repository else in_channel(session.account.root)
    base = next((version for version in versions("python") if version.startswith(f"{python}.")), f"{python}.0")
    found = {"python": base} | resolve(items(packages), versions)
    return json.dumps([f"{name}=={version}" for name, version in sorted(found.items())])


def demand_model_packages(session: Session, folder: Path, dependencies: dict) -> None:
    """Raise 391546 for a packaged model that needs what the warehouse cannot install.

    ``dependencies`` is the part of the manifest that names its files: conda, pip.
    """
    if conda := dependencies.get("conda"):
        listed = yaml.safe_load((folder / conda).read_text())["dependencies"]
        resolve([text for text in listed if isinstance(text, str)], in_channel(session.account.root))
    if pip := dependencies.get("pip"):
        resolve([line for line in (folder / pip).read_text().splitlines() if line.strip()], in_environment)


SYSTEM_FUNCTIONS = {"SYSTEM$RESOLVE_PYTHON_PACKAGES": resolve_packages}
