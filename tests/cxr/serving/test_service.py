"""A new endpoint has no address for some minutes; whatever REST meets, notebook 05 goes on to the cell that stops the
service."""

import json
from pathlib import Path
from types import SimpleNamespace

import httpx
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


def test_the_notebooks_service_sleeps_though_a_cell_fails():
    assert "min_instances=0" in cell("start_service")
    assert "SET AUTO_SUSPEND_SECS = 600" in cell("start_service")
