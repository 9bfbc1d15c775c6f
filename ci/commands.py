"""The short jobs of `python3 ci`: tests, the app, style, the lock file."""

import os
import subprocess
import sys
from pathlib import Path

from environment import ROOT, install_cli


def test(rest: list[str], oldest: bool = False) -> int:
    """Run pytest in parallel. The tests of a file share an account, so one worker runs them all.

    One worker more than there are cores, because tests wait for processes that they start: on two cores three take
    three quarters of the time of two. At most four, because each loads PyTorch. With the oldest versions, only the
    tests of library and notebooks: the local account and the app need newer ones.
    """
    if oldest:
        rest = [*rest, *(["tests/cxr", "tests/notebooks"] if not any(Path(word).exists() for word in rest) else [])]
    else:
        install_cli()
    cores = os.cpu_count() or 1
    workers = min(cores + 1, 4)
    options = ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"]
    # More threads than cores would slow the workers down.
    environment = {"OMP_NUM_THREADS": str(max(1, cores // workers))} | os.environ
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # some hundred processes would each compile the library again
    return subprocess.call([sys.executable, "-m", "pytest", *options, *rest], cwd=ROOT, env=environment)


def lint(rest: list[str]) -> int:
    """Check style and formatting (ruff), and the import contracts (import-linter)."""
    ruff = [sys.executable, "-m", "ruff"]
    contracts = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()"]
    commands = ([*ruff, "check", "."], [*ruff, "format", "--check", "."], contracts)
    # import-linter finds packages on the Python path.
    environment = os.environ | {"PYTHONPATH": str(ROOT / "lib")}
    return max(subprocess.call(command, cwd=ROOT, env=environment) for command in commands)


def app(rest: list[str]) -> int:
    """The app reaches the account as it does in Snowflake, through `st.connection("snowflake")`.

    It asks nobody for a password, so it listens on this machine alone, unless `--server.address` among `rest` or
    STREAMLIT_SERVER_ADDRESS says otherwise.
    """
    from cxr.account.session import account_directory, start_local_account
    from cxr.settings import load

    settings = load(argv=[])
    start_local_account(settings)
    environment = os.environ | {"SNOWFLAKE_HOME": str(account_directory(settings))}
    command = [sys.executable, "-m", "streamlit", "run", "streamlit/streamlit_app.py"]
    if "STREAMLIT_SERVER_ADDRESS" not in environment:
        command.append("--server.address=127.0.0.1")
    command += rest  # of two addresses the last one counts
    try:
        return subprocess.call(command, cwd=ROOT, env=environment)
    except KeyboardInterrupt:
        return 0


def rekey(rest: list[str]) -> int:
    """Compute all patient ids of the catalog again. `rest`: settings, such as `--data-csv TABLE`."""
    import cxr
    from cxr.data.patient_ids.rekey import rekey as make_anew

    return _print_counts(lambda: make_anew(_project(cxr, rest)))


def truth(rest: list[str]) -> int:
    """Label cataloged images from a table. `rest`: the table, then settings, such as `--add-class TB`."""
    import cxr
    from cxr.data.truth import add_truth

    if not rest or rest[0].startswith("-"):
        print("python3 ci truth TABLE: a CSV with the columns file and label")
        return 2
    return _print_counts(lambda: add_truth(_project(cxr, rest[1:]), rest[0]))


def score(data: str, out: str) -> int:
    """Score a folder. Every file gets a prediction, or a reason why there is none. Returns 1 if a cataloged image could
    not be scored.
    """
    import cxr
    from cxr.lifecycle.promotion import version_in_use
    from cxr.serving.scoring_job import score_folder

    problems = []

    def work() -> dict[str, int]:
        project = _project(cxr, [])
        version, in_words = version_in_use(project)
        print(f"{project.settings.model_name} version {in_words}")
        scores, table = score_folder(project, data, version, warn=print), Path(out).resolve()
        scores.write(table)
        print(f"{table}: a row for each file, the images of a study together")
        problems.extend(filter(None, [scores.problem]))
        reasons = scores.results["STATUS"].str.split(":").str[0].value_counts()
        counts = {"files": len(scores.results), "answered": scores.answered}
        return (
            counts | reasons.drop("ok", errors="ignore").to_dict() | scores.results["TRIAGE"].value_counts().to_dict()
        )

    code = _print_counts(work)
    for problem in problems:
        print(problem)
    return 1 if problems else code


def evaluate(data: str, version: str, out: str) -> int:
    """Evaluate a version on a labelled folder, which is not cataloged."""
    import cxr
    from cxr.data import kermany
    from cxr.lifecycle.external_evaluation import evaluate_outside
    from cxr.lifecycle.external_report import write_report
    from cxr.lifecycle.promotion import find_named, version_in_use

    def work() -> dict[str, int]:
        project = _project(cxr, [])
        asked, in_words = find_named(project, version) if version else version_in_use(project)
        print(f"{project.settings.model_name} version {in_words}")
        place = kermany.fetch_release(project.settings).test if data == kermany.NAME else data
        found = evaluate_outside(project, asked, place)
        print(f"the report: {write_report(found, Path(out).resolve())}")
        for name in ("auroc", "sensitivity", "specificity", "ece"):
            here, own = (_figure(part["metrics"][name]) for part in (found.report, found.own_test))
            print(f"{name}: {here}; on its own test patients {own}")
        if found.triage:
            print(f"of 100 images, {round(100 * found.triage['for_a_reader'])} need a reader")
        measured = {"images": found.report["images"], "patients": found.report["patients"]}
        return measured | {f"left out: {why}": count for why, count in found.outside.left_out.items()}

    return _print_counts(work)


def _figure(figure: dict) -> str:
    if None in (figure["value"], *figure["interval"]):
        return "undefined"
    return "{:.3f} (95% {:.3f} to {:.3f})".format(figure["value"], *figure["interval"])


def forget(patient: str) -> int:
    """Forget a patient. Print the versions that were trained on the images, before anything is removed."""
    import cxr
    from cxr.lifecycle import forgetting

    def work() -> dict[str, int]:
        project = _project(cxr, [])
        found = forgetting.find_patient(project, patient)
        if not found.sources:
            print("The catalog has no image of this patient. If the DICOM headers name an issuer, give ISSUER|ID.")
        if found.doubt:
            print(found.doubt)
        for use in found.uses:
            print(f"{use}: train again without the patient, or delete it")
        counts = forgetting.forget(project, found)
        for source, files in found.sources.items():
            print(f"{files:,} files of {source} are still there: delete them too, or the next ingest brings them back")
        for left in ("notebooks", "figures", "scores.csv"):
            if found.sources and (ROOT / "build" / left).exists():
                print(f"build/{left} may show the patient: delete it")
        return counts

    return _print_counts(work)


def _project(cxr, arguments: list[str]):
    from cxr.account.project import Project

    settings = cxr.load(argv=arguments)
    project = Project(cxr.connect(settings=settings), settings)
    if not project.session.get_current_schema():
        raise LookupError(
            f"There is no schema {settings.database}.{settings.schema} yet: run the notebooks, python3 ci run"
        )
    return project


def _print_counts(work) -> int:
    """Print the counts of what was done, or the error. Returns the exit code."""
    try:
        counts = work()
    except (ValueError, OSError, RuntimeError, LookupError) as error:
        print(error)
        return 1
    print(", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items()))
    return 0


def lock(rest: list[str]) -> int:
    """Write ci/constraints.txt. Pins are `name==version` only, without index URLs or paths of this machine."""
    frozen = subprocess.check_output([sys.executable, "-m", "pip", "freeze", "--exclude-editable"], text=True)
    pins = [line for line in frozen.splitlines() if "==" in line and " @ " not in line]
    head = "# Exact versions of everything that `python3 ci` installs. Renew with `python3 ci lock`."
    (ROOT / "ci" / "constraints.txt").write_text("\n".join([head, *pins]) + "\n")
    print(f"{len(pins)} versions pinned in ci/constraints.txt")
    return 0
