"""A stand-in for a Snowflake account: one server process on loopback over DuckDB.

``python -m local_account --help`` says how to start it; ``process.py`` is where to begin reading, then ``wire.py``
(the protocol), ``execute.py`` (one statement), ``reading.py`` and ``translate.py`` (its SQL).
"""

VERSION = "1"
"""Stamp of the on-disk layout; an account folder of another stamp is refused."""
