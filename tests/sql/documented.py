"""Syntax of statements that sqlglot cannot parse, from Snowflake's documentation, and a matcher.

A form is a head and clauses that may follow in any order; `[...]` is optional, `<kind>` one of KINDS. Pages are paths
under docs.snowflake.com/en, read in November 2026.
"""

import re
from dataclasses import dataclass

KINDS = {
    "name": r"[A-Za-z_][\w$]*(?:\.[A-Za-z_][\w$]*)*",
    "service_role": r"[\w$.]+![A-Z_]+",
    "names": r"[A-Za-z_][\w$]*(?:\s*,\s*[A-Za-z_][\w$]*)*",
    "word": r"\w+",
    "number": r"\d+",
    "boolean": r"TRUE|FALSE",
    "string": r"'(?:[^']|'')*'",
    "strings": r"\(\s*'[^']*'(?:\s*,\s*'[^']*')*\s*\)",
    "identifiers": r"\(\s*[\w.]+(?:\s*,\s*[\w.]+)*\s*\)",
    "stage": r"'@[\w./]+'|@[\w./]+",
    "stage_path": r"@[\w./]+",
    "yaml": r"\$\$.*?\$\$",
    "query": r"\(\s*(?P<query>SELECT .*)\)",
    "statement": r"(?P<statement>.+)",
}


@dataclass(frozen=True)
class Form:
    page: str
    head: str
    clauses: tuple[str, ...] = ()
    last: str = ""


