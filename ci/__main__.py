"""`python3 ci JOB`: makes the environment if need be, then does the job in it. `--help` lists the jobs.

Before the environment exists, only the standard library is imported.
"""

import argparse
import os
import sys

import environment

JOBS = {
    "run": "execute the five notebooks in order, headless",
    "test": "run every test",
    "app": "open the Streamlit app on the local account",
    "deploy": "create everything in an account: as a dry run, in the local account, or in yours",
    "bench": "run benchmarks; each is a ratio measured in one run",
    "score": "catalog a folder and score its images with the version in use",
    "evaluate": "measure a registered version on a labelled folder from elsewhere, without cataloging it",
    "forget": "remove everything about one patient, and list the versions that were trained on their images",
    "soak": "run endurance checks: mutations, structures, fuzz, headers, requests, kills, account-kills, memory",
    "rekey": "compute all patient ids of the catalog again, with the present rules and key",
    "truth": "label cataloged images from a table",
    "lint": "check style with ruff, and imports with import-linter",
    "lock": "write the versions in the environment to ci/constraints.txt",
}


def main() -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 - a clear message for users of an older Python
        sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.")
    parser = argparse.ArgumentParser(prog="python3 ci", description=__doc__.splitlines()[0])
    jobs = parser.add_subparsers(dest="job", required=True)
    parsers = {name: jobs.add_parser(name, help=text, description=text) for name, text in JOBS.items()}
    source = "a folder or zip of images, or kermany; default: CXR_DATA, or phantoms"
    parsers["run"].add_argument("--data", default="", help=source)
    parsers["run"].add_argument("--profile", help="smoke, default or full; default: CXR_PROFILE, or default")
    parsers["run"].add_argument(
        "--phantom-findings", metavar="1-4", help="findings of the phantoms; with 3 there are four classes"
    )
    parsers["run"].add_argument("--only", default="", help="the number of one notebook, such as 03")
    parsers["run"].add_argument("--build", default="build", help="the folder for the results")
    parsers["score"].add_argument("--data", required=True, help="a folder, a zip, or @stage/path")
    parsers["score"].add_argument("--out", default="build/scores.csv", help="the CSV with the results")
    parsers["evaluate"].add_argument("--data", required=True, help="a folder, a zip, @stage/path, or kermany")
    parsers["evaluate"].add_argument("--version", default="", help="a version of the model; default: the one in use")
    parsers["evaluate"].add_argument("--out", default="build/evaluation", help="the folder for report and figures")
    parsers["forget"].add_argument(
        "--patient", metavar="ID", required=True, help="the id in the catalog, or the hospital's id"
    )
    for name in ("run", "score", "evaluate"):
        _add_label_arguments(parsers[name].add_argument)
    oldest = "the tests of library and notebooks, with the oldest versions that they work with"
    parsers["test"].add_argument("--oldest", action="store_true", help=oldest)
    parsers["bench"].add_argument(
        "names", nargs="*", help="names of benchmarks; default: all but scale, transfer and quality"
    )
    sizes = "numbers of images for the benchmark scale; default: 1000 10000"
    parsers["bench"].add_argument("--images", nargs="+", type=int, metavar="N", help=sizes)
    parsers["bench"].add_argument("--data", metavar="DIR", help="X-rays named as Kermany's, for transfer and quality")
    parsers["bench"].add_argument("--short", action="store_true", help="fewer requests to the service")
    _add_deploy_arguments(parsers["deploy"].add_argument)
    parsers["soak"].add_argument(
        "what",
        nargs="*",
        help="one of mutations, structures, fuzz, headers, requests, kills, account-kills, memory; then how many",
    )
    arguments, rest = parser.parse_known_args()
    if rest and arguments.job not in ("test", "app", "rekey", "truth"):
        parser.error(f"unknown argument: {' '.join(rest)}")
    environment.enter(oldest=getattr(arguments, "oldest", False))
    return _do(arguments, rest)


def _add_label_arguments(add) -> None:
    add("--data-csv", metavar="TABLE", help="a CSV with the columns file and any of label, patient_id, cause")
    add("--negative-label", metavar="CLASS", help="the class that means: nothing found")
    add("--add-class", metavar="CLASSES", help="new classes to add to the catalog, separated by commas")
    add("--label-from", choices=["cause"], help="use the causes in the file names as the classes")
    add("--include-set-aside", choices=["true", "false"], help="use lateral views and images FOR PROCESSING too")


def _pass_settings_on(arguments: argparse.Namespace) -> None:
    """Options that are settings; they reach notebooks, which are processes of their own, as variables."""
    names = ("data_csv", "negative_label", "add_class", "label_from", "include_set_aside", "phantom_findings")
    for name in names:
        if value := getattr(arguments, name, None):
            # Notebooks run in a folder of their own.
            value = os.path.abspath(value) if name == "data_csv" else value  # noqa: PTH100
            os.environ[f"CXR_{name.upper()}"] = value


def _add_deploy_arguments(add) -> None:
    add("--connection", help="a connection of connections.toml; default: CXR_CONNECTION, or the local account")
    add("--dry-run", action="store_true", help="print every statement and run none; needs no account")
    add(
        "--from",
        dest="start",
        metavar="STEP",
        help="start with this step: after a failed step, or if somebody else ran the earlier steps",
    )
    add("--egress", action="store_true", help="let the bundle download weights from download.pytorch.org")
    add("--weights", metavar="FILE", help="upload this file of torchvision weights to the artifacts stage")
    add("--run", action="store_true", help="then run the five notebooks in the account; the service is left suspended")
    add("--as", dest="run_as", choices=["bundle", "job"], default="bundle",
        help="job: train and register as a job service in a container instead of --run's notebooks")  # fmt: skip
    add("--profile", help="profile for --run: smoke, default or full; default: CXR_PROFILE, or default")
    add("--data", help="images for --run, on a stage: @DATABASE.SCHEMA.STAGE/path; default: CXR_DATA, or phantoms")
    add("--start-schedule", action="store_true", help="then start the scheduled retraining and scoring, and the alert")
    add("--build", default="build", help="the folder for a copy of the uploaded files")
    add("--teardown", metavar="DATABASE[.SCHEMA]",
        help="remove everything, or this schema alone, instead; the name confirms it")  # fmt: skip


def _do(arguments: argparse.Namespace, rest: list[str]) -> int:
    _pass_settings_on(arguments)
    if arguments.job == "run":
        import notebooks

        return notebooks.run(arguments.data, arguments.profile, arguments.only, arguments.build)
    if arguments.job == "bench":
        import bench

        return bench.run(arguments.names, arguments.short, arguments.images, arguments.data)
    if arguments.job == "deploy":
        import deploy

        return deploy.deploy(arguments)
    if arguments.job == "soak":
        import soak

        return soak.run(arguments.what)
    import commands

    if arguments.job == "test":
        return commands.test(rest, arguments.oldest)
    if arguments.job == "score":
        return commands.score(arguments.data, arguments.out)
    if arguments.job == "evaluate":
        return commands.evaluate(arguments.data, arguments.version, arguments.out)
    if arguments.job == "forget":
        return commands.forget(arguments.patient)
    return getattr(commands, arguments.job)(rest)


if __name__ == "__main__":
    sys.exit(main())
