"""A dialect of our own for sqlglot: Snowflake's, without the names and operators that only other databases know.

sqlglot's own Snowflake dialect stays as it is for everybody else in the process. Its parser is compiled and cannot be
subclassed. So the calls that it must not know are marked among the tokens, which makes them calls of unknown functions
to the parser, and the marks are taken off the tree again.
"""

from sqlglot import exp
from sqlglot.dialects.snowflake import Snowflake
from sqlglot.tokens import Token, TokenType

from local_account.engine.variant_functions import FUNCTIONS

SNOWFLAKE = "localsnowflake"
MARK = "local:"  # no token of a statement begins so
# Names that the parser knows from other databases. Snowflake does not know them.
FOREIGN = """
    APPROX_DISTINCT APPROX_QUANTILE ARGMAX ARGMIN ARG_MAX ARG_MIN BITWISE_AND_AGG BITWISE_OR_AGG BITWISE_XOR_AGG
    BOOL_AND BOOL_OR CHARACTER_LENGTH CHAR_LENGTH COUNTIF DATE_ADD DATE_DIFF DAY_OF_MONTH DAY_OF_WEEK DAY_OF_YEAR
    DECODE_CASE ENDS_WITH GEN_RANDOM_UUID GLOB GROUP_CONCAT HEX IIF INSTR ISODOW JSON_EXTRACT JSON_PARSE
    LAST_DAY_OF_MONTH LCASE LEFTPAD LEVENSHTEIN LOCATE LOG10 LOG2 LOGICAL_AND LOGICAL_OR PAD RAND REGEXP_EXTRACT
    RIGHTPAD SHA SIGNUM STARTS_WITH STDEV STRPOS STR_POSITION STR_TO_TIME TIMESTAMP_TRUNC TS_OR_DS_TO_DATE
    TS_OR_DS_TO_TIME UCASE UNIX_TO_TIME UUID VARIANCE_POP VARIANCE_SAMP WEEK_OF_YEAR YEAR_OF_WEEK YEAR_OF_WEEK_ISO
"""
# sqlglot translates the format itself where it sees a date, and passes on codes that it does not know.
TO_CHAR = ("TO_CHAR", "TO_VARCHAR")
# Functions over VARIANT stay calls: engine/variant_functions.py answers them.
UNKNOWN = frozenset((*FUNCTIONS, *FOREIGN.split(), *TO_CHAR))


class LocalSnowflake(Snowflake):
    class Tokenizer(Snowflake.Tokenizer):
        KEYWORDS = {word: kind for word, kind in Snowflake.Tokenizer.KEYWORDS.items() if word != "?::"}  # ?::DATE

    def parse(self, sql: str, **options: object) -> list[exp.Expression | None]:
        tokens = mark(self.tokenize(sql))
        return [tree and unmark(tree) for tree in self.parser(**options).parse(tokens, sql)]

    def parse_into(self, into: object, sql: str, **options: object) -> list[exp.Expression | None]:
        tokens = mark(self.tokenize(sql))
        return [tree and unmark(tree) for tree in self.parser(**options).parse_into(into, tokens, sql)]


def mark(tokens: list[Token]) -> list[Token]:
    """Mark the names that the parser must not know, where a parenthesis follows."""
    for token, following in zip(tokens, tokens[1:], strict=False):
        is_call = following.token_type == TokenType.L_PAREN and token.token_type != TokenType.STRING
        if is_call and token.text.upper() in UNKNOWN:
            token.text = MARK + token.text
    return tokens


def unmark(tree: exp.Expression) -> exp.Expression:
    """Take the marks off calls, and off names of tables and columns that a parenthesis follows."""
    for node in list(tree.walk()):
        name = node.args.get("this")
        if not isinstance(name, str) or not name.startswith(MARK):
            continue
        name = name.removeprefix(MARK)
        node.set("this", name)
        if isinstance(node, exp.Anonymous) and name.upper() in TO_CHAR and not isinstance(node.parent, exp.Dot):
            made = exp.ToChar.from_arg_list(node.expressions)
            if node is tree:
                return made
            node.replace(made)
    return tree
