"""The real Registry against the account, with a model small enough to be fast."""

import contextlib
import gzip
import socket
import time

import httpx
import numpy as np
import pandas as pd
import psutil
import pytest
from snowflake.ml.model import custom_model, model_signature
from snowflake.ml.registry import Registry
from snowflake.snowpark.exceptions import SnowparkSQLException

INPUT = pd.DataFrame({"IMAGE": ["a", "abcdefg", "abcdefghijkl"]})
PREDICT = model_signature.infer_signature(
    INPUT,
    pd.DataFrame({"P": [0.5], "LABEL": ["x"]}),
    params=[model_signature.ParamSpec("threshold", model_signature.DataType.DOUBLE, 0.5)],
)
DRAW = model_signature.infer_signature(INPUT, pd.DataFrame({"P": [0.5]}))
EXPLAIN = model_signature.infer_signature(INPUT, pd.DataFrame({"HEATMAP": ["x"]}))


class Lengths(custom_model.CustomModel):
    """P is a tenth of the text's length."""

    def __init__(self, context):
        super().__init__(context)

    @custom_model.inference_api
    def predict(self, X: pd.DataFrame, *, threshold: float = 0.5) -> pd.DataFrame:
        p = X["IMAGE"].str.len() / 10
        return pd.DataFrame({"P": p, "LABEL": ["BIG" if value >= threshold else "SMALL" for value in p]})

    @custom_model.inference_api
    def explain(self, X: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"HEATMAP": X["IMAGE"].str[::-1]})

    @custom_model.inference_api
    def draw(self, X: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"P": np.random.random(len(X))})


def log(registry, version):
    return registry.log_model(
        Lengths(custom_model.ModelContext()),
        model_name="LENGTHS",
        version_name=version,
        signatures={"predict": PREDICT, "explain": EXPLAIN, "draw": DRAW},
        conda_dependencies=["pandas"],
        target_platforms=["WAREHOUSE", "SNOWPARK_CONTAINER_SERVICES"],
        comment="counts letters",
        metrics={"accuracy": 0.9},
        options={"relax_version": True, "capture_sample_input_data": False},
    )


@pytest.fixture(scope="module")
def registry(session):
    return Registry(session, database_name="TEST_REGISTRY", schema_name="PUBLIC")


@pytest.fixture(scope="module")
def version(registry):
    return log(registry, "V1")


def test_a_logged_version_is_listed(registry, version):
    model = registry.get_model("LENGTHS")
    assert [v.version_name for v in model.versions()] == ["V1"]
    assert model.default.version_name == "V1"
    assert registry.show_models()["name"].tolist() == ["LENGTHS"]
    assert version.comment == "counts letters"
    assert version.show_metrics() == {"accuracy": 0.9}
    assert {f["name"] for f in version.show_functions()} == {"PREDICT", "EXPLAIN", "DRAW"}


def test_a_version_cannot_be_logged_twice(registry, version):
    with pytest.raises(Exception, match="already existed"):
        log(registry, "V1")


def test_names_aliases_and_metrics_change(registry, version):
    model = registry.get_model("LENGTHS")
    version.set_alias("PROD")
    version.set_metric("auroc", 0.95)
    version.comment = "better"
    model.comment = "letters"
    assert model.version("PROD").version_name == "V1"
    assert version.get_metric("auroc") == 0.95
    assert (version.comment, model.description) == ("better", "letters")


def test_the_warehouse_runs_the_model(account, session, version):
    assert version.run(INPUT, function_name="predict")["LABEL"].tolist() == ["SMALL", "BIG", "BIG"]
    strict = version.run(INPUT, function_name="predict", params={"threshold": 0.9})
    assert strict["LABEL"].tolist() == ["SMALL", "SMALL", "BIG"]
    assert version.run(session.create_dataframe(INPUT), function_name="explain").to_pandas()["HEATMAP"][1] == "gfedcba"
    copied = [each for child in psutil.Process(account["pid"]).children() for each in child.children()]
    assert len(copied) == 1, "one process holds both methods of the version"


