"""EXECUTE JOB SERVICE: the container's command as a process, its volumes, its log, its end."""

import io
import json
import subprocess
import time

import pytest
from snowflake.connector.errors import ProgrammingError
from snowflake.snowpark.exceptions import SnowparkSQLException

IN_POOL = "EXECUTE JOB SERVICE IN COMPUTE POOL SYSTEM_COMPUTE_POOL_CPU"
LOGIN = """
import os
from snowflake.snowpark import Session
given = {key: os.environ["SNOWFLAKE_" + key.upper()] for key in ("host", "port", "protocol", "account", "database")}
given["token"] = open(os.environ["SNOWFLAKE_TOKEN_FILE"]).read()
session = Session.builder.configs({**given, "authenticator": "oauth"}).create()
print("row", *session.sql("SELECT CURRENT_DATABASE(), CURRENT_ROLE(), CURRENT_WAREHOUSE()").collect()[0])
"""


def specification(code: str, image: str = "/db/s/repo/image:1", more: str = "", volumes: str = "") -> str:
    """A container that runs Python code."""
    container = {"name": "main", "image": image, "command": ["python", "-c", code]}
    return f"""
spec:
  containers:
  - {json.dumps(container)[:-1]}{more and ", " + more}}}
  {volumes and "volumes: " + volumes}
"""


@pytest.fixture
def run(query):
    """Run Python code as a job of that name; the log's lines after the first one."""

    def job(name: str, code: str, clauses: str = "", **given: str) -> list[str]:
        query(f"{IN_POOL} NAME = {name} {clauses} FROM SPECIFICATION $${specification(code, **given)}$$")
        return log_of(query, name).splitlines()[1:]

    return job


def log_of(query, name: str) -> str:
    return query("SELECT SYSTEM$GET_SERVICE_LOGS(?, 0, 'main')", [name])[0][0]


def wait(query, name: str) -> str:
    query(f"CALL {name}!SPCS_WAIT_FOR('DONE', 60)")
    return json.loads(query("SELECT SYSTEM$GET_SERVICE_STATUS(?)", [name])[0][0])[0]["status"]


def test_a_job_from_a_staged_specification_logs_and_is_shown_as_done(session, query):
    query("CREATE STAGE SPECS")
    text = specification("import os; print(os.environ['GREETING'])", more='"env": {"GREETING": "hello"}')
    session.file.put_stream(io.BytesIO(text.encode()), "@SPECS/jobs/hello.yaml", auto_compress=False)
    (answer,) = query(f"{IN_POOL} NAME = HELLO FROM @SPECS SPECIFICATION_FILE = 'jobs/hello.yaml'")
    assert answer == ("Job HELLO completed successfully with status: DONE.",)
    first, second = log_of(query, "HELLO").splitlines()
    assert "/db/s/repo/image:1 is only a name here" in first and second == "hello"
    (container,) = session.sql("SHOW SERVICE CONTAINERS IN SERVICE HELLO").collect()
    assert (container["status"], container["last_exit_code"], container["image_name"]) == (
        "DONE", 0, "/db/s/repo/image:1",
    )  # fmt: skip
    for statement in ("SHOW JOB SERVICES LIKE 'HEL%'", "SHOW SERVICES LIKE 'HELLO'", "DESCRIBE SERVICE HELLO"):
        (row,) = session.sql(statement).collect()
        assert (row["status"], row["is_job"], row["target_instances"]) == ("DONE", "true", 1)
    assert "GREETING" in row["spec"]


def test_a_job_that_fails_raises_with_its_last_lines_and_stays_failed(session, query, run):
    with pytest.raises(SnowparkSQLException, match=r"failed with status: FAILED(.|\n)*Exit code: 3(.|\n)*out of milk"):
        run("BROKEN", "import sys; print('out of milk', file=sys.stderr); sys.exit(3)")
    (container,) = session.sql("SHOW SERVICE CONTAINERS IN SERVICE BROKEN").collect()
    assert (container["status"], container["last_exit_code"]) == ("FAILED", 3)
    assert query("SELECT STATUS FROM TABLE(SNOWFLAKE.SPCS.GET_JOB_HISTORY()) WHERE NAME = 'BROKEN'") == [("FAILED",)]
    with pytest.raises(SnowparkSQLException, match="no-such-command(.|\n)*No such file"):
        query(f"""{IN_POOL} FROM SPECIFICATION $$
            spec: {{containers: [{{name: main, image: i, command: [no-such-command]}}]}}$$""")


