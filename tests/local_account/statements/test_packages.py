"""Packages that the warehouse offers: SYSTEM$RESOLVE_PYTHON_PACKAGES, functions and models that need others.

https://docs.snowflake.com/en/sql-reference/functions/system_resolve_python_packages
"""

import json

import pandas as pd
import pytest
from snowflake.ml.model import custom_model, model_signature
from snowflake.ml.registry import Registry

CHANNEL = ["python==3.11.9", "numpy==1.26.4", "numpy==2.2.5", "pandas==2.2.3", "pytorch==2.6.0"]
FRAME = pd.DataFrame({"X": ["a"]})


class Echo(custom_model.CustomModel):
    @custom_model.inference_api
    def predict(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.rename(columns={"X": "Y"})


@pytest.fixture
def channel(account):
    """Sets what the warehouse offers."""
    file = account["root"] / "limits.json"
    yield lambda packages: file.write_text(json.dumps({"packages": packages}))
    file.unlink(missing_ok=True)


def resolve(query, packages, *more):
    return json.loads(query("SELECT SYSTEM$RESOLVE_PYTHON_PACKAGES(" + ", ".join("?" * (2 + len(more))) + ")",
                            ["3.11", packages, *more])[0][0])  # fmt: skip


def test_packages_resolve_to_the_highest_version_that_fits(query, channel):
    channel(CHANNEL)
    sql = "SELECT SYSTEM$RESOLVE_PYTHON_PACKAGES('3.11', $$('numpy>=1.20.0', 'pytorch>=2.1,<3')$$)"
    assert json.loads(query(sql)[0][0]) == ["numpy==2.2.5", "python==3.11.9", "pytorch==2.6.0"]
    assert resolve(query, "('numpy<2')") == ["numpy==1.26.4", "python==3.11.9"]
    assert resolve(query, "()") == ["python==3.11.9"]
    assert query("SELECT VERSION FROM INFORMATION_SCHEMA.PACKAGES WHERE PACKAGE_NAME = 'numpy'") == [
        ("1.26.4",), ("2.2.5",)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("packages", "named"), [("('torchvision')", "torchvision"), ("('numpy', 'pandas==1.3.0')", "pandas==1.3.0")]
)
def test_what_the_channel_lacks_is_named(query, channel, packages, named):
    channel(CHANNEL)
    with pytest.raises(Exception, match=rf"(?s)391546 .*One or more package conflicts.* available: {named} \("):
        resolve(query, packages)


def test_without_a_list_the_channel_is_this_environment(query):
    assert f"pandas=={pd.__version__}" in resolve(query, "('pandas', 'pytorch>=2')")
    with pytest.raises(Exception, match="(?s)391546 .*pandas>=99 "):
        resolve(query, "('pandas>=99')")


def test_a_repository_must_be_there(query):
    assert f"pandas=={pd.__version__}" in resolve(query, "('pandas')", "snowflake.snowpark.pypi_shared_repository")
    with pytest.raises(Exception, match="002003"):
        resolve(query, "('pandas')", "NO_REPOSITORY")


def test_a_function_that_needs_another_package_is_not_created(query, channel):
    channel(CHANNEL)
    head = "CREATE FUNCTION F(X INT) RETURNS INT LANGUAGE PYTHON RUNTIME_VERSION = '3.11' HANDLER = 'f'"
    with pytest.raises(Exception, match="391546 "):
        query(f"{head} PACKAGES = ('pandas>=3') AS 'f = abs'")
    query(f"{head} PACKAGES = ('pandas') AS 'f = abs'")


@pytest.mark.parametrize("package", ["pandas>=2,<99", "pandas>=99", "no-such-package"])
def test_a_model_that_needs_another_package_is_not_logged(session, query, package):
    registry = Registry(session, database_name="TEST_PACKAGES", schema_name="PUBLIC")

    def log(name, platforms):
        return registry.log_model(
            Echo(custom_model.ModelContext()), model_name=name, version_name="V1", conda_dependencies=[package],
            signatures={"predict": model_signature.infer_signature(FRAME, FRAME.rename(columns={"X": "Y"}))},
            target_platforms=platforms, options={"relax_version": True},
        )  # fmt: skip

    if package == "pandas>=2,<99":
        log("KNOWN", ["WAREHOUSE"])
    else:
        with pytest.raises(Exception, match="391546 "):
            log("UNKNOWN", ["WAREHOUSE", "SNOWPARK_CONTAINER_SERVICES"])
        assert query("SHOW MODELS LIKE 'UNKNOWN'") == []
