"""Where a session stands, and in which role."""

from dataclasses import replace

from cxr.account import session


def test_the_engineers_role_is_taken_where_it_owns_the_database(account):
    """A code bundle starts in its user's default role; what it made there would be out of the app's reach."""
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


def test_a_role_that_may_not_be_used_is_named_and_the_work_goes_on(account, capsys):
    opened, settings = account.session, account.settings
    own = replace(settings, database="LEFT_BEHIND", engineer_role="GONE")
    for statement in ("CREATE ROLE GONE", "USE ROLE GONE", "CREATE DATABASE LEFT_BEHIND", "USE ROLE SYSADMIN"):
        opened.sql(statement).collect()
    opened.sql("DROP ROLE GONE").collect()
    session.use_owner(opened, own)
    assert "LEFT_BEHIND belongs to GONE, which you may not use" in capsys.readouterr().out
    opened.sql("DROP DATABASE LEFT_BEHIND").collect()
    session.use_schema(opened, settings)
