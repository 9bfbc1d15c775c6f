"""The login of a container that Snowflake runs, from the variables and the token that Snowflake puts into it."""

import os
from pathlib import Path

TOKEN = "/snowflake/session/token"


def container_login() -> dict[str, object] | None:
    """Connection parameters of the account that runs this container; None outside a container.

    A container has the account's host and name in its environment, and a token in a file. The token belongs to the
    role that owns the job; it may use the job's warehouse. The local account names another file, and its port.
    """
    token = Path(os.environ.get("SNOWFLAKE_TOKEN_FILE", TOKEN))
    if "SNOWFLAKE_HOST" not in os.environ or not token.is_file():
        return None
    wanted = ("account", "host", "port", "protocol")
    given = {key: os.environ[f"SNOWFLAKE_{key.upper()}"] for key in wanted if f"SNOWFLAKE_{key.upper()}" in os.environ}
    # Snowflake renews the file every few minutes; a session that is kept alive needs no other token.
    more = {"authenticator": "oauth", "client_session_keep_alive": True}
    return {**given, **more, "token": token.read_text().strip()}
