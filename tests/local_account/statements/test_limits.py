"""Limits of the platform that no documented answer of documented_refusals.py covers: sizes of statements and arguments,
time and rows of a handler's call, endpoints that have no address yet, services that sleep."""

import json
import time

import httpx
import pandas as pd
import pytest
from snowflake.ml.model import custom_model, model_signature
from snowflake.ml.registry import Registry

FRAME = pd.DataFrame({"X": [1]})
HEAD = "RETURNS STRING LANGUAGE PYTHON RUNTIME_VERSION = '3.11' HANDLER = 'f'"


class Rows(custom_model.CustomModel):
    """How many rows each call gets."""

    @custom_model.inference_api
    def small(self, X: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"N": [len(X)] * len(X)})

    @custom_model.inference_api
    def large(self, X: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"N": [len(X)] * len(X)})


@pytest.fixture(scope="module")
def model(session):
    signature = model_signature.infer_signature(FRAME, pd.DataFrame({"N": [1]}))
    return Registry(session, database_name="TEST_LIMITS", schema_name="PUBLIC").log_model(
        Rows(custom_model.ModelContext()), model_name="M", version_name="V1", conda_dependencies=["pandas"],
        signatures={"small": signature, "large": signature},
        options={"relax_version": True, "method_options": {"small": {"max_batch_size": 8}}},
        target_platforms=["WAREHOUSE", "SNOWPARK_CONTAINER_SERVICES"],
    )  # fmt: skip


@pytest.fixture
def limits(account):
    """Sets the limits of the account."""
    file = account["root"] / "limits.json"
    yield lambda **given: file.write_text(json.dumps(given))
    file.unlink(missing_ok=True)


def test_the_text_of_a_statement_has_a_megabyte(query):
    assert query(f"SELECT LENGTH('{'x' * 1_000_000}') AS L") == [(1_000_000,)]
    with pytest.raises(Exception, match="a statement of 10485.. bytes; the platform documents 1048576"):
        query(f"SELECT LENGTH('{'x' * (1 << 20)}') AS L")


def test_a_functions_text_without_a_length_has_16_mb(query):
    query(f"CREATE FUNCTION SAME(S STRING) {HEAD} AS $$f = str$$")
    query(f"CREATE FUNCTION LONG(N INT) {HEAD} AS $$f = lambda n: 'x' * n$$")
    assert query("SELECT LENGTH(SAME(REPEAT('x', 16777216))), LENGTH(LONG(16777216))") == [(16777216, 16777216)]
    for call in ("SAME(REPEAT('x', 16777217))", "LONG(16777217)"):
        with pytest.raises(Exception, match="100078 .*String 'x+' is too long and would be truncated"):
            query(f"SELECT LENGTH({call})")
    query(f"CREATE FUNCTION WIDE(S VARCHAR(20000000)) {HEAD.replace('STRING', 'INT')} AS $$f = len$$")
    assert query("SELECT WIDE(REPEAT('x', 16777217))") == [(16777217,)]


def test_a_call_that_takes_too_long_fails_and_the_next_works(query, limits):
    query(f"CREATE FUNCTION SLEEP(S FLOAT) {HEAD} AS $$import time\nf = lambda s: str(time.sleep(s))$$")
    limits(handler_seconds=1.5)
    with pytest.raises(Exception, match="(?s)100357 .*handler f timed out: a call may take 1.5 s"):
        query("SELECT SLEEP(30 + SEQ4()) FROM TABLE(GENERATOR(ROWCOUNT => 1))")
    assert query("SELECT COUNT(SLEEP(0.5)) FROM TABLE(GENERATOR(ROWCOUNT => 4))") == [(4,)]  # each call counts alone


def test_a_handler_gets_at_most_max_batch_size_rows_and_else_thousands(query, model):
    rows = "FROM (SELECT MODEL(M)!{}(SEQ4()):N::INT AS N FROM TABLE(GENERATOR(ROWCOUNT => 2000)))"
    assert query(f"SELECT MAX(N) {rows.format('SMALL')}") == [(8,)]
    assert query(f"SELECT MAX(N) >= 1000 {rows.format('LARGE')}") == [(True,)]


def test_a_vectorized_function_says_how_many_rows_a_call_gets(query):
    query(f"""CREATE FUNCTION PARTS(X INT) {HEAD.replace("STRING", "INT")} PACKAGES = ('pandas') AS $$
import pandas
from _snowflake import vectorized
@vectorized(input=pandas.DataFrame, max_batch_size=5)
def f(frame):
    return frame[0] * 0 + len(frame)
$$""")
    assert query("SELECT MAX(N) FROM (SELECT PARTS(SEQ4()) AS N FROM TABLE(GENERATOR(ROWCOUNT => 12)))") == [(5,)]


def test_an_endpoint_has_no_address_at_first_and_an_idle_service_sleeps(account, session, query, limits, model):
    """As Snowflake does with min_instances = 0 and AUTO_SUSPEND_SECS; a request wakes it."""
    limits(provisioning_seconds=3)
    model.create_service(service_name="SVC", service_compute_pool="SYSTEM_COMPUTE_POOL_CPU", ingress_enabled=True,
                         min_instances=0, max_instances=1, block=False).result()  # fmt: skip

    def shown(statement, column):
        return {row[column] for row in session.sql(statement).collect()}

    assert shown("SHOW ENDPOINTS IN SERVICE SVC", "ingress_url") == {
        "Endpoints provisioning in progress... check back in a few minutes"
    }
    (address,) = wait(lambda: shown("SHOW ENDPOINTS IN SERVICE SVC", "ingress_url"), lambda urls: " " not in min(urls))
    query("ALTER SERVICE SVC SET AUTO_SUSPEND_SECS = 1")
    wait(lambda: shown("SHOW SERVICES LIKE 'SVC'", "status"), lambda found: found == {"SUSPENDED"})
    assert shown("SHOW ENDPOINTS IN SERVICE SVC", "ingress_url") == {address}
    query("ALTER SERVICE SVC SET AUTO_SUSPEND_SECS = 600")
    assert httpx.post(f"http://{address}/small", json={"data": [[0, 1]]}).status_code == 401, "a stranger wakes nothing"

    def post():
        try:
            headers = {"Authorization": f'Snowflake Token="{account["password"]}"'}
            return httpx.post(f"http://{address}/small", json={"data": [[0, 1]]}, headers=headers, timeout=60)
        except httpx.TransportError:
            return None

    assert post().status_code == 503
    answer = wait(post, lambda got: got is not None and got.status_code == 200)
    assert answer.json() == {"data": [[0, {"N": 1}]]}
    assert shown("SHOW SERVICES LIKE 'SVC'", "status") == {"RUNNING"}


def wait(ask, until):
    deadline = time.monotonic() + 120
    while not until(found := ask()):
        assert time.monotonic() < deadline, found
        time.sleep(0.25)
    return found
