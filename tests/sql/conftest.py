"""What the tests of deployments share."""

import pytest
from tests.sql import deployments


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder for an account that a deployment starts."""
    folder = tmp_path_factory.mktemp("deployment")
    yield folder
    deployments.stop(folder)