FORMS = [
    Form("sql-reference/sql/create-role", "CREATE [OR REPLACE] ROLE [IF NOT EXISTS] <name>", ("COMMENT = <string>",)),
    Form("sql-reference/sql/grant-role", "GRANT ROLE <name> TO ROLE <name>"),
    Form("sql-reference/sql/grant-database-role", "GRANT DATABASE ROLE <name> TO ROLE <name>"),
    Form(
        "sql-reference/sql/grant-ownership", "GRANT OWNERSHIP ON DATABASE <name> TO ROLE <name> [COPY CURRENT GRANTS]"
    ),
    Form("sql-reference/sql/grant-privilege", "GRANT <names> ON COMPUTE POOL <name> TO ROLE <name>"),
    Form("sql-reference/sql/grant-privilege", "GRANT <names> ON WAREHOUSE <name> TO ROLE <name>"),
    Form("sql-reference/sql/grant-privilege", "GRANT <names> ON INTEGRATION <name> TO ROLE <name>"),
    Form(
        "sql-reference/sql/create-compute-pool",
        "CREATE COMPUTE POOL [IF NOT EXISTS] <name>",
        (
            "MIN_NODES = <number>",
            "MAX_NODES = <number>",
            "INSTANCE_FAMILY = <word>",
            "AUTO_RESUME = <boolean>",
            "INITIALLY_SUSPENDED = <boolean>",
            "AUTO_SUSPEND_SECS = <number>",
            "COMMENT = <string>",
        ),
    ),
    Form("sql-reference/sql/alter-compute-pool", "ALTER COMPUTE POOL [IF EXISTS] <name> SUSPEND"),
    Form("sql-reference/sql/show-compute-pools", "SHOW COMPUTE POOLS"),
    # "You can run ALTER COMPUTE POOL ... STOP ALL, which drops both services and jobs."
    Form("sql-reference/sql/drop-compute-pool", "ALTER COMPUTE POOL [IF EXISTS] <name> STOP ALL"),
    Form("sql-reference/sql/drop-compute-pool", "DROP COMPUTE POOL [IF EXISTS] <name>"),
    Form(
        "sql-reference/sql/create-network-rule",
        "CREATE [OR REPLACE] NETWORK RULE [IF NOT EXISTS] <name>",
        ("TYPE = HOST_PORT", "VALUE_LIST = <strings>", "MODE = EGRESS", "COMMENT = <string>"),
    ),
    Form(
        "sql-reference/sql/create-external-access-integration",
        "CREATE [OR REPLACE] EXTERNAL ACCESS INTEGRATION [IF NOT EXISTS] <name>",
        ("ALLOWED_NETWORK_RULES = <identifiers>", "ENABLED = <boolean>", "COMMENT = <string>"),
    ),
    Form(
        "sql-reference/sql/create-code-bundle",
        "CREATE [OR REPLACE] CODE BUNDLE [IF NOT EXISTS] <name> FROM <stage>",
        ("COMMENT = <string>",),
    ),
    Form("sql-reference/sql/alter-code-bundle", "ALTER CODE BUNDLE <name> ADD VERSION FROM <stage>"),
    Form(
        "developer-guide/code-bundles/code-bundles",
        "EXECUTE CODE BUNDLE <name> ENTRYPOINT = <string> [ARGUMENTS = <strings>] [WITH SPECIFICATION <yaml>]",
    ),
    # ARTIFACT_REPOSITORIES: developer-guide/streamlit/app-development/dependency-management
    Form(
        "sql-reference/sql/create-streamlit",
        "CREATE [OR REPLACE] STREAMLIT [IF NOT EXISTS] <name>",
        (
            "FROM <stage>",
            "MAIN_FILE = <string>",
            "QUERY_WAREHOUSE = <name>",
            "RUNTIME_NAME = 'SYSTEM$ST_CONTAINER_RUNTIME_PY3_11'",
            "COMPUTE_POOL = <name>",
            "ARTIFACT_REPOSITORIES = <identifiers>",
            "COMMENT = <string>",
        ),
    ),
    Form("sql-reference/sql/alter-streamlit", "ALTER STREAMLIT [IF EXISTS] <name> ADD LIVE VERSION FROM LAST"),
    Form(
        "sql-reference/sql/create-task",
        "CREATE [OR REPLACE] TASK [IF NOT EXISTS] <name>",
        (
            "WAREHOUSE = <name>",
            "SCHEDULE = <string>",
            "USER_TASK_TIMEOUT_MS = <number>",
            "COMMENT = <string>",
            "AFTER <name>",
        ),
        "AS <statement>",
    ),
    Form("sql-reference/sql/alter-task", "ALTER TASK [IF EXISTS] <name> RESUME"),
    Form("sql-reference/sql/alter-task", "ALTER TASK [IF EXISTS] <name> SUSPEND"),
    Form(
        "sql-reference/sql/create-secret",
        "CREATE [OR REPLACE] SECRET [IF NOT EXISTS] <name>",
        ("TYPE = GENERIC_STRING", "SECRET_STRING = <string>", "COMMENT = <string>"),
    ),
    Form("sql-reference/sql/grant-privilege", "GRANT READ ON SECRET <name> TO ROLE <name>"),
    Form("sql-reference/sql/remove", "REMOVE <stage_path>"),
    Form("sql-reference/sql/execute-task", "EXECUTE TASK <name>"),
    Form("sql-reference/sql/create-network-policy", "CREATE NETWORK POLICY <name>", ("ALLOWED_IP_LIST = <strings>",)),
    Form("sql-reference/sql/alter-user", "ALTER USER [IF EXISTS] <name> SET NETWORK_POLICY = <name>"),
    Form(
        "sql-reference/sql/alter-user-add-programmatic-access-token",
        "ALTER USER [IF EXISTS] <name> ADD PROGRAMMATIC ACCESS TOKEN <name>",
        ("ROLE_RESTRICTION = <string>", "DAYS_TO_EXPIRY = <number>"),
    ),
    Form("sql-reference/sql/grant-service-role", "GRANT SERVICE ROLE <service_role> TO ROLE <name>"),
    Form(
        "sql-reference/sql/create-alert",
        "CREATE [OR REPLACE] ALERT [IF NOT EXISTS] <name>",
        ("WAREHOUSE = <name>", "SCHEDULE = <string>", "COMMENT = <string>"),
        "IF ( EXISTS <query> ) THEN <statement>",
    ),
    Form("sql-reference/sql/alter-alert", "ALTER ALERT [IF EXISTS] <name> RESUME"),
    Form("sql-reference/sql/alter-alert", "ALTER ALERT [IF EXISTS] <name> SUSPEND"),
    Form("sql-reference/sql/alter-service", "ALTER SERVICE [IF EXISTS] <name> SUSPEND"),
    Form("sql-reference/sql/create-image-repository", "CREATE [OR REPLACE] IMAGE REPOSITORY [IF NOT EXISTS] <name>"),
    Form(
        "sql-reference/sql/execute-job-service",
        "EXECUTE JOB SERVICE IN COMPUTE POOL <name>",
        (
            "NAME = <name>",
            "QUERY_WAREHOUSE = <name>",
            "FROM SPECIFICATION <yaml>",
            "FROM <stage> SPECIFICATION_FILE = <string>",
        ),
    ),
    Form(
        "sql-reference/sql/create-model-monitor",
        "CREATE [OR REPLACE] MODEL MONITOR [IF NOT EXISTS] <name> WITH",
        (
            "MODEL = <name>",
            "VERSION = <string>",
            "FUNCTION = <string>",
            "SOURCE = <name>",
            "WAREHOUSE = <name>",
            "REFRESH_INTERVAL = <string>",
            "AGGREGATION_WINDOW = <string>",
            "TIMESTAMP_COLUMN = <word>",
            "ID_COLUMNS = <strings>",
            "PREDICTION_SCORE_COLUMNS = <strings>",
            "PREDICTION_CLASS_COLUMNS = <strings>",
            "ACTUAL_CLASS_COLUMNS = <strings>",
        ),
    ),
    Form("sql-reference/sql/show-service-containers-in-service", "SHOW SERVICE CONTAINERS IN SERVICE <name>"),
    Form("sql-reference/sql/show-models", "SHOW MODELS LIKE <string> IN SCHEMA <name>"),
    Form("developer-guide/snowflake-ml/ml-jobs/overview", "CALL <name>!SPCS_CANCEL_JOB ( )"),
    Form("sql-reference/sql/drop-service", "DROP SERVICE [IF EXISTS] <name>"),
    Form("sql-reference/sql/drop-task", "DROP TASK [IF EXISTS] <name>"),
    Form("sql-reference/sql/drop-alert", "DROP ALERT [IF EXISTS] <name>"),
    Form("sql-reference/sql/drop-code-bundle", "DROP CODE BUNDLE [IF EXISTS] <name>"),
    Form("sql-reference/sql/drop-model", "DROP MODEL [IF EXISTS] <name>"),
    Form("sql-reference/sql/drop-integration", "DROP INTEGRATION [IF EXISTS] <name>"),
]


