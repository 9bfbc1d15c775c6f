"""User-defined functions in Python and SQL; CALL of system functions."""

import json
import re
from pathlib import Path

import pyarrow as pa
from sqlglot import exp

from local_account.account.catalog import Object
from local_account.account.limits import read_limits
from local_account.account.session import Session
from local_account.engine.lengths import demand_fit
from local_account.engine.results import Result, listing
from local_account.engine.types import T, engine_type, longest_of
from local_account.sql.context_functions import call_system_function, object_call
from local_account.sql.dialect import SNOWFLAKE
from local_account.sql.packages import in_channel, resolve
from local_account.sql.rewrites.casts import rewrite_cast
from local_account.sql.stage_files import locate
from local_account.sql.statement_shapes import PLACEHOLDERS, Matched, Statement
from local_account.statements import options
from local_account.statements.objects import create, drop, made
from local_account.statements.show import Shown
from local_account.statements.stages import copy_whole
from local_account.text import literals
from local_account.text.errors import Missing, SnowflakeError, compilation_error, unsupported
from local_account.text.literals import items

HIDDEN = ("arguments", "folder", "COMMENT", "comment", "text")
PYTHON = (
    "CREATE [OR REPLACE] [SCOPED] [TEMP|TEMPORARY] FUNCTION [IF NOT EXISTS] <name> "
    "<arguments:list> [COPY GRANTS] RETURNS <returns:lazy> LANGUAGE PYTHON <options:lazy> [AS <body:body>]"
)
SQL = (
    "CREATE [OR REPLACE] [TEMP|TEMPORARY] FUNCTION [IF NOT EXISTS] <name> <arguments:list> [COPY GRANTS] "
    "RETURNS <returns:lazy> [LANGUAGE SQL] AS <body:body>"
)

WORDS = re.compile(
    rf"({literals.OPTION.pattern})|\b(?:STRICT|(?:RETURNS\s+NULL|CALLED)\s+ON\s+NULL\s+INPUT|VOLATILE|IMMUTABLE)\b",
    re.I | re.S,
)
RETURNS = rf"((?:DOUBLE PRECISION|\w+)\s*(?:{PLACEHOLDERS['list']})?)(?:\s+NOT NULL)?"


def create_python(session: Session, s: Matched) -> Result:
    function = declared(session, s, "PYTHON")
    words = take_words(s)
    given = s.options()
    if "HANDLER" not in given:
        raise compilation_error("missing option: HANDLER", 1506)
    function.properties |= {key.lower(): value for key, value in given.items()} | {
        "null handling": words.get("null handling", "CALLED ON NULL INPUT"),
        "volatility": words.get("volatility", "VOLATILE"), "body": s.value("body"), "COMMENT": given.get("COMMENT", ""),
    }  # fmt: skip
    imports = [file for source in items(given.get("IMPORTS")) for file in imported(session, source)]
    resolve(items(given.get("PACKAGES")), in_channel(session.account.root))
    kinds = [engine_type(build_type(kind)).sql("duckdb") for _, kind in function.properties["arguments"]]
    strict = function.properties["null handling"] != "CALLED ON NULL INPUT"

    def fill(function: Object) -> None:
        folder = session.create_folder(function)
        for file in imports:
            copy_whole(file, folder / file.name)
        if s["body"]:
            (folder / "body.py").write_text(s.value("body"))
        (folder / "function.json").write_text(json.dumps({"arguments": kinds, "strict": strict}))

    return create(session, s, function, fill)


def imported(session: Session, source: str) -> list[Path]:
    files = locate(session, source).files()
    if not files:
        raise SnowflakeError(f"Remote file '{source}' was not found. There are no files at that place.", 91016, "22000")
    return files


def take_words(s: Matched) -> dict[str, str]:
    """The options that are words without a value, which are taken out of the statement's options."""
    found = {}

    def take(word: re.Match) -> str:
        if word[1]:
            return word[0]
        text = " ".join(word[0].upper().split())
        key = "volatility" if text in ("VOLATILE", "IMMUTABLE") else "null handling"
        found[key] = "RETURNS NULL ON NULL INPUT" if text == "STRICT" else text
        return ""

    s.groups["options"] = WORDS.sub(take, s["options"])
    return found


def create_sql(session: Session, s: Matched) -> Result:
    function = declared(session, s, "SQL")
    function.properties["text"] = s.value("body").strip().rstrip(";")
    return create(session, s, function)


def declared(session: Session, s: Matched, language: str) -> Object:
    found = re.fullmatch(RETURNS, s["returns"].strip(), re.I | re.S)
    if found is None:
        raise unsupported(f"a function that says RETURNS {s['returns']}", __name__)
    returns = found[1]
    if returns.upper().startswith("TABLE"):
        raise unsupported(f"table functions in {language.capitalize()} (RETURNS TABLE)", __name__)
    arguments = declared_arguments(s["arguments"])
    return made(session, s, "FUNCTION", language=language, returns=returns, arguments=arguments)


