"""`python3 ci deploy` with a run of the notebooks, again without, teardown, and again: the same account each time."""

from pathlib import Path

from snowflake.snowpark import Session
from tests.sql.deployments import deploy
from tests.sql.test_scripts import everything

from cxr.account.session import start_local_account
from cxr.settings import load

SMALL = {"CXR_PHANTOM_PATIENTS": "12", "CXR_AT_MOST": "2"}  # the account's server, which the first one starts, has them


def state(place: Path) -> tuple[set[tuple], dict[str, str], int]:
    """All objects and grants, the tasks' states, and the number of images."""
    settings = load(argv=[], environ={}, account_dir=str(place / "account"))
    with Session.builder.configs(start_local_account(settings)).create() as session:
        # Each run of notebook 05 leaves a finished inference job, with a name of its own.
        objects = {thing for thing in everything(session) if not str(thing[-1]).startswith("BATCH_INFERENCE_")}
        for kind in ("MODELS", "EXPERIMENTS"):
            objects |= {(kind, row["name"]) for row in session.sql(f"SHOW {kind} IN ACCOUNT").collect()}
        tasks = {row["name"]: row["state"] for row in session.sql("SHOW TASKS IN ACCOUNT").collect()}
        catalog = settings.qualified(settings.catalog_table)
        images = session.table(catalog).count() if tasks else 0
    return objects, tasks, images


def test_deployments_runs_and_teardown_can_be_repeated_and_give_the_same_account(place):
    def deployed(*arguments: str) -> tuple[set[tuple], dict[str, str], int]:
        done = deploy(place, *arguments, **SMALL)
        assert done.returncode == 0, done.stdout + done.stderr
        return state(place)

    fresh = deployed("--start-schedule")
    # That notebooks can run again on what they left is shown by tests/notebooks/test_rerun.py.
    first, second = deployed("--run", "--profile", "smoke", "--start-schedule"), deployed("--start-schedule")
    assert first[0] ^ second[0] == set() and first[1:] == second[1:]
    objects, tasks, images = first
    assert images > 0 and ("MODELS", "PNEUMONIA_CLASSIFIER") in objects
    assert tasks.keys() == {"RETRAIN", "REGISTER", "INGEST_NEW_IMAGES", "SCORE_NEW_IMAGES"}
    assert set(tasks.values()) == {"started"}
    bare = deployed("--teardown", "MEDICAL_IMAGES")
    assert not any("MEDICAL_IMAGES" in map(str, thing) for thing in bare[0]) and not bare[1]
    again = deployed("--start-schedule")
    assert again[0] ^ fresh[0] == set() and again[1:] == fresh[1:]
