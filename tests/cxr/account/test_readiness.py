"""The readiness table of notebook 01."""

import json
from pathlib import Path

from packaging.requirements import Requirement
from snowflake.snowpark.exceptions import SnowparkSQLException

from cxr.account.channel import channel_rows
from cxr.account.readiness import holds, readiness
from cxr.model.requirements import CONDA_DEPENDENCIES, DECODING, FUNCTIONS_PYTHON


def test_it_lists_what_is_missing_and_the_statement_that_creates_it(account):
    project = account
    table = readiness(project).set_index("name")
    assert table.loc[["IMAGES", "IMAGE_CATALOG", "MONITORING", "COMPUTE_WH"], "ready"].all()
    pool = table.loc["CXR_GPU"]
    assert not pool["ready"] and pool["if not"].startswith("CREATE COMPUTE POOL IF NOT EXISTS CXR_GPU MIN_NODES = 1")
    right = table.loc["EXECUTE TASK ON ACCOUNT"]
    assert not right["ready"] and right["if not"] == "GRANT EXECUTE TASK ON ACCOUNT TO ROLE SYSADMIN;"
    for missing in (pool, right):
        project.session.sql(missing["if not"].rstrip(";")).collect()
    table = readiness(project).set_index("name")
    assert table.loc[["CXR_GPU", "EXECUTE TASK ON ACCOUNT"], "ready"].all()
    assert (table.loc[table["ready"], "if not"] == "").all()
    project.session.sql("DROP COMPUTE POOL CXR_GPU").collect()
    project.session.sql("REVOKE EXECUTE TASK ON ACCOUNT FROM ROLE SYSADMIN").collect()


def test_privileges_of_granted_roles_count(account):
    project = account
    for statement in (
        "CREATE ROLE OUTER_ROLE",
        "CREATE ROLE INNER_ROLE",
        "GRANT EXECUTE ALERT ON ACCOUNT TO ROLE INNER_ROLE",
        "GRANT ROLE INNER_ROLE TO ROLE OUTER_ROLE",
        "GRANT ROLE OUTER_ROLE TO ROLE INNER_ROLE",  # a circle ends too
        "USE ROLE OUTER_ROLE",
    ):
        project.session.sql(statement).collect()
    table = readiness(project).set_index("name")
    assert table.loc["EXECUTE ALERT ON ACCOUNT", "ready"]
    assert not table.loc["EXECUTE TASK ON ACCOUNT", "ready"]
    assert holds(project.session, "EXECUTE ALERT") and not holds(project.session, "BIND SERVICE ENDPOINT")
    for statement in ("USE ROLE SYSADMIN", "DROP ROLE OUTER_ROLE", "DROP ROLE INNER_ROLE"):
        project.session.sql(statement).collect()


def test_it_says_what_the_channel_lacks_of_the_registered_model(account):
    limits = Path(account.settings.account_dir) / "limits.json"  # what this account's channel has
    names = [Requirement(line).name for line in CONDA_DEPENDENCIES]
    functions = f"{', '.join(DECODING)} for Python {FUNCTIONS_PYTHON}"
    assert readiness(account).query("kind == 'CHANNEL'")["name"].tolist() == [*CONDA_DEPENDENCIES, functions]
    assert readiness(account).query("kind == 'CHANNEL'")["ready"].all()
    limits.write_text(json.dumps({"packages": ["python==3.11.9", "pytorch==2.6.0", "torchvision==0.5.0"]}))
    try:
        table = readiness(account).query("kind == 'CHANNEL'").set_index("name")
    finally:
        limits.unlink()
    assert not table.loc[functions, "ready"] and "lib/cxr/model/requirements.py" in table.loc[functions, "if not"]
    table = table.drop(functions)
    lacking = [name for name in names if name != "pytorch"]
    assert [Requirement(name).name for name in table.index[~table["ready"]]] == lacking
    assert "lib/cxr/model/requirements.py" in table.loc["torchvision>=0.19,<1", "if not"]


def test_a_channel_that_cannot_be_asked_is_no_error():
    class Session:
        def sql(self, text: str, params: list[str]):
            raise SnowparkSQLException("Unknown function SYSTEM$RESOLVE_PYTHON_PACKAGES", error_code="1304")

    assert all(not row[3] and "could not be asked: Unknown function" in row[4] for row in channel_rows(Session()))
