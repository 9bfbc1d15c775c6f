"""One local account with the project's objects for the tests that need one; removed at the end."""

import subprocess
import sys

import pytest
from snowflake.snowpark import Session

from cxr.account import scripts, session
from cxr.account.project import Project
from cxr.settings import load


@pytest.fixture(scope="session")
def account(tmp_path_factory):
    """The project on a separate account."""
    root = tmp_path_factory.mktemp("cxr-account")
    settings = load(argv=[], environ={}, account_dir=str(root), profile="smoke")
    opened = Session.builder.configs(session.start_local_account(settings)).create()
    project = Project(opened, settings)
    scripts.run_sql_file(project, session.PROJECT / "sql" / "20_objects.sql")
    session.use_schema(opened, settings)
    yield project
    opened.close()
    subprocess.run([sys.executable, "-m", "local_account", "stop", "--root", str(root)], check=True)


@pytest.fixture
def empty(account):
    """The same, with empty tables and an empty images stage."""
    for table in (account.catalog, account.rejected, account.predictions, account.training_log):
        account.session.sql(f"DELETE FROM {table}").collect()
    account.session.sql(f"REMOVE {account.images_stage}").collect()
    return account
