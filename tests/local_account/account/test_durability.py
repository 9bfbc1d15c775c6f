"""What was acknowledged survives; what was not leaves no half of itself. The numbers are small here and larger by hand:

``CXR_KILLS=200 CXR_CLIENT_SECONDS=60 python -m pytest tests/local_account/account/test_durability.py``
"""

import io
import itertools
import os
import random
import subprocess
import sys
import threading
import time

import pandas as pd
import pytest
import snowflake.connector
from snowflake.ml.model import custom_model, model_signature
from snowflake.ml.registry import Registry
from tests.local_account.conftest import kill, open_session, start

KILLS = int(os.environ.get("CXR_KILLS", "2"))
CLIENT_SECONDS = float(os.environ.get("CXR_CLIENT_SECONDS", "2"))
FILE = bytes(range(256)) * 500


def connect(account: dict, **more) -> snowflake.connector.SnowflakeConnection:
    keys = ("account", "user", "password", "host", "port", "protocol")
    given = {key: account[key] for key in keys} | {"database": "D", "schema": "PUBLIC", "paramstyle": "qmark"}
    return snowflake.connector.connect(**given, **more)


class Echo(custom_model.CustomModel):
    """The smallest model."""

    @custom_model.inference_api
    def predict(self, X: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"Y": X["X"]})


def prepare(account: dict) -> None:
    """A table, a stage, and a model whose files stand on a stage, so that a version is one statement."""
    session = open_session(account)
    for sql in ("CREATE DATABASE D", "CREATE TABLE T (N INT)", "CREATE STAGE S", "CREATE STAGE PACKAGED"):
        session.sql(sql).collect()
    frame = pd.DataFrame({"X": ["a"]})
    signature = model_signature.infer_signature(frame, frame.rename(columns={"X": "Y"}))
    Registry(session, database_name="D", schema_name="PUBLIC").log_model(
        Echo(custom_model.ModelContext()),
        model_name="M",
        version_name="V",
        signatures={"predict": signature},
        conda_dependencies=["pandas"],
        target_platforms=["WAREHOUSE", "SNOWPARK_CONTAINER_SERVICES"],
    )
    session.sql("COPY FILES INTO @PACKAGED FROM 'snow://model/M/versions/V/'").collect()
    session.close()


DEPLOY = """CALL SYSTEM$DEPLOY_MODEL('models: [{name: M, version: V}]
service: {name: SERVICE_%d, compute_pool: SYSTEM_COMPUTE_POOL_CPU, ingress_enabled: true, min_instances: 0}')"""
WRITES = {
    "row": lambda cursor, n: cursor.execute("INSERT INTO T VALUES (?)", (n,)),
    "file": lambda cursor, n: cursor.execute(
        f"PUT file:///{n}.bin @S AUTO_COMPRESS = FALSE", file_stream=io.BytesIO(FILE)
    ),
    "version": lambda cursor, n: cursor.execute(f"ALTER MODEL M ADD VERSION V{n} FROM @PACKAGED"),
    "service": lambda cursor, n: cursor.execute(DEPLOY % n),
}


def write(
    account: dict, kind: str, numbers: itertools.count, acknowledged: set, patience: int, over: threading.Event
) -> None:
    """Write until the server is gone for `patience` seconds or has come back, noting what was acknowledged."""
    try:
        with connect(account, network_timeout=patience, login_timeout=5) as connection:
            cursor = connection.cursor()
            for number in numbers:
                WRITES[kind](cursor, number)
                acknowledged.add(number)
                if over.is_set():
                    return
    except Exception:  # noqa: BLE001 - the server has been killed, in whatever words the client has for it
        return


def present(account: dict) -> dict[str, set]:
    with connect(account) as connection:
        ask = connection.cursor().execute
        listed = ask("LIST @S").fetchall()
        assert {row[1] for row in listed} <= {len(FILE)}, "half a file is on the stage"
        return {
            "row": {row[0] for row in ask("SELECT N FROM T").fetchall()},
            "file": {int(row[0].removeprefix("s/").removesuffix(".bin")) for row in listed},
            "version": {int(row[1][1:] or -1) for row in ask("SHOW VERSIONS IN MODEL M").fetchall()},
            "service": {int(row[0].removeprefix("SERVICE_")) for row in ask("SHOW SERVICES").fetchall()},
        }


