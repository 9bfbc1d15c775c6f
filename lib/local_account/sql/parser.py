"""Parsing a statement: Snowflake's SQL -> a syntax tree.

What sqlglot reads otherwise than Snowflake is corrected; syntax of other databases is refused."""

import functools
import re
from decimal import Decimal

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers

from local_account.engine.types import VARIANT_TYPES, T
from local_account.sql.dialect import SNOWFLAKE
from local_account.text import identifiers
from local_account.text.errors import SnowflakeError, compilation_error, unsupported
from local_account.text.literals import literal

LONG = 20_000  # characters: longer statements hold data, and are not sent twice
TEXT = r"'(?:[^'\\]|\\.|'')*'|\$\$.*?\$\$"
METHOD = rf"\s*!\s*(?P<method>{identifiers.PART})\s*\(\s*(?P<close>\))?"
MODEL = rf"\bMODEL\s*\(\s*(?P<model>{identifiers.DOTTED})\s*(?:,\s*(?P<version>{identifiers.PART})\s*)?\)"
SERVICE = rf"(?P<service>{identifiers.DOTTED})"
MODEL_ALIAS = re.compile(
    rf"{TEXT}|(?P<lead>\bWITH\s|,)\s*(?P<alias>{identifiers.PART})\s+AS\s+MODEL\s+(?P<model>{identifiers.DOTTED})"
    rf"(?:\s+VERSION\s+(?P<version>{identifiers.PART}))?(?P<more>\s*,)?", re.I | re.S
)  # fmt: skip
METHOD_CALL = re.compile(rf"(?:{MODEL}|{SERVICE}){METHOD}|(?P<other>{TEXT}|{identifiers.DOTTED})", re.I | re.S)


EXPONENT = re.compile(r"[\d.]+[eE][+-]?\d+")
GLUED = re.compile(rf"{TEXT}|\"[^\"]*\"|\b(\d[\d.]*[eE]\d+)(?=[+-])", re.S)  # 1e2+1, to the parser one number
EXISTS_AFTER_NAME = re.compile(rf"^(CREATE\s[\w\s]*?TABLE\s+)({identifiers.DOTTED})\s+(IF\s+NOT\s+EXISTS)\b", re.I)


@functools.lru_cache(500)
def parsed(sql: str) -> exp.Expression:
    """Clients send most statements twice, first to learn the columns. Parsing takes longer than copying a tree."""
    return parse(sql)


def parse(sql: str) -> exp.Expression:
    check_syntax(sql)
    sql = GLUED.sub(lambda found: f"{found[1]} " if found[1] else found[0], sql)
    sql = EXISTS_AFTER_NAME.sub(r"\1 \3 \2", sql)  # where Snowpark writes it, and Snowflake accepts it too
    try:
        found = [tree for tree in sqlglot.parse(spell_calls(sql), read=SNOWFLAKE) if tree is not None]
    except SqlglotError as error:
        plain = re.sub(r"\x1b\[\d*m", "", str(error))  # the parser underlines for terminals
        raise SnowflakeError(f"SQL compilation error:\nsyntax error: {plain}", 1003, "42000") from error
    if len(found) != 1:
        raise compilation_error("empty SQL statement", 900)
    for kind in found[0].find_all(exp.DataType):
        if kind.this in FOREIGN_TYPES or kind.expressions and kind.this in VARIANT_TYPES:
            raise unsupported(f"the type {kind.sql('snowflake')}", "local_account.engine.types")
    name_projections(found[0], sql)
    respell(found[0])
    for value in found[0].find_all(exp.Literal):
        if not value.is_string and EXPONENT.fullmatch(value.this) and not value.find_ancestor(exp.Rand):
            value.set("this", f"{Decimal(value.this):f}")  # 1e10 is a NUMBER
    for pair in found[0].find_all(exp.PropertyEQ):
        if isinstance(pair.parent, exp.Struct):
            pair.this.set("quoted", True)  # a key of {'a': 1} keeps its case
    for cte in found[0].find_all(exp.CTE):
        if any(table.name == cte.alias for table in cte.this.find_all(exp.Table)):
            cte.parent.set("recursive", True)  # the word is optional
    tree = normalize_identifiers(found[0], dialect=SNOWFLAKE)
    for node in tree.walk():
        node._meta = None  # positions in the text, which nothing reads and each copy would copy
    return tree


FOREIGN_TYPES = {T.INT128, T.INT256, T.UINT, T.UINT128, T.UINT256, T.UBIGINT, T.USMALLINT, T.UTINYINT}
FOREIGN_SYNTAX = re.compile(
    rf"^[\s(]*(?P<start>FROM)\b|{TEXT}|\"[^\"]*\"|\b(?P<other>IF\s*\(|LIMIT\s+\d+\s*,|USING\s+SAMPLE\b)", re.I | re.S
)


def check_syntax(sql: str) -> None:
    """Raise for syntax of other databases that the parser accepts as Snowflake's."""
    for found in FOREIGN_SYNTAX.finditer(sql):
        if word := found["start"] or found["other"]:
            raise compilation_error(f"syntax error: unexpected '{word.rstrip('( ')}'.", 1003)


