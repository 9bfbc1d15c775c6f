"""The Snowflake dialect of sqlglot, but with functions over VARIANT left as calls: json_functions.py answers them."""

from __future__ import annotations

from sqlglot.dialects.snowflake import Snowflake

from .json_functions import FUNCTIONS


class LocalSnowflake(Snowflake):
    class Parser(Snowflake.Parser):
        FUNCTIONS = {name: build for name, build in Snowflake.Parser.FUNCTIONS.items() if name not in FUNCTIONS}


SNOWFLAKE = "localsnowflake"