def declared_arguments(text: str) -> list[tuple[str, str]]:
    """``(a INT, b NUMBER(10, 2) DEFAULT 1)`` -> [("A", "INT"), ("B", "NUMBER(10, 2)")]."""
    found = exp.maybe_parse(f"CREATE TABLE x {text}", dialect="snowflake") if text.strip("() \n") else None
    columns = found.find_all(exp.ColumnDef) if found else ()
    return [(column.name.upper(), column.kind.sql("snowflake")) for column in columns]


def build_type(text: str) -> exp.DataType:
    return exp.DataType.build(text, dialect="snowflake")


def describe_function(session: Session, s: Matched) -> Result:
    given = overload(session, s).properties
    signature = "(" + ", ".join(f"{name} {kind}" for name, kind in given["arguments"]) + ")"
    shown = {"signature": signature, **{key: value for key, value in given.items() if key not in HIDDEN}}
    return listing("property value", [{"property": key, "value": value} for key, value in shown.items()])


def drop_function(session: Session, s: Matched) -> Result:
    overload(session, s)
    return drop(session, s)


def overload(session: Session, s: Matched) -> Object:
    """The function of that name, if it takes arguments of the types that are given. Here a name has one function."""
    function = session.need("FUNCTION", s["name"])
    given = [build_type(part).sql("snowflake") for part in s["arguments"].strip()[1:-1].split(",") if part.strip()]
    if given != [build_type(kind).sql("snowflake") for _, kind in function.properties["arguments"]]:
        raise Missing("Function", f"{function.name}{s['arguments']}")
    return function


def function_row(session: Session, function: Object) -> dict:
    given = function.properties
    shape = f"{function.name}({', '.join(kind for _, kind in given['arguments'])}) RETURN {given['returns']}"
    return {"catalog_name": function.database, "language": given["language"], "arguments": shape,
            "description": function.comment}  # fmt: skip


def user_function(session: Session, parts: list[str], arguments: list[exp.Expression]) -> exp.Expression | None:
    """The call of a user's function as an engine expression; None when there is no function of that name."""
    if len(parts) < 3 and session.schema is None:
        return None
    found = session.get("FUNCTION", session.qualify(parts))
    if found is None:
        return None
    wanted = found.properties["arguments"]
    if len(arguments) != len(wanted):
        raise compilation_error(f"Function {found.name} takes {len(wanted)} arguments, {len(arguments)} given.", 939)
    typed = [exp.Cast(this=a, to=build_type(kind)) for a, (_, kind) in zip(arguments, wanted, strict=True)]
    if found.properties["language"] == "SQL":
        return inline_sql(found, typed)
    return python_call(session, found, typed)


def inline_sql(function: Object, arguments: list[exp.Expression]) -> exp.Expression:
    """A SQL function is its body with the arguments put in."""
    values = dict(zip((name for name, _ in function.properties["arguments"]), arguments, strict=True))
    body = exp.maybe_parse(function.properties["text"], dialect=SNOWFLAKE)
    if isinstance(body, exp.Query):
        body = exp.Subquery(this=body)
    for column in list(body.find_all(exp.Column)):
        if not column.table and column.name.upper() in values:
            value = values[column.name.upper()].copy()
            if column is body:
                return value
            column.replace(value)
    return exp.Cast(this=exp.Paren(this=body), to=build_type(function.properties["returns"]))


def python_call(session: Session, function: Object, arguments: list[exp.Expression]) -> exp.Expression:
    workers, folder = session.account.workers, session.folders.path(function)
    handler = function.properties["handler"]
    longest = [longest_of(build_type(kind)) for _, kind in function.properties["arguments"]]
    returned = longest_of(build_type(function.properties["returns"]))
    root = session.account.root

    def run(table: pa.Table) -> list[str | None]:
        demand_fit(table.columns[1:], longest)
        answers = workers.call("function", folder, handler, table, read_limits(root).handler_seconds)
        long = [json.loads(text) for text in answers if text and len(text) > returned]
        texts = [value for value in long if isinstance(value, str)]
        demand_fit([pa.chunked_array([texts], pa.string())], [returned])
        return answers

    session.account.functions.setdefault(str(folder), run)
    answer = object_call(str(folder), arguments)
    answer.type = exp.DataType(this=T.VARIANT)
    answer = rewrite_cast(exp.Cast(this=answer, to=build_type(function.properties["returns"])))
    for node in (answer, answer.this):
        if isinstance(node, exp.Expression):
            node.meta["engine"] = True
    return answer


def call_system(session: Session, s: Matched) -> Result:
    name = s["function"].upper()
    value = call_system_function(session, name, items(s["arguments"]))
    return listing(name, [{name: None if value is None else str(value)}])


STATEMENTS = [
    Statement(PYTHON, create_python, options=options.PYTHON_FUNCTION),
    Statement("{DESC|DESCRIBE} FUNCTION <name> <arguments:list>", describe_function),
    Statement("DROP {FUNCTION} [IF EXISTS] <name> <arguments:list>", drop_function),
    Statement(SQL, create_sql),
    Statement("CALL <function:system> <arguments:list>", call_system),
]  # fmt: skip

SHOWN = {
    "FUNCTION": Shown("created_on@ name schema_name catalog_name arguments description language", function_row),
}  # fmt: skip
