"""The scripts of sql/: they parse and run, grant only what is needed, and the teardown removes everything."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import sqlglot
from snowflake.snowpark import Session
from sqlglot import exp

from cxr.account.project import Project
from cxr.account.scripts import read_sql_file, run
from cxr.account.session import start_local_account
from cxr.settings import NAMES, Settings, load

sys.path.insert(0, str(Path(__file__).parent))
from documented import find_form  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "sql").glob("*.sql"))
SET_UP = ("10_account", "20_objects", "25_egress", "30_deploy", "40_schedule", "45_start_schedule")
EVERY = [(path.stem, text) for path in SCRIPTS for text in read_sql_file(path, Settings())]


def statements(stem: str, settings: Settings | None = None) -> list[str]:
    return read_sql_file(ROOT / "sql" / f"{stem}.sql", settings or Settings())


# ---------------------------------------------------------------- as text


def problem(statement: str) -> str | None:
    """The reason why a statement is not documented by Snowflake; None if it is documented."""
    tree = sqlglot.parse_one(statement, dialect="snowflake")
    if not isinstance(tree, exp.Command):
        return None
    if (found := find_form(statement)) is None:
        return f"neither sqlglot nor a documented form knows: {statement[:100]}"
    return next(filter(None, map(problem, found[1])), None)


@pytest.mark.parametrize(("stem", "statement"), EVERY, ids=[f"{stem}-{text[:50]}" for stem, text in EVERY])
def test_every_statement_is_rendered_and_is_one_that_snowflake_documents(stem, statement):
    assert "<%" not in statement
    assert problem(statement) is None


def test_every_time_is_in_utc():
    """The others are of the session's time zone, and sessions differ in it."""
    files = [*SCRIPTS, *(ROOT / "lib" / "cxr").rglob("*.py"), *(ROOT / "streamlit").rglob("*.py")]
    local = re.compile(r"\b(CURRENT_(TIMESTAMP|DATE|TIME)|LOCALTIME(STAMP)?|GETDATE)\b", re.IGNORECASE)
    assert not [path.name for path in files if local.search(path.read_text())]


@pytest.mark.parametrize(
    "wrong",
    [
        "CREATE COMPUTE POOL P MIN_NODES = 1 MAX_NODES = 1 INSTANCE_FAMILIES = X",
        "CREATE TASK T WAREHOUSE = W SCHEDULE = '5 MINUTE' AS EXECUTE NOTEBOOK N()",
        "EXECUTE CODE BUNDLE B ARGUMENTS = ('a') ENTRYPOINT = 'x.py'",
        "ALTER CODE BUNDLE B ADD VERSION",
        "CREATE STREAMLIT S FROM '@C' ROOT_LOCATION = '@C'",
        "DROP COMPUTE POOL P CASCADE",
    ],
)
def test_undocumented_statements_are_found(wrong):
    assert problem(wrong) is not None


def test_every_name_is_qualified_so_that_no_session_state_matters():
    for stem, statement in EVERY:
        made = re.match(
            r"(?:CREATE(?: OR REPLACE)?|ALTER|DROP|EXECUTE) (TABLE|VIEW|STAGE|TASK|ALERT|STREAMLIT|CODE BUNDLE"
            r"|MODEL MONITOR|MODEL|SERVICE|NETWORK RULE)(?: IF (?:NOT )?EXISTS)? (\S+)",
            statement,
        )
        assert not made or made[2].count(".") == 2, (stem, statement)


def test_only_two_scripts_need_the_administrator_to_set_up():
    account = re.compile(r"ON ACCOUNT|COMPUTE POOL|(CREATE|DROP) (ROLE|WAREHOUSE|EXTERNAL|INTEGRATION)|GRANT ROLE")
    needing = {stem for stem, text in EVERY if account.match(text) or re.search(r"ON ACCOUNT|GRANT ROLE", text)}
    assert needing <= {"10_account", "25_egress", "90_teardown"}


def test_privileges_are_few_and_listed():
    grants = [text for _, text in EVERY if text.startswith("GRANT")]
    assert not [text for text in grants if re.search(r"\bALL\b|TO ROLE (PUBLIC|ACCOUNTADMIN)|\bFUTURE\b", text)]
    on_account = {re.match(r"GRANT (.+?) ON ACCOUNT", text)[1] for text in grants if "ON ACCOUNT" in text}
    assert on_account == {"BIND SERVICE ENDPOINT", "EXECUTE TASK", "EXECUTE ALERT"}
    viewer = [text for text in grants if text.endswith("TO ROLE CXR_VIEWER")]
    assert sorted(re.match(r"GRANT USAGE ON (\w+)", text)[1] for text in viewer) == ["DATABASE", "SCHEMA", "STREAMLIT"]