def test_the_container_logs_in_with_its_token_as_the_owner_on_the_jobs_warehouse(query, run):
    query("CREATE WAREHOUSE OF_THE_JOB")
    lines = run("SIGNED_IN", LOGIN, "QUERY_WAREHOUSE = OF_THE_JOB")
    assert lines[-1] == "row TEST_JOB_SERVICES SYSADMIN OF_THE_JOB"


def test_the_token_opens_nothing_once_the_job_has_ended(query, run, account):
    from tests.local_account.conftest import open_session

    *_, token = run("LEAKY", "import os; print(open(os.environ['SNOWFLAKE_TOKEN_FILE']).read())")
    with pytest.raises(Exception, match="Incorrect username or password"):
        open_session({**account, "password": ""}, authenticator="oauth", token=token)


def test_stage_volumes_are_read_at_the_start_and_written_at_the_end(session, query, run):
    query("CREATE STAGE DATA")
    for name in ("kept", "changed", "removed"):
        session.file.put_stream(io.BytesIO(b"old"), f"@DATA/in/{name}.txt", auto_compress=False)
    code = """
import os, pathlib, sys
folder = pathlib.Path(os.environ["IN"])
print(sorted(file.name for file in folder.iterdir()))
(folder / "changed.txt").write_text("newer")
(folder / "removed.txt").unlink()
(folder / "sub").mkdir()
(folder / "sub" / "new.txt").write_text("new")
"""
    volumes = "[{name: data, source: stage, stageConfig: {name: '@DATA/in'}}]"
    more = (
        '"env": {"IN": "/mnt/data", "NEAR": "/mnt/data2"}, "volumeMounts": [{"name": "data", "mountPath": "/mnt/data"}]'
    )
    assert run("COPIES", code, more=more, volumes=volumes) == ["['changed.txt', 'kept.txt', 'removed.txt']"]
    files = {name: size for name, size, *_ in query("LIST @DATA")}
    assert files == {"data/in/changed.txt": 5, "data/in/kept.txt": 3, "data/in/sub/new.txt": 3}


def test_the_container_sees_nothing_of_the_servers_environment(run):
    assert run("BARE", "import os; print([name for name in os.environ if name.startswith(('CXR_', 'PYTEST_'))])") == [
        "[]"
    ]


SLEEP = "import time; print('asleep', flush=True); time.sleep(300)"


def test_a_job_that_runs_is_cancelled_or_dropped(query, run, session):
    run("LONG", SLEEP, "ASYNC = TRUE")
    assert session.sql("SHOW SERVICE CONTAINERS IN SERVICE LONG").collect()[0]["status"] == "RUNNING"
    with pytest.raises(SnowparkSQLException, match="Timed out after 0 s"):
        query("CALL LONG!SPCS_WAIT_FOR('DONE', 0)")
    with pytest.raises(SnowparkSQLException, match="already exists"):
        run("LONG", SLEEP, "ASYNC = TRUE")
    assert query("CALL LONG!SPCS_CANCEL_JOB()") == [("Job cancelled.",)]
    assert session.sql("DESCRIBE SERVICE LONG").collect()[0]["status"] == "CANCELLED"
    assert query("CALL LONG!SPCS_CANCEL_JOB()") == [("The job has already ended.",)]
    query("DROP SERVICE LONG")
    run("LONG", f"import os; print('pid', os.getpid(), flush=True)\n{SLEEP}", "ASYNC = TRUE")
    while "asleep" not in log_of(query, "LONG"):
        time.sleep(0.05)
    pid = log_of(query, "LONG").splitlines()[1].split()[1]
    query("DROP SERVICE LONG")
    assert query("SHOW SERVICES LIKE 'LONG'") == []
    assert subprocess.run(["kill", "-0", pid], capture_output=True).returncode != 0


def test_a_cancelled_statement_cancels_its_job(connect, query):
    cursor = connect().connection.cursor()
    with pytest.raises(ProgrammingError, match="canceled"):
        cursor.execute(f"{IN_POOL} NAME = STOPPED FROM SPECIFICATION $${specification(SLEEP)}$$", timeout=2)
    assert wait(query, "STOPPED") == "CANCELLED"


