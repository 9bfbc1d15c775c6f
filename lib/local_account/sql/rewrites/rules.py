"""All rewrites: expression class -> a function ``node -> node``. The children of the node are rewritten before it."""

from collections.abc import Callable

from sqlglot import exp

from local_account.engine.variant_functions import FUNCTIONS
from local_account.sql.rewrites import aggregates, casts, dates, operators, strings, variants
from local_account.sql.rewrites.dates import TIMESTAMPS, to_timestamp
from local_account.sql.rewrites.variants import json_call

ANONYMOUS: dict[str, Callable] = {name: to_timestamp(kind) for name, kind in TIMESTAMPS.items()}
"""functions that sqlglot has no class for"""


def rewrite_anonymous(node: exp.Anonymous) -> exp.Expression:
    name = node.name.upper()
    return json_call(name, node.expressions) if name in FUNCTIONS else ANONYMOUS[name](node)


RULES: dict[type[exp.Expression], Callable] = {
    **aggregates.RULES, **casts.RULES, **dates.RULES, **operators.RULES, **strings.RULES, **variants.RULES,
    exp.Anonymous: rewrite_anonymous,
}  # fmt: skip
