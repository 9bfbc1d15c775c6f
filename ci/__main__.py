"""`python3 ci JOB`: makes the environment if need be, then does the job in it. `--help` lists the jobs.

Before the environment exists, only the standard library is imported.
"""

import argparse
import sys

import environment

JOBS = {
    "run": "execute the five notebooks in order, headless",
    "test": "run every test",
    "app": "open the Streamlit app on the local account",
    "deploy": "create everything in an account: as a dry run, in the local account, or in yours",
    "bench": "run benchmarks; each is a ratio measured in one run",
    "soak": "run endurance checks: mutations, structures, fuzz, headers, requests, kills, memory",
    "rekey": "compute all patient ids of the catalog again, with the present rules and key",
    "truth": "label cataloged images from a table",
    "lint": "check style with ruff, and imports with import-linter",
    "lock": "write ci/constraints.txt anew from the environment",
}


def main() -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 - a clear message for users of an older Python
        sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.")
    parser = argparse.ArgumentParser(prog="python3 ci", description=__doc__.splitlines()[0])
    jobs = parser.add_subparsers(dest="job", required=True)
    parsers = {name: jobs.add_parser(name, help=text, description=text) for name, text in JOBS.items()}
    parsers["run"].add_argument("--data", default="", help="a folder of images; default: phantoms")
    parsers["run"].add_argument("--profile", default="default", help="smoke, default or full")
    parsers["run"].add_argument("--only", default="", help="the number of one notebook, such as 03")
    parsers["run"].add_argument("--build", default="build", help="the folder for the results")
    parsers["bench"].add_argument("names", nargs="*", help="names of benchmarks; default: all")
    parsers["bench"].add_argument("--short", action="store_true", help="fewer requests to the service")
    _add_deploy_arguments(parsers["deploy"].add_argument)
    parsers["soak"].add_argument(
        "what", nargs="*", help="one of mutations, structures, fuzz, headers, requests, kills, memory, and how many"
    )
    arguments, rest = parser.parse_known_args()
    if rest and arguments.job not in ("test", "app", "rekey", "truth"):
        parser.error(f"unknown argument: {' '.join(rest)}")
    environment.enter()
    return _do(arguments, rest)


def _add_deploy_arguments(add) -> None:
    add("--connection", help="a connection of connections.toml; default: CXR_CONNECTION, or the local account")
    add("--dry-run", action="store_true", help="print every statement and run none; needs no account")
    add(
        "--from",
        dest="start",
        metavar="STEP",
        help="start with this step: after a failed step, or if somebody else has run the steps before",
    )
    add("--egress", action="store_true", help="let the bundle download weights from download.pytorch.org")
    add("--weights", metavar="FILE", help="upload this file of torchvision weights to the artifacts stage")
    add("--run", action="store_true", help="then run the five notebooks in the account; the service is left suspended")
    add("--profile", default="default", help="profile for --run: smoke, default or full")
    add("--data", default="", help="images for --run, on a stage: @DATABASE.SCHEMA.STAGE/path; default: phantoms")
    add("--start-schedule", action="store_true", help="then start the scheduled retraining and scoring, and the alert")
    add("--build", default="build", help="the folder for a copy of the uploaded files")
    add("--teardown", metavar="DATABASE", help="remove everything instead; give the database's name to confirm")


def _do(arguments: argparse.Namespace, rest: list[str]) -> int:
    if arguments.job == "run":
        import notebooks

        return notebooks.run(arguments.data, arguments.profile, arguments.only, arguments.build)
    if arguments.job == "bench":
        import bench

        return bench.run(arguments.names, arguments.short)
    if arguments.job == "deploy":
        import deploy

        return deploy.deploy(arguments)
    if arguments.job == "soak":
        import soak

        return soak.run(arguments.what)
    import commands

    return getattr(commands, arguments.job)(rest)


if __name__ == "__main__":
    sys.exit(main())
