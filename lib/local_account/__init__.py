"""A stand-in for a Snowflake account: one server process on loopback over DuckDB.

``python -m local_account --help`` says how to start it. Begin to read at ``server/http.py`` (the protocol), then
``sql/execute.py`` (one statement), ``sql/translate.py`` (its SQL) and ``statements/handlers.py`` (all that the engine
does not execute).
"""

VERSION = "1"
"""Version of the folder's layout. A folder of another version is refused."""
