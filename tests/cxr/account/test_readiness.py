"""The readiness table of notebook 01."""

from cxr.account.readiness import readiness


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
    for statement in ("USE ROLE SYSADMIN", "DROP ROLE OUTER_ROLE", "DROP ROLE INNER_ROLE"):
        project.session.sql(statement).collect()
