"""DuckDB's errors -> Snowflake's codes and words."""

import contextlib
import re
from collections.abc import Callable, Iterator

import duckdb

from local_account.text.errors import (  # fmt: skip
    Missing,
    SnowflakeError,
    already_exists,
    compilation_error,
    disk_full,
    unsupported,
)


@contextlib.contextmanager
def engine_errors() -> Iterator[None]:
    """DuckDB's errors in Snowflake's codes and words, as far as Snowflake has words for them."""
    try:
        yield
    except duckdb.InterruptException as error:
        raise SnowflakeError("SQL execution canceled", 604, "57014") from error
    except duckdb.Error as error:
        raise translated_error(error, str(error)) from error


WHEN_CODES = {"date": (100040, "22007"), "timestamp": (100035, "22007"), "time": (100108, "22007")}
ENGINE_ERRORS: list[tuple[type, str, Callable[[re.Match], SnowflakeError]]] = [
    (duckdb.Error, r"No space left on device|Disk quota exceeded|failed to offload .* disk", lambda m: disk_full()),
    (duckdb.Error, r"Python Interpreter Error:.*", lambda m: SnowflakeError(m[0], 100357, "P0000")),
    (duckdb.CatalogException, r"(?:Table|View) with name (.*?) does not exist", lambda m: Missing("Object", m[1])),
    (duckdb.CatalogException, r'with name "(.*?)" already exists', lambda m: already_exists(m[1])),
    (duckdb.CatalogException, r"(.*)", lambda m: compilation_error(m[1], 2140, "42601")),
    (duckdb.BinderException, r'"(METADATA\$\w+)" not found',
     lambda m: unsupported(f"the column {m[1]}", "local_account.sql.stage_files")),
    (duckdb.BinderException, r'[cC]olumn (?:named )?"?([^"\s]+)"? not found',
     lambda m: compilation_error(f"invalid identifier '{m[1]}'")),
    (duckdb.BinderException, r"""(?:name and argument types '|for the function call ")(.*?)\((.*?)\)['"]""",
     lambda m: compilation_error(f"Invalid argument types for function '{m[1].upper()}': ({m[2]})", 1044, "42P13")),
    (duckdb.BinderException, r"(\d+) columns but (\d+) values were supplied", lambda m: compilation_error(
        f"Insert value list does not match column list expecting {m[1]} but got {m[2]}", 2020, "21S01")),
    (duckdb.BinderException, r'column "(.*?)" must appear in the GROUP BY clause', lambda m: compilation_error(
        f"'{m[1]}' in select clause is neither an aggregate nor in the group by clause.", 979, "42601")),
    (duckdb.BinderException, r'Ambiguous reference to column name "(.*?)"',
     lambda m: compilation_error(f"ambiguous column name '{m[1]}'", 2028, "42601")),
    (duckdb.BinderException, r"Cannot (?:mix|combine|compare) .*?types? (?:of )?(.*?) (?:in .*?)?- an explicit cast is",
     lambda m: unsupported(f"mixing {m[1]}; cast one", __name__)),
    (duckdb.BinderException, r"(?:Binder Error: )?(.*)", lambda m: compilation_error(m[1])),
    (duckdb.ParserException, r"(.*)",
     lambda m: unsupported(f"a clause that the engine cannot read ({m[1]})", "local_account.sql.translate")),
    (duckdb.ConstraintException, r"NOT NULL constraint failed: .*\.(\S+)",
     lambda m: SnowflakeError(f"NULL result in a non-nullable column: {m[1]}", 100072, "22000")),
    (duckdb.Error, r"(String '.*' is too long and would be truncated)",
     lambda m: SnowflakeError(m[1], 100078, "22000")),
    (duckdb.ConstraintException, r"CHECK\(\(json_type\(\"?(.*?)\"?\) = '(\w+)'", lambda m: compilation_error(
        f"Expression type does not match column data type, expecting {m[2]} for column {m[1]}", 2023)),
    (duckdb.TransactionException, r"aborted", lambda m: SnowflakeError(
        "An earlier statement of this transaction failed: ROLLBACK and begin again.", 625, "40000")),
    (duckdb.TransactionException, r"(.*)", lambda m: SnowflakeError(
        f"The transaction conflicts with another one; run it again. ({m[1]})", 625, "57014")),
    (duckdb.Error, r"\b(date|timestamp|time) field (?:format|value out of range): \"(.*?)\??\"",
     lambda m: SnowflakeError(f"{m[1].capitalize()} '{m[2]}' is not recognized", *WHEN_CODES[m[1]])),
    (duckdb.Error, r"^Malformed JSON.*", lambda m: SnowflakeError(f"Error parsing JSON: {m[0]}", 100069, "22P02")),
    (duckdb.Error, r"""Could not convert string ['"](.*?)\??['"] to '?(?:U?INT\d+|BIGINT|DOUBLE|DECIMAL)""",
     lambda m: SnowflakeError(f"Numeric value '{m[1]}' is not recognized", 100038, "22018")),
    (duckdb.Error, r"Values were not provided for the following parameters: (.*)",
     lambda m: unsupported(f"parameters by number (:1); write a ? for each ({m[1]} not set)", __name__)),
    (duckdb.Error, r"Overflow in \w+ of INT\d+ .*|.*out of range for the destination type INT64",
     lambda m: unsupported(f"whole numbers of more than 64 bits ({m[0]})", "local_account.engine.types")),
    (duckdb.Error, r".*Division by zero.*", lambda m: SnowflakeError(m[0], 100051, "22012")),
    (duckdb.Error, r"MERGE INTO command cannot affect",
     lambda m: SnowflakeError("Duplicate row detected during DML action", 100090, "42P18")),
    (duckdb.Error, r'Could not parse string "(.*?)" according to format',
     lambda m: SnowflakeError(f"Can't parse '{m[1]}' as a date or time with the format given", 100096, "22007")),
    (duckdb.Error, r"More than one row returned by a subquery",
     lambda m: SnowflakeError("Single-row subquery returns more than one row.", 90150, "22000")),
    (duckdb.Error, r"Boolean value '.*' is not recognized", lambda m: SnowflakeError(m[0], 100037, "22018")),
    (duckdb.Error, r".*", lambda m: SnowflakeError(m[0], 100038, "22000")),
]  # fmt: skip


def translated_error(error: duckdb.Error, text: str) -> SnowflakeError:
    """The first of ENGINE_ERRORS that fits; the engine's own SQL, which it quotes below the message, is left out."""
    if not isinstance(error, (duckdb.CatalogException, duckdb.BinderException, duckdb.ParserException)):
        text = re.sub(r"^(Invalid Input|Conversion|Out of Range) Error: ", "", text.split("\n\nLINE ")[0])
        text = re.sub(r"^Python exception occurred while executing the UDF: \w+: ", "", text)
    return next(
        make(found)
        for kind, pattern, make in ENGINE_ERRORS
        if isinstance(error, kind) and (found := re.search(pattern, text, re.S))
    )