@pytest.mark.parametrize("name", ["LENGTHS, V1", "TEST_REGISTRY.PUBLIC.LENGTHS, LAST", "LENGTHS, DEFAULT", "LENGTHS"])
def test_sql_calls_the_model_anywhere_in_a_query(query, version, name):
    counted = query(f"""
        SELECT MODEL({name})!PREDICT(X):LABEL::STRING AS L, COUNT(*) FROM VALUES ('abc'), ('abcdef') AS T(X)
        WHERE MODEL({name})!PREDICT(X, 0.1):P::FLOAT > 0 GROUP BY 1 ORDER BY 1""")
    assert counted == [("BIG", 1), ("SMALL", 1)]


def test_a_models_name_alone_means_its_default_version(query, version):
    assert query("SELECT LENGTHS!PREDICT('abcdef'):LABEL::STRING") == [("BIG",)]
    assert [row[0] for row in query("SHOW FUNCTIONS IN MODEL LENGTHS")][:2] == ["PREDICT", "EXPLAIN"]


@pytest.mark.parametrize(
    "head",
    [
        "WITH M AS MODEL LENGTHS VERSION V1 SELECT",
        "WITH m AS MODEL LENGTHS, T AS (SELECT 1) SELECT",
        "WITH T AS (SELECT 'm AS MODEL x' AS C), M AS MODEL TEST_REGISTRY.PUBLIC.LENGTHS VERSION LAST SELECT",
    ],
)
def test_a_model_may_have_an_alias(query, version, head):
    assert query(f"{head} M!PREDICT('abcdef'):LABEL::STRING, 'M!F(x)'") == [("BIG", "M!F(x)")]


def test_a_failing_model_shows_its_own_traceback(query, version):
    with pytest.raises(SnowparkSQLException, match="must be equal"):
        query("SELECT MODEL(LENGTHS)!PREDICT(X, Y) FROM VALUES ('a', 0.1), ('b', 0.2) AS T(X, Y)")


@pytest.mark.parametrize(
    "call", ["MODEL(LENGTHS)!PREDICT(image => 'a')", "MODEL(LENGTHS)!PREDICT('a', threshold => 1)"]
)
def test_named_arguments_of_a_method_are_refused_by_name(query, version, call):
    with pytest.raises(SnowparkSQLException, match="named arguments"):
        query(f"SELECT {call}")


class Reversed(custom_model.CustomModel):
    @custom_model.inference_api
    def predict(self, X: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"R": [values[::-1] for values in X["V"]]})


def vectors(registry, name, platform):
    (feature,), (output,) = (
        [model_signature.FeatureSpec(name, model_signature.DataType.DOUBLE, shape=(2,))] for name in "VR"
    )
    signature = model_signature.ModelSignature(inputs=[feature], outputs=[output])
    return registry.log_model(
        Reversed(custom_model.ModelContext()), model_name=name, version_name="V1", signatures={"predict": signature},
        conda_dependencies=["pandas"], target_platforms=[platform],
        options={"relax_version": True, "capture_sample_input_data": False},
    )  # fmt: skip


def test_an_array_reaches_the_model_as_a_list(registry, query):
    version = vectors(registry, "VECTORS", "WAREHOUSE")
    assert version.run(pd.DataFrame({"V": [[1.5, 2.5]]}), function_name="predict")["R"].tolist() == [[2.5, 1.5]]
    registry.delete_model("VECTORS")


def test_a_model_for_services_alone_does_not_run_on_the_warehouse(registry, query):
    vectors(registry, "SERVED", "SNOWPARK_CONTAINER_SERVICES")
    with pytest.raises(SnowparkSQLException, match="without the target platform WAREHOUSE"):
        query("SELECT MODEL(SERVED)!PREDICT(ARRAY_CONSTRUCT(1, 2))")
    service = "{name: TURNED, compute_pool: SYSTEM_COMPUTE_POOL_CPU}"
    query(f"SELECT SYSTEM$DEPLOY_MODEL('{{service: {service}, models: [{{name: SERVED, version: V1}}]}}')")
    assert query("SELECT TURNED!PREDICT(ARRAY_CONSTRUCT(1.5, 2.5)):R[0]::FLOAT") == [(2.5,)]
    query("DROP SERVICE TURNED")
    registry.delete_model("SERVED")


