"""One local account with the project's objects, for the tests that need one; it goes when they are done."""

import subprocess
import sys

import pytest
from snowflake.snowpark import Session

from cxr import objects, session
from cxr.settings import load


@pytest.fixture(scope="session")
def account(tmp_path_factory):
    """(session, settings) on an account of its own."""
    root = tmp_path_factory.mktemp("cxr-account")
    settings = load(argv=[], environ={}, account_dir=str(root), profile="smoke")
    opened = Session.builder.configs(session.start_local_account(settings)).create()
    objects.run_sql_file(opened, session.PROJECT / "sql" / "20_objects.sql", settings)
    session.use_schema(opened, settings)
    yield opened, settings
    opened.close()
    subprocess.run([sys.executable, "-m", "local_account", "stop", "--root", str(root)], check=True)


@pytest.fixture
def empty(account):
    """The same, with empty tables and an empty images stage."""
    opened, settings = account
    for name in ("catalog_table", "rejected_table", "predictions_table", "training_log_table"):
        opened.sql(f"DELETE FROM {settings.qualified(getattr(settings, name))}").collect()
    opened.sql(f"REMOVE {settings.images}").collect()
    return opened, settings
