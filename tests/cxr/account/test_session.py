"""The database, schema and role of a session."""

from dataclasses import replace

from snowflake.snowpark import Session

from cxr.account import container, session


def test_connect_switches_to_the_engineers_role_if_it_owns_the_database(account):
    """A code bundle starts with its user's default role; the app could not access objects of that role."""
    opened, settings = account.session, account.settings
    own = replace(settings, database="OWNED", engineer_role="KEEPER")
    for statement in ("CREATE ROLE KEEPER", "USE ROLE KEEPER", "CREATE DATABASE OWNED", "USE ROLE SYSADMIN"):
        opened.sql(statement).collect()
    session.use_owner(opened, settings)  # whose database belongs to another role
    assert opened.sql("SELECT CURRENT_ROLE()").collect()[0][0] == "SYSADMIN"
    session.use_owner(opened, own)
    assert " as KEEPER |" in session.environment_line(opened)
    opened.sql("USE ROLE SYSADMIN").collect()
    opened.sql("DROP DATABASE OWNED").collect()
    session.use_schema(opened, settings)


def test_a_role_that_this_user_may_not_use_is_named_and_the_session_stays_usable(account, capsys):
    opened, settings = account.session, account.settings
    own = replace(settings, database="LEFT_BEHIND", engineer_role="GONE")
    for statement in ("CREATE ROLE GONE", "USE ROLE GONE", "CREATE DATABASE LEFT_BEHIND", "USE ROLE SYSADMIN"):
        opened.sql(statement).collect()
    opened.sql("DROP ROLE GONE").collect()
    session.use_owner(opened, own)
    assert "LEFT_BEHIND belongs to GONE, which you may not use" in capsys.readouterr().out
    opened.sql("DROP DATABASE LEFT_BEHIND").collect()
    session.use_schema(opened, settings)


def test_a_session_without_a_usable_warehouse_gets_the_projects(account):
    """As one whose user has no default warehouse, or one that the engineer's role may not use."""
    login = session.start_local_account(account.settings)
    opened = Session.builder.configs(login | {"warehouse": "OF_ANOTHER_ROLE"}).create()
    session.use_warehouse(opened, replace(account.settings, warehouse="NOT_MADE_YET"))
    assert not opened.get_current_warehouse(), "the project has none yet"
    for name in ("OF_THE_PROJECT", "MY_LARGE_ONE"):
        opened.sql(f"CREATE WAREHOUSE {name}").collect()
    session.use_warehouse(opened, replace(account.settings, warehouse="of_the_project"))
    assert opened.sql("SELECT CURRENT_WAREHOUSE()").collect()[0][0] == "OF_THE_PROJECT"
    opened.sql("USE WAREHOUSE MY_LARGE_ONE").collect()
    session.use_warehouse(opened, account.settings)
    assert opened.sql("SELECT CURRENT_WAREHOUSE()").collect()[0][0] == "MY_LARGE_ONE", "a usable one stays"
    for name in ("OF_THE_PROJECT", "MY_LARGE_ONE"):
        opened.sql(f"DROP WAREHOUSE {name}").collect()
    opened.close()


def test_in_a_container_the_token_that_snowflake_puts_there_logs_in(monkeypatch, tmp_path):
    assert container.container_login() is None
    (tmp_path / "token").write_text("of the job\n")
    given = {"HOST": "h.snowflakecomputing.com", "ACCOUNT": "a", "TOKEN_FILE": str(tmp_path / "token")}
    for name, value in given.items():
        monkeypatch.setenv(f"SNOWFLAKE_{name}", value)
    assert container.container_login() == {
        "host": "h.snowflakecomputing.com", "account": "a", "token": "of the job", "authenticator": "oauth",
        "client_session_keep_alive": True,
    }  # fmt: skip