@pytest.mark.parametrize("alias", ["LAST", "first", "DEFAULT"])
def test_the_names_that_every_model_has_are_no_aliases(version, alias):
    with pytest.raises(SnowparkSQLException, match="reserved"):
        version.set_alias(alias)


def test_a_table_function_over_partitions_is_refused_by_name(query, version):
    with pytest.raises(SnowparkSQLException, match="table function over partitions"):
        query("SELECT * FROM VALUES ('a') AS T(X), TABLE(MODEL(LENGTHS)!PREDICT(X) OVER (PARTITION BY X))")


def test_load_and_export_give_the_same_model_back(version, tmp_path):
    assert version.load(force=True).predict(INPUT)["P"].tolist() == [0.1, 0.7, 1.2]
    version.export(str(tmp_path))
    assert (tmp_path / "model" / "model.yaml").is_file()


@pytest.mark.parametrize("change", ["RENAME TO SIZES", "SET TAG LIVE = 'V1'", "UNSET TAG LIVE"])
def test_renaming_and_tagging_are_refused_by_name(query, version, change):
    with pytest.raises(SnowparkSQLException, match=f"does not support the statement .ALTER MODEL LENGTHS {change}"):
        query(f"ALTER MODEL LENGTHS {change}")


def test_versions_can_be_dropped_but_not_the_default_one(registry, version):
    log(registry, "V2")
    model = registry.get_model("LENGTHS")
    with pytest.raises(SnowparkSQLException, match="default version"):
        model.delete_version("V1")
    model.delete_version("V2")
    assert model.show_versions()["name"].tolist() == ["V1"]


# ---------------------------------------------------------------- services


@pytest.fixture(scope="module")
def service(session, version):
    """A deployed service; its address on loopback."""
    given = {"service_name": "LETTERS", "service_compute_pool": "SYSTEM_COMPUTE_POOL_CPU", "ingress_enabled": True}
    version.create_service(**given, max_instances=1, block=False).result()
    while " " in (address := session.sql("SHOW ENDPOINTS IN SERVICE LETTERS").collect()[0]["ingress_url"]):
        time.sleep(0.2)
    yield f"http://{address}"
    version.delete_service("LETTERS")


@pytest.fixture
def post(service, account):
    headers = {"Authorization": f'Snowflake Token="{account["password"]}"'}
    return lambda body, route="predict": httpx.post(f"{service}/{route}", json=body, headers=headers)


ANSWER = {"data": [[0, {"P": 0.3, "LABEL": "SMALL"}]]}


@pytest.mark.parametrize(
    "body",
    [
        {"data": [[0, "abc"]]},
        {"data": [[0, "abc", 0.5]]},
        {"data": [[0, {"IMAGE": "abc"}]]},
        {"dataframe_split": {"index": [0], "columns": ["IMAGE"], "data": [["abc"]]}},
        {"dataframe_records": [{"IMAGE": "abc"}], "params": {"threshold": 0.5}},
    ],
    ids=["flat", "flat with param", "wide", "split", "records"],
)
def test_every_documented_form_is_understood(post, body):
    answer = post(body)
    assert (answer.status_code, answer.json()) == (200, ANSWER)


