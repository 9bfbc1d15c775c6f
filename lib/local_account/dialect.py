"""The Snowflake dialect of sqlglot, but with functions over VARIANT left as calls: json_functions.py answers them."""

from sqlglot import exp
from sqlglot.dialects.snowflake import Snowflake

from .json_functions import FUNCTIONS


class LocalSnowflake(Snowflake):
    class Parser(Snowflake.Parser):
        FUNCTIONS = {
            **{name: build for name, build in Snowflake.Parser.FUNCTIONS.items() if name not in FUNCTIONS},
            # sqlglot would translate the format itself where it sees a date, and pass codes on that it does not know
            **dict.fromkeys(("TO_CHAR", "TO_VARCHAR"), exp.ToChar.from_arg_list),
        }


SNOWFLAKE = "localsnowflake"
