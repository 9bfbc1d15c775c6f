"""Start an ML Job's launcher: ``python ml_job.py LAUNCHER ENTRYPOINT [ARGUMENTS]``, in the place of startup.sh.

The client uploads startup.sh for a container: it installs packages, writes below /etc and starts Ray. This does the
rest of it: the payload's folder becomes the working directory, and the launcher runs. Nothing is installed: a job uses
the packages of the account's own Python, and a requirement that they do not meet fails the job by its name.
"""

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement


def main(launcher: Path, arguments: list[str]) -> None:
    payload = Path(os.environ["MLRS_STAGE_MOUNT_PATH"], os.environ.get("MLRS_PAYLOAD_DIR", ""))
    os.chdir(payload)
    files = (launcher.parent / "requirements.txt", payload / "requirements.txt")
    lacking = [
        words for file in files if file.is_file() for words in map(unmet, file.read_text().splitlines()) if words
    ]
    if lacking:
        sys.exit("The job cannot start. " + " ".join(lacking))
    os.execv(sys.executable, [sys.executable, str(launcher), *arguments])


def unmet(line: str) -> str | None:
    """What is wrong with one line of a requirements file."""
    text = line.partition("#")[0].strip()
    if not text:
        return None
    try:
        wanted = Requirement(text)
    except InvalidRequirement:
        return f"{text}: no more than a package and its versions can be asked for here."
    if wanted.marker and not wanted.marker.evaluate():
        return None
    try:
        here = version(wanted.name)
    except PackageNotFoundError:
        return f"{text}: not installed where the local account runs; install it there."
    fits = wanted.specifier.contains(here, prereleases=True)
    return None if fits else f"{text}: version {here} is installed where the local account runs."


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