# the connector cancels a statement that has timed out from a thread of its own, which meets no server
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nothing_acknowledged_is_lost_however_often_the_server_is_killed(root):
    chance = random.Random(0)
    account = start(root)
    prepare(account)
    acknowledged: dict[str, set] = {kind: set() for kind in WRITES}
    numbers = {kind: itertools.count() for kind in WRITES}
    for turn in range(KILLS):
        long, over = turn % 5 == 4, threading.Event()  # now and then long enough for a service to be acknowledged
        more = (30 if long else 2, over)
        # Nobody waits for their ends: a PUT to a server that is gone is tried again for half a minute.
        for kind in WRITES:
            arguments = (account, kind, numbers[kind], acknowledged[kind], *more)
            threading.Thread(target=write, args=arguments, daemon=True).start()
        time.sleep(chance.uniform(0.2, 20 if long else 2.5))
        kill(account["pid"])
        over.set()
        account = start(root)
        found = present(account)
        for kind in WRITES:
            assert not acknowledged[kind] - found[kind], kind
    assert acknowledged["row"] and acknowledged["file"] and (KILLS < 50 or all(acknowledged.values()))
    print({kind: len(numbers) for kind, numbers in acknowledged.items()})
    with connect(account) as connection:
        last = max(present(account)["version"])
        version = f"V{last}" if last >= 0 else "V"
        answer = connection.cursor().execute(f"SELECT MODEL(M, {version})!PREDICT('x'):Y::STRING").fetchone()
    assert answer == ("x",)


PUT = """
import sys, snowflake.connector
connection = snowflake.connector.connect(connection_name="local", database="D", schema="PUBLIC")
print("connected", flush=True)
connection.cursor().execute(f"PUT file://{sys.argv[1]} @S AUTO_COMPRESS = FALSE")
"""


def test_a_client_killed_amid_a_put_leaves_nothing_or_all(root, tmp_path):
    account = start(root)
    session = open_session(account)
    session.sql("CREATE DATABASE D").collect()
    session.sql("CREATE STAGE S").collect()
    source = tmp_path / "big.bin"
    source.write_bytes(os.urandom(100 << 20))
    for wait in (0.02, 0.2):
        client = subprocess.Popen(
            [sys.executable, "-c", PUT, str(source)], env={**os.environ, "SNOWFLAKE_HOME": str(root)},
            stdout=subprocess.PIPE,
        )  # fmt: skip
        client.stdout.readline()
        time.sleep(wait)
        client.kill()
        client.wait()
        client.stdout.close()
        assert [row["size"] for row in session.sql("LIST @S").collect()] in ([], [100 << 20])
        session.sql("REMOVE @S").collect()
    session.close()


CLIENT = """
import sys, time, snowflake.connector
connection = snowflake.connector.connect(connection_name="local", database="D", schema="PUBLIC")
cursor, mine, end, rounds = connection.cursor(), sys.argv[1], time.monotonic() + float(sys.argv[2]), 0
while time.monotonic() < end:
    cursor.execute("UPDATE COUNTER SET N = N + 1")
    cursor.execute("BEGIN")
    cursor.execute(f"INSERT INTO LOG VALUES ('{mine}', {rounds})")
    cursor.execute(f"UPDATE TALLY SET N = N + 1 WHERE WHO = '{mine}'")
    cursor.execute("COMMIT" if rounds % 5 else "ROLLBACK")
    cursor.execute("MERGE INTO SEEN USING (SELECT 1 AS K) S ON SEEN.K = S.K WHEN MATCHED THEN UPDATE SET N = N + 1 "
                   "WHEN NOT MATCHED THEN INSERT (K, N) VALUES (1, 1)")
    (logged,), = cursor.execute(f"SELECT COUNT(*) FROM LOG WHERE WHO = '{mine}'").fetchall()
    assert logged == rounds + 1 - (rounds + 5) // 5
    rounds += 1
print(rounds)
"""


def test_four_clients_lose_no_update_and_see_no_error(root):
    account = start(root)
    session = open_session(account)
    for sql in (
        "CREATE DATABASE D",
        "CREATE TABLE COUNTER AS SELECT 0 AS N",
        "CREATE TABLE LOG (WHO STRING, N INT)",
        "CREATE TABLE SEEN (K INT, N INT)",
        "CREATE TABLE TALLY AS SELECT COLUMN1 AS WHO, 0 AS N FROM VALUES ('a'), ('b'), ('c'), ('d')",
    ):
        session.sql(sql).collect()
    environment = {**os.environ, "SNOWFLAKE_HOME": str(root)}
    clients = [
        subprocess.Popen(
            [sys.executable, "-c", CLIENT, who, str(CLIENT_SECONDS)], env=environment, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )
        for who in "abcd"
    ]  # fmt: skip
    answers = [client.communicate(timeout=CLIENT_SECONDS + 60) for client in clients]
    assert [error for _, error in answers if "Error" in error] == []
    rounds = [int(answer) for answer, _ in answers]
    kept = [number - (number + 4) // 5 for number in rounds]
    assert session.table("COUNTER").collect() == [(sum(rounds),)]
    assert session.table("SEEN").collect() == [(1, sum(rounds))]
    assert [row[1] for row in session.table("TALLY").sort("WHO").collect()] == kept
    assert session.table("LOG").count() == sum(kept)
    session.close()
