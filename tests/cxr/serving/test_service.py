"""A service and its endpoint take minutes to be there; whatever REST meets, notebook 05 goes on to the cell that stops
the service."""

import json
from pathlib import Path
from types import SimpleNamespace

import httpx
import pandas as pd
import pytest

from cxr.serving import service

NOTEBOOK = Path(__file__).parents[3] / "notebooks" / "05_deploy.ipynb"
IN_PROGRESS = "Endpoints provisioning in progress... check back in a few minutes"


class Session:
    """Answers SHOW ENDPOINTS with one address after the other; the last one stays."""

    def __init__(self, *addresses: str | None):
        self.addresses, self.asked = list(addresses), 0

    def sql(self, statement: str) -> SimpleNamespace:
        assert statement == "SHOW ENDPOINTS IN SERVICE S"
        self.asked += 1
        shown = self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]
        return SimpleNamespace(collect=lambda: [{"ingress_url": shown}])


def test_the_address_is_awaited():
    session = Session(IN_PROGRESS, IN_PROGRESS, "a-b-c.snowflakecomputing.app")
    assert service.wait_for_address(session, "S") == "a-b-c.snowflakecomputing.app"
    assert session.asked == 3


def test_an_endpoint_that_gets_no_address_is_said():
    with pytest.raises(LookupError, match="has no address after 0 s: Endpoints provisioning in progress"):
        service.wait_for_address(Session(IN_PROGRESS), "S", seconds=0.3)


def test_without_a_public_endpoint_nobody_waits():
    with pytest.raises(LookupError, match="has no public endpoint"):
        service.wait_for_address(Session(None), "S")


class Starting:
    """A service whose containers are shown in one state after the other; the last one stays. No instance, no log."""

    def __init__(self, *states: str):
        self.states = list(states)

    def sql(self, statement: str) -> SimpleNamespace:
        if "SERVICE_LOGS" in statement:
            assert "'0', 'model-inference'" in statement, "there is no instance"
            return SimpleNamespace(collect=lambda: [("listening",)])
        assert statement == "SHOW SERVICE CONTAINERS IN SERVICE S"
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        there = state in ("READY", "FAILED")
        row = {
            "service_name": "S", "service_status": "RUNNING" if state == "READY" else state,
            "instance_id": "0" if there else None, "container_name": "model-inference" if there else None,
            "status": state if there else None, "message": "no such image" if state == "FAILED" else None,
        }  # fmt: skip
        return SimpleNamespace(to_pandas=lambda: pd.DataFrame([row]).rename(columns='"{}"'.format))


@pytest.mark.parametrize("state", ["SUSPENDED", "PENDING"])
def test_a_service_without_an_instance_has_a_state_and_no_log(state):
    shown, log = service.service_state(Starting(state), "S")
    assert log == "" and shown["service_status"].tolist() == [state]
    assert service.service_state(Starting("READY"), "S")[1] == "listening"


def test_the_service_is_awaited_until_its_container_is_ready():
    session = Starting("SUSPENDED", "PENDING", "READY")
    service.wait_until_ready(session, "S")
    assert session.states == ["READY"]


def test_a_service_that_fails_or_never_starts_is_said():
    with pytest.raises(RuntimeError, match="S is FAILED: no such image"):
        service.wait_until_ready(Starting("PENDING", "FAILED"), "S")
    with pytest.raises(RuntimeError, match="S is PENDING after 0 s"):
        service.wait_until_ready(Starting("PENDING"), "S", seconds=0.3)


def cell(name: str) -> str:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    return next("".join(each["source"]) for each in cells if each["metadata"].get("name") == name)


@pytest.mark.parametrize(
    "error",
    [
        LookupError("no token"),
        httpx.ConnectError("refused"),
        httpx.HTTPStatusError("401", request=httpx.Request("POST", "http://x"), response=httpx.Response(401)),
    ],
)
def test_the_notebook_goes_on_without_rest(error, capsys):
    def connect_client(*_: object) -> None:
        raise error

    names = {"httpx": httpx, "connect_client": connect_client, "session": None, "service": "S",
             "settings": SimpleNamespace(service_token_file="")}  # fmt: skip
    exec(cell("score_over_rest"), names)
    assert names["client"] is names["by_rest"] is None
    assert "REST is left out" in capsys.readouterr().out


@pytest.mark.parametrize("allowed", [True, False])
def test_the_notebook_asks_for_a_public_endpoint_only_with_the_right(allowed, capsys):
    """Snowflake creates no service with a public endpoint for a role that lacks BIND SERVICE ENDPOINT."""
    asked = []
    made = SimpleNamespace(result=lambda: None)
    version = SimpleNamespace(version_name="V1", create_service=lambda **given: asked.append(given) or made)
    names = {
        "project": SimpleNamespace(service="S"), "settings": SimpleNamespace(service_pool="P", service_gpus=0),
        "session": SimpleNamespace(sql=lambda _: SimpleNamespace(collect=lambda: [])), "version": version,
        "runs_version": lambda *_: False, "may_open_endpoint": lambda _: allowed, "wait_until_ready": lambda *_: None,
    }  # fmt: skip
    exec(cell("start_service"), names)
    assert [given["ingress_enabled"] for given in asked] == [allowed]
    assert ("BIND SERVICE ENDPOINT" in capsys.readouterr().out) != allowed


def test_the_notebooks_service_sleeps_though_a_cell_fails():
    assert "min_instances=0" in cell("start_service")
    sleeps, waits = map(cell("start_service").index, ("SET AUTO_SUSPEND_SECS = 600", "wait_until_ready("))
    assert sleeps < waits