def test_ended_jobs_do_not_keep_their_pool(query):
    query("CREATE COMPUTE POOL SMALL MIN_NODES = 1 MAX_NODES = 1 INSTANCE_FAMILY = CPU_X64_XS")
    query(f"EXECUTE JOB SERVICE IN COMPUTE POOL SMALL NAME = SHORT FROM SPECIFICATION $${specification('')}$$")
    query("DROP COMPUTE POOL SMALL")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"volumes": "[{name: v, source: '@DATA'}]"}, "old form of a stage mount(.|\n)*source: stage"),
        ({"volumes": "[{name: v, source: block, size: 10Gi}]"}, "source: block"),
        ({"volumes": "[{name: v, source: stage, stageConfig: {name: '@NOWHERE'}}]"}, "NOWHERE' does not exist"),
        ({"volumes": "[{name: v, source: stage, stageConfig: {name: '@~/x'}}]"}, "folder of a named stage"),
        ({"more": '"volumeMounts": [{"name": "v", "mountPath": "/v"}]'}, "no volume v to mount"),
        ({"more": '"resources": {"requests": {"nvidia.com/gpu": 64}}'}, "nvidia.com/gpu: 64 by main: this machine has"),
        ({"more": '"resources": {"requests": {"memory": "64Ti"}}'}, "memory: 64Ti by main"),
        ({"more": '"readinessProbe": {"port": 80}'}, "readinessProbe in a container"),
        ({"more": '"secrets": [{"snowflakeSecret": "NONE", "directoryPath": "/s"}]'}, "secrets in a container"),
        ({"volumes": "[]\n  endpoints: [{name: e, port: 80}]"}, "endpoints in spec"),
        ({"volumes": "[]\ncapabilities: {}"}, "capabilities in a job's specification"),
    ],
)  # fmt: skip
def test_what_a_process_cannot_give_is_refused_by_name(run, given, words):
    with pytest.raises(SnowparkSQLException, match=words):
        run("NEVER", "", **given)


@pytest.mark.parametrize(
    ("clauses", "text", "words"),
    [
        ("REPLICAS = 2", specification(""), "REPLICAS = 2"),
        ("QUERY_WAREHOUSE = NOWHERE", specification(""), "NOWHERE' does not exist"),
        ("EXTERNAL_ACCESS_INTEGRATIONS = (NOWHERE)", specification(""), "NOWHERE' does not exist"),
        ("AUTO_RESUME = TRUE", specification(""), "unknown property near 'AUTO_RESUME'"),
        ("", "spec: {containers: [{name: a, image: i, command: [x]}, {name: b}]}", "several containers.*a, b"),
        ("", "spec: {containers: [{name: a, image: i}]}", "entry point of the image i"),
        ("", "spec: {}", "containers is missing"),
        ("", "spec: [}", "not YAML"),
    ],
)  # fmt: skip
def test_clauses_and_specifications_that_cannot_be_met_are_refused(query, clauses, text, words):
    with pytest.raises(SnowparkSQLException, match=words):
        query(f"{IN_POOL} NAME = NEVER {clauses} FROM SPECIFICATION $${text}$$")
    assert query("SHOW SERVICES LIKE 'NEVER'") == []


def test_ended_jobs_survive_a_restart_and_running_ones_end_with_their_server(tmp_path):
    from tests.local_account.conftest import local_account, open_session, start

    session = open_session(start(tmp_path / "a"))
    ask = lambda sql: session.sql(sql).collect()  # noqa: E731 - a session that is opened twice
    ask("CREATE DATABASE D")
    ask(f"{IN_POOL} NAME = ENDED FROM SPECIFICATION $${specification('print(1)')}$$")
    pid = f"import os; print('pid', os.getpid(), flush=True)\n{SLEEP}"
    ask(f"{IN_POOL} NAME = KILLED ASYNC = TRUE FROM SPECIFICATION $${specification(pid)}$$")
    while "asleep" not in (log := ask("SELECT SYSTEM$GET_SERVICE_LOGS('KILLED', 0, 'main')")[0][0]):
        time.sleep(0.05)
    session.close()
    server = json.loads((tmp_path / "a" / "server.json").read_text())["pid"]
    subprocess.run(["kill", "-9", str(server)], check=True)
    session = open_session(start(tmp_path / "a"), database="D", schema="PUBLIC")
    assert {row["name"]: row["status"] for row in ask("SHOW JOB SERVICES")} == {
        "ENDED": "DONE", "KILLED": "INTERNAL_ERROR",
    }  # fmt: skip
    assert ask("SELECT SYSTEM$GET_SERVICE_LOGS('ENDED', 0, 'main', 1)")[0][0] == "1"
    deadline = time.monotonic() + 10
    while subprocess.run(["kill", "-0", log.split()[-2]], capture_output=True).returncode == 0:
        assert time.monotonic() < deadline, "the job outlives its server"
        time.sleep(0.1)
    session.close()
    local_account("stop", tmp_path / "a")