def find_form(statement: str) -> tuple[Form, list[str]] | None:
    """The matching form of a statement, and the statements inside it; None if no form matches."""
    for form in FORMS:
        if (inner := _match(form, statement.strip())) is not None:
            return form, inner
    return None


def _match(form: Form, text: str) -> list[str] | None:
    head = re.match(_regex(form.head), text, re.DOTALL)
    if head is None:
        return None
    rest, unused = text[head.end() :].lstrip(), list(form.clauses)
    while rest and unused:
        found = next(((c, m) for c in unused if (m := re.match(_regex(c), rest, re.DOTALL))), None)
        if found is None:
            break
        unused.remove(found[0])
        rest = rest[found[1].end() :].lstrip()
    if not form.last:
        return [] if not rest else None
    last = re.fullmatch(_regex(form.last), rest, re.DOTALL)
    return [text for text in last.groupdict().values() if text] if last else None


def _regex(shape: str) -> str:
    """`A [B C] <kind> = x` as a regular expression that allows any white space between words."""
    out = ""
    for token in re.findall(r"\[[^\]]*\]|<\w+>|'[^']*'|[=()]|[^\s=()<\[]+", shape):
        if token.startswith("["):
            out += f"(?:{_regex(token[1:-1])})?"
        elif token.startswith("<"):
            out += rf"(?:{KINDS[token[1:-1]]})(?!\w)\s*"
        elif token in "=()":
            out += rf"{re.escape(token)}\s*"
        else:
            out += rf"{re.escape(token)}(?!\w)\s*"
    return out
