"""The database, schema and role of a session."""

from dataclasses import replace

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