@pytest.mark.parametrize(
    "body, route, code, words",
    [
        ({"rows": []}, "predict", 400, "one of: data"),
        ({"dataframe_records": [{"PICTURE": "abc"}]}, "predict", 400, "column IMAGE is missing"),
        ({"dataframe_records": [{"IMAGE": "abc"}], "params": {"limit": 1}}, "predict", 400, "no parameter limit"),
        ({"dataframe_records": [{"IMAGE": "abc"}], "params": {"threshold": "high"}}, "predict", 400, "int or float"),
        ({"data": [[0, "abc", [0.5]]]}, "predict", 400, "expected scalar"),
        ({"data": [[0, 5]]}, "predict", 400, "IMAGE takes text"),
        ({"data": [[0, "abc", 0.1], [1, "abc", 0.2]]}, "predict", 400, "the same parameters"),
        ({"data": [[0, {"IMAGE": "a"}], [1, {"IMAGE": "a", "threshold": 0}]]}, "predict", 400, "the same parameters"),
        ({"data": [[0, {"IMAGE": "a"}], [1, "a"]]}, "predict", 400, "list of objects"),
        ({"dataframe_records": None}, "predict", 400, "list of objects"),
        ({"dataframe_records": [{"IMAGE": "abc"}, {"X": 1}]}, "predict", 400, "column IMAGE is missing"),
        ({"data": [[0, "abc"]]}, "guess", 404, "no method 'guess'"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(post, body, route, code, words):
    answer = post(body, route)
    assert answer.status_code == code
    assert words in answer.json()["error"]


MALFORMED = [
    b"", b"{", b"\xff\xfe", b"[]", b"5", b'{"data": 5}', b'{"data": [5]}', b'{"data": [[]]}', b'{"data": [[0]]}',
    b'{"data": [[0, "a", 0.5, 7]]}', b'{"data": [[0, {"PICTURE": "a"}]]}', b'{"dataframe_split": []}',
    b'{"dataframe_split": {"columns": ["IMAGE"], "data": [["a", "b"]]}}',
    b'{"dataframe_split": {"columns": ["IMAGE"], "data": [["a"]], "index": [1, 2]}}', b'{"dataframe_records": [1]}',
    b'{"dataframe_records": {"IMAGE": "a"}}', b'{"data": [[0, "a"]], "params": [1]}', b'{"data": [[0, ["a"]]]}',
    b"[" * 50_000, b'{"data":' + b"[" * 50_000, b'{"data": [[0, ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"]]}",
    b'{"data": [[NaN, "a"]]}', b'{"data": [[Infinity, "a"]]}', b'{"data": [[1e999, "a"]]}',
    b'{"data": [[0, "a", NaN]]}',
    b'{"data": [["\\ud800", "a"]]}', b'{"\\ud800": 1, "data": [[0, {"\\ud800": 1}]]}', b"9" * 5000,
    b'{"data": [[0, "a"]], "params": {"\\ud800": 1}}',
]  # fmt: skip


@pytest.mark.parametrize("body", MALFORMED)
def test_a_malformed_body_is_a_400_and_harms_nobody(service, account, post, body):
    headers = {"Authorization": f'Snowflake Token="{account["password"]}"'}
    answer = httpx.post(f"{service}/predict", content=body, headers=headers)
    assert (answer.status_code, bool(answer.json()["error"])) == (400, True)
    assert post({"data": [[0, "abc"]]}).json() == ANSWER


def test_a_body_may_be_zipped_and_is_limited_before_it_is_inflated(service, account):
    headers = {"Authorization": f'Snowflake Token="{account["password"]}"', "Content-Encoding": "gzip"}
    whole, bomb = gzip.compress(b'{"data": [[0, "abc"]]}'), gzip.compress(b" " * (200 << 20))
    for body, code in ((whole, 200), (bomb, 413), (whole[:-4], 400), (b"x", 400), (whole + whole, 400)):
        assert httpx.post(f"{service}/predict", content=body, headers=headers, timeout=30).status_code == code


def test_nobody_takes_the_port_of_a_service_that_is_down(query, service):
    """Its clients would send the token, and images, to whoever has it."""
    port = int(service.rpartition(":")[2])
    query("ALTER SERVICE LETTERS SUSPEND")
    try:
        for option in (None, socket.SO_REUSEADDR):
            with socket.socket() as impostor, pytest.raises(OSError, match="in use"):
                if option:
                    impostor.setsockopt(socket.SOL_SOCKET, option, 1)
                impostor.bind(("127.0.0.1", port))
    finally:
        query("ALTER SERVICE LETTERS RESUME")


def test_a_service_that_is_killed_comes_back_on_its_port_and_draws_other_numbers(service, account, post):
    drawn = post({"data": [[0, "abc"]]}, "draw").json()
    port = int(service.rpartition(":")[2])
    workers = psutil.Process(account["pid"]).children(recursive=True)
    (worker,) = [w for w in workers if any(c.laddr.port == port for c in w.net_connections("tcp") if not c.raddr)]
    worker.kill()
    for _ in range(300):
        with contextlib.suppress(httpx.TransportError):
            assert post({"data": [[0, "abc"]]}).json() == ANSWER
            assert post({"data": [[0, "abc"]]}, "draw").json() != drawn
            return
        time.sleep(0.2)
    pytest.fail("it did not come back in a minute")


def test_a_request_without_the_token_is_refused(service):
    assert httpx.post(f"{service}/predict", json={"data": [[0, "abc"]]}).status_code == 401


def test_sql_and_the_registry_reach_the_service(query, version, service):
    assert query("SELECT LETTERS!PREDICT(X):P::FLOAT FROM VALUES ('abc') AS T(X)") == [(0.3,)]
    answer = version.run(INPUT, function_name="predict", service_name="LETTERS", params={"threshold": 0.9})
    assert answer["LABEL"].tolist() == ["SMALL", "SMALL", "BIG"]
    assert version.list_services()["status"].tolist() == ["RUNNING"]


def test_a_suspended_service_comes_back_on_its_port(query, service):
    query("ALTER SERVICE LETTERS SUSPEND")
    assert httpx.get(f"{service}/health").status_code == 401  # without the token nobody wakes it
    query("ALTER SERVICE LETTERS RESUME")
    assert httpx.get(f"{service}/health").json()["status"] == "READY"


def test_a_suspended_service_has_no_instance_and_no_log(session, query, service):
    """Documented: these columns are NULL while a service is SUSPENDED or PENDING."""
    log = "SELECT SYSTEM$GET_SERVICE_LOGS('LETTERS', '{}', 'model-inference', 20)"
    query("ALTER SERVICE LETTERS SUSPEND")
    try:
        (row,) = (row.as_dict() for row in session.sql("SHOW SERVICE CONTAINERS IN SERVICE LETTERS").collect())
        assert row["service_status"] == "SUSPENDED"
        for column in ("instance_id", "instance_status", "container_name", "status", "message"):
            assert row[column] is None, column
        for instance in ("0", "None"):
            with pytest.raises(SnowparkSQLException, match="LETTERS has no instance"):
                query(log.format(instance))
    finally:
        query("ALTER SERVICE LETTERS RESUME")
    (row,) = session.sql("SHOW SERVICE CONTAINERS IN SERVICE LETTERS").collect()
    assert (row["instance_id"], row["status"]) == ("0", "READY")
    assert query(log.format("0"))


def deployment(service: str, pool: str) -> str:
    """What create_service sends."""
    return f"""CALL SYSTEM$DEPLOY_MODEL('
        models: [{{name: LENGTHS, version: V1}}]
        service: {{name: {service}, compute_pool: {pool}, min_instances: 0, max_instances: 1, gpu: "1"}}')"""


def test_a_service_on_an_unknown_pool_is_refused(query, version):
    with pytest.raises(SnowparkSQLException, match="(?s)002003.*Compute pool 'NOWHERE' does not exist"):
        query(deployment("S", "NOWHERE"))
    assert query("SHOW SERVICES LIKE 'S'") == []


def test_a_service_that_would_capture_its_requests_is_refused(query, version):
    service = "{name: CAPTURED, compute_pool: SYSTEM_COMPUTE_POOL_CPU, autocapture: true}"
    with pytest.raises(SnowparkSQLException, match="does not support autocapture"):
        query(f"SELECT SYSTEM$DEPLOY_MODEL('{{service: {service}, models: [{{name: LENGTHS, version: V1}}]}}')")


def test_a_pool_with_a_service_stays_until_everything_on_it_is_stopped(query, version):
    query("CREATE COMPUTE POOL OWN MIN_NODES = 1 MAX_NODES = 1 INSTANCE_FAMILY = CPU_X64_XS")
    query(deployment("ALONE", "OWN"))
    (described,) = query("DESCRIBE SERVICE ALONE")
    assert any("gpu: '1'" in str(value) for value in described), "it is on record"
    with pytest.raises(SnowparkSQLException, match="Compute pool OWN has services: ALONE"):
        query("DROP COMPUTE POOL OWN")
    query("ALTER COMPUTE POOL IF EXISTS OWN STOP ALL")
    assert query("SHOW SERVICES LIKE 'ALONE'") == []
    query("DROP COMPUTE POOL OWN")