def respell(tree: exp.Expression) -> None:
    """``V[0].k`` as ``V[0]['k']``; ORDER BY ALL, ``SELECT * ... USING`` and SAMPLE (3 ROWS) as the engine's."""
    for dot in reversed(list(tree.find_all(exp.Dot))):
        if isinstance(dot.this, exp.Bracket) and isinstance(dot.expression, exp.Identifier):
            dot.replace(exp.Bracket(this=dot.this, expressions=[exp.Literal.string(dot.expression.name)]))
    for order in tree.find_all(exp.Order):
        if len(order.expressions) == 1 and order.expressions[0].this.sql().upper() == "ALL":
            order.expressions[0].set("this", exp.var("ALL"))
    for select in tree.find_all(exp.Select):
        merged = [name.name for join in select.args.get("joins") or () for name in join.args.get("using") or ()]
        if merged and select.expressions[0] == exp.Star():  # in Snowflake these come first, each of them once
            firsts = [exp.column(exp.to_identifier(name)) for name in dict.fromkeys(merged)]
            rest = exp.Star(except_=[exp.to_identifier(name) for name in dict.fromkeys(merged)])
            select.set("expressions", [*firsts, rest, *select.expressions[1:]])
    for sample in tree.find_all(exp.TableSample):
        if sample.args.get("size"):
            sample.set("method", exp.var("RESERVOIR"))


INSERT_CALL = re.compile(rf"\bTHEN\s+INSERT\b|{TEXT}|\"[^\"]*\"|\bINSERT(?=\s*\()", re.I | re.S)


def spell_calls(sql: str) -> str:
    """Replace calls that the parser cannot read by others: INSERT(text, ...), ``MODEL(m, v)!F(x)``, ``svc!F(x)``,
    ``WITH a AS MODEL m VERSION v SELECT a!F(x)``."""
    sql = INSERT_CALL.sub(lambda found: "STUFF" if found[0].upper() == "INSERT" else found[0], sql)
    if "!" not in sql:
        return sql
    aliases = {}

    def take(found: re.Match) -> str:
        """Remove ``a AS MODEL m VERSION v`` from WITH, and keep the rest."""
        if not found["alias"]:
            return found[0]
        aliases[identifiers.fold(found["alias"])] = found["model"], found["version"] or "DEFAULT"
        return found["lead"] if found["more"] else " "

    def spell(found: re.Match) -> str:
        if found["other"]:
            return found[0]
        if found["service"] and identifiers.fold(found["service"]) in aliases:
            call, parts = "__MODEL_CALL", (*aliases[identifiers.fold(found["service"])], found["method"])
        elif found["model"]:
            call, parts = "__MODEL_CALL", (found["model"], found["version"] or "DEFAULT", found["method"])
        else:
            call, parts = "__SERVICE_CALL", (found["service"], found["method"])
        return f"{call}({', '.join(map(literal, parts))}" + (")" if found["close"] else ", ")

    while (rest := MODEL_ALIAS.sub(take, sql)) != sql:
        sql = rest
    return METHOD_CALL.sub(spell, sql)


def name_projections(tree: exp.Expression, sql: str) -> None:
    """Snowflake names an expression's column by its text, as it was written where that is known."""
    outer = tree
    while isinstance(outer, (exp.SetOperation, exp.Subquery)):
        outer = outer.this
    for select in tree.find_all(exp.Select):
        written = written_projections(sql) if select is outer else []
        for i, node in enumerate(list(select.expressions)):
            if isinstance(node, (exp.Alias, exp.Column, exp.Star, exp.Aliases)) or node.is_star:
                continue
            known = len(written) == len(select.expressions)
            spelled = upper(written[i] if known else node.sql(dialect="snowflake"))
            node.replace(exp.alias_(node.copy(), exp.to_identifier(spelled, quoted=True)))


def upper(text: str) -> str:
    return re.sub(r'"[^"]*"|[^"]+', lambda part: part[0] if part[0].startswith('"') else part[0].upper(), text)


CLAUSES = {"FROM", "WHERE", "GROUP BY", "HAVING", "QUALIFY", "ORDER BY", "LIMIT", "UNION", "EXCEPT", "MINUS",
           "INTERSECT", "FETCH", ";"}  # fmt: skip


def written_projections(sql: str) -> list[str]:
    """The texts between the commas of the first SELECT outside all parentheses."""
    try:
        tokens = sqlglot.tokenize(sql, read=SNOWFLAKE)
    except SqlglotError:
        return []
    found, depth, start, last = [], 0, None, None
    for token in tokens:
        word = token.text.upper()
        depth += (word in ("(", "[", "{")) - (word in (")", "]", "}"))
        if start is None:
            start = token.end + 1 if depth == 0 and word == "SELECT" else None
            continue
        if depth == 0 and (word in CLAUSES or word == ",") and token.token_type.name not in ("STRING", "IDENTIFIER"):
            found.append(sql[start : last + 1].strip() if last else "")
            start = token.end + 1
            if word != ",":
                return found
        elif last is None and word in ("DISTINCT", "ALL"):
            start = token.end + 1
            continue
        last = token.end
    return [*found, sql[start : last + 1].strip()] if start is not None and last else found