def test_external_access_is_limited_to_one_host():
    hosts = [
        host for _, text in EVERY for host in re.findall(r"'([^']+)'", "".join(re.findall(r"VALUE_LIST.*\)", text)))
    ]
    assert hosts == ["download.pytorch.org:443"]
    assert not [text for stem, text in EVERY if stem != "25_egress" and "CREATE EXTERNAL ACCESS" in text]


def test_everything_that_runs_suspends_by_itself():
    for _, text in EVERY:
        if text.startswith(("CREATE COMPUTE POOL", "CREATE WAREHOUSE")):
            assert "INITIALLY_SUSPENDED = TRUE" in text
            assert int(re.search(r"AUTO_SUSPEND(?:_SECS)? = (\d+)", text)[1]) <= 600


def test_a_task_has_a_day_because_snowflake_ends_it_after_an_hour_by_default():
    tasks = [text for _, text in EVERY if text.startswith("CREATE TASK")]
    assert len(tasks) == 4
    assert all(" USER_TASK_TIMEOUT_MS = 86400000\n" in text for text in tasks)


def test_what_others_were_granted_outlives_a_second_run():
    replaced = [text for _, text in EVERY if re.match("CREATE OR REPLACE (VIEW|FUNCTION)", text)]
    assert len(replaced) == 5
    assert all(re.match(r"CREATE OR REPLACE \w+ [\w.]+(\(.*?\))?\s+COPY GRANTS\s", text) for text in replaced)


# ---------------------------------------------------------------- set-up and teardown


CREATED = re.compile(
    r"CREATE (?:OR REPLACE )?(?:EXTERNAL ACCESS )?(COMPUTE POOL|CODE BUNDLE|NETWORK RULE|\w+) "
    r"(?:IF NOT EXISTS )?([\w.]+)"
)


def test_the_teardown_names_everything_that_set_up_made():
    dropped = {
        tuple(re.match(r"DROP ([A-Z ]+) IF EXISTS ([\w.]+)", text).groups())
        for text in statements("90_teardown")
        if text.startswith("DROP")
    }
    for stem in SET_UP:
        for kind, name in [CREATED.match(text).groups() for text in statements(stem) if text.startswith("CREATE")]:
            # What only holds data goes with its database. The warehouse stays: it may be other people's.
            inside = kind in ("SCHEMA", "STAGE", "TABLE", "VIEW", "FUNCTION", "NETWORK RULE") and name.startswith(
                "MEDICAL_IMAGES."
            )
            assert (kind, name) in dropped or inside or kind == "WAREHOUSE", (kind, name)


def test_the_teardown_first_stops_what_runs_and_drops_what_holds_data_last():
    order = [re.match(r"(\w+) ([A-Z ]+?) IF EXISTS", text).groups() for text in statements("90_teardown")]
    first = {step: order.index(step) for step in order}
    starts = max(first[("ALTER", "TASK")], first[("ALTER", "ALERT")])
    runs = max(first[("DROP", "SERVICE")], first[("DROP", "STREAMLIT")])
    rest = [
        first[("DROP", kind)] for kind in ("TASK", "ALERT", "CODE BUNDLE", "MODEL", "DATABASE", "COMPUTE POOL", "ROLE")
    ]
    assert starts < runs < min(rest)
    assert first[("ALTER", "COMPUTE POOL")] < first[("DROP", "COMPUTE POOL")]
    assert first[("DROP", "INTEGRATION")] < first[("DROP", "DATABASE")] < first[("DROP", "ROLE")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The project on a separate, empty account."""
    root = tmp_path_factory.mktemp("sql-account")
    settings = load(argv=[], environ={}, account_dir=str(root))
    session = Session.builder.configs(start_local_account(settings)).create()
    yield Project(session, settings)
    session.close()
    subprocess.run([sys.executable, "-m", "local_account", "stop", "--root", str(root)], check=True)


ACCOUNT_KINDS = ("DATABASES", "WAREHOUSES", "COMPUTE POOLS", "ROLES", "INTEGRATIONS")
SCHEMA_KINDS = (
    "SCHEMAS", "STAGES", "TABLES", "VIEWS", "TASKS", "ALERTS", "STREAMLITS", "CODE BUNDLES", "NETWORK RULES",
    "SERVICES",
)  # fmt: skip


def everything(session: Session) -> set[tuple]:
    """All objects of an account by kind, schema and name, and all grants."""
    found = set()
    for kind in ACCOUNT_KINDS + SCHEMA_KINDS:
        for row in session.sql(f"SHOW {kind}{' IN ACCOUNT' if kind in SCHEMA_KINDS else ''}").collect():
            fields = row.as_dict()
            found.add((kind, fields.get("database_name"), fields.get("schema_name"), fields["name"]))
    grants = session.sql("SHOW GRANTS").collect()
    return found | {tuple(row.as_dict().values())[1:] for row in grants}


def put_files(project: Project) -> None:
    """The files that bundle and app need."""
    for name in ("code_bundle.yml", "streamlit/streamlit_app.py"):
        folder = f"@{project.qualified(project.settings.code_stage)}/{Path(name).parent}".removesuffix("/.")
        project.session.file.put(str(ROOT / name), folder, auto_compress=False, overwrite=True)


def set_up(project: Project) -> list[str]:
    said = []
    for stem in SET_UP:
        if stem == "30_deploy":
            put_files(project)
        said += [f"{text[:60]} -> {run(project.session, text)}" for text in statements(stem, project.settings)]
    return said


def test_set_up_teardown_and_set_up_again_leave_the_same_account(place):
    project = place
    bare = everything(project.session)
    set_up(project)
    made = everything(project.session)
    assert len(made - bare) > 35
    set_up(project)
    assert everything(project.session) == made
    for _ in range(2):
        for text in statements("90_teardown", project.settings):
            run(project.session, text)
        assert everything(project.session) == bare
    said = set_up(project)
    assert everything(project.session) == made
    # What this account cannot do it says, so that nobody takes a record for a machine.
    for line in said:
        if re.match(r"GRANT|CREATE (ROLE|COMPUTE POOL|NETWORK RULE|EXTERNAL ACCESS|ALERT)", line):
            assert "recorded, not executed" in line, line


def test_a_role_without_create_database_can_set_up_an_existing_database(place):
    project = place
    run(project.session, f"CREATE DATABASE IF NOT EXISTS {project.settings.database}")
    first, *rest = statements("20_objects", project.settings)
    assert first.startswith("CREATE DATABASE") and "left as it is" in run(project.session, first)
    assert not [text for text in rest if "DATABASE" in text.split("(")[0].split(".")[0]]


def test_the_alert_reads_real_predictions_and_writes_a_row_on_drift(place):
    """The local account does not run alerts, but the condition and the action of this one are statements that run."""
    project = place
    for text in statements("20_objects", project.settings):
        run(project.session, text)
    alert = next(text for text in statements("40_schedule", project.settings) if text.startswith("CREATE ALERT"))
    _, (condition, action) = find_form(alert)
    baseline, predictions, alerts = (
        project.qualified(getattr(project.settings, f"{name}_table")) for name in ("baseline", "predictions", "alerts")
    )
    tenths = ", ".join(f"('M', 'V1', {tenth}, 10)" for tenth in range(10))
    project.session.sql(f"INSERT INTO {baseline} (MODEL_NAME, MODEL_VERSION, TENTH, IMAGES) VALUES {tenths}").collect()

    def answer(scores: list[float | None], days_ago: int = 1, status: str = "ok") -> None:
        rows = ", ".join(
            f"(UUID_STRING(), 'M', 'V1', 'BATCH', {'NULL' if score is None else score}, "
            f"'{'blank' if score is None else status}', DATEADD('day', -{days_ago}, SYSDATE()))"
            for score in scores
        )
        columns = "IMAGE_ID, MODEL_NAME, MODEL_VERSION, PATH_TAKEN, P_POSITIVE, STATUS, SCORED_AT"
        project.session.sql(f"INSERT INTO {predictions} ({columns}) VALUES {rows}").collect()

    def raised() -> list[str]:
        project.session.sql(f"DELETE FROM {alerts}").collect()
        if project.session.sql(condition).collect():
            project.session.sql(action).collect()
        return [row["DETAIL"].split(": ", 1)[1] for row in project.session.table(alerts).collect()]

    even = [tenth / 10 + 0.05 for tenth in range(10)]
    assert raised() == []  # no answers at all
    answer([0.95] * 99)
    assert raised() == []  # too few to tell drift from chance
    project.session.sql(f"DELETE FROM {predictions}").collect()
    answer(even * 5)
    answer([0.95] * 50, days_ago=3)
    assert raised() == []  # as on validation images; what moved earlier was told earlier
    answer([None] * 8)
    assert raised() == ["58 images, stability index 0, 14% refused"]
    project.session.sql(f"DELETE FROM {predictions}").collect()
    answer([0.95] * 100)
    (said,) = raised()
    assert said.startswith("100 images, stability index 4.") and said.endswith("0% refused")
    project.session.sql(f"DELETE FROM {predictions}").collect()
    answer(even * 9)
    answer(even, status="unlike_training: 3 times as far")
    assert raised() == ["10% of 100 images are unlike those of training"]
    assert [row["ALERT"] for row in project.session.table(alerts).collect()] == ["UNLIKE"]


def test_the_snowflake_cli_fills_in_and_runs_the_same_files(place, snow):
    project = place
    variables = {name: getattr(project.settings, name) for name in NAMES}
    defined = [word for name, value in variables.items() for word in ("-D", f"{name}={value}")]
    files = [word for stem in ("20_objects", "25_egress") for word in ("-f", str(ROOT / "sql" / f"{stem}.sql"))]
    home = Path(project.settings.account_dir)
    done = snow("sql", *files, *defined, "--enable-templating", "STANDARD", "-c", "local", home=home, cwd=home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "View DRIFT successfully created." in done.stdout
