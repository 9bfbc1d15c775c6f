"""Casts of values that are put into columns, where the engine would convert otherwise than Snowflake."""

from collections.abc import Iterator

from sqlglot import exp

from local_account.engine.types import (
    BINARY_TYPES,
    INTEGER_TYPES,
    NUMBER_TYPES,
    REAL_TYPES,
    TEXT_TYPES,
    TIME_TYPES,
    VARIANT_TYPES,
    T,
    kind_of,
)
from local_account.text.errors import unsupported

FROM_TEXT = TIME_TYPES | BINARY_TYPES | NUMBER_TYPES | {T.TIME, T.BOOLEAN}
AS_TEXT = TIME_TYPES | BINARY_TYPES | REAL_TYPES | {T.TIME}


def convert_assigned_values(tree: exp.Expression, stored: dict[str, exp.DataType], kinds: list[exp.DataType]) -> None:
    """Convert the values that an INSERT, UPDATE, MERGE or CREATE TABLE ... AS puts into columns.

    ``stored`` are the types of the table's columns, ``kinds`` those of the query that gives the rows. Raises for a
    VARIANT's column that would get another type, or the other way around where the types are not known.
    """
    defined = tree.this.expressions if isinstance(tree.this, exp.Schema) else []
    stated = {column.name: column.kind for column in defined if isinstance(column, exp.ColumnDef) and column.kind}
    types = stated if isinstance(tree, exp.Create) else stored | stated
    listed = [column.name for column in defined] or list(types)
    source = tree.args.get("expression")
    if isinstance(source, exp.Query) and len(kinds) == len(listed):
        convert_query(tree, {column: types.get(column) for column in listed}, kinds)
    for column, value in list(assigned(tree, listed)):
        kind = kind_of(value)
        if isinstance(tree, exp.Merge) and kind is None and is_variant(types.get(column)):
            raise unsupported(f"a value for the column {column} that may be of another type; cast it", __name__)
        made = converted(value, kind, types.get(column), column)
        if made is not value:
            value.replace(made)


def assigned(tree: exp.Expression, listed: list[str]) -> Iterator[tuple[str, exp.Expression]]:
    """(column, value) of each value that the statement spells out."""
    source = tree.args.get("expression")
    if isinstance(source, exp.Values):
        for row in source.expressions:
            if isinstance(row, exp.Tuple):
                yield from zip(listed, row.expressions, strict=False)
    for update in tree.find_all(exp.Update):
        yield from ((pair.this.name, pair.expression) for pair in update.expressions)
    for insert in tree.find_all(exp.Insert) if isinstance(tree, exp.Merge) else ():
        if isinstance(insert.this, exp.Tuple):
            columns = [column.name for column in insert.this.expressions]
            yield from zip(columns, insert.expression.expressions, strict=False)


def convert_query(tree: exp.Expression, targets: dict[str, exp.DataType | None], kinds: list[exp.DataType]) -> None:
    """Put conversions around the query, if it needs any."""
    names = [exp.to_identifier(f"C{i}", quoted=True) for i in range(len(kinds))]
    cells = [exp.column(name.copy(), table="given", quoted=True) for name in names]
    for cell, kind in zip(cells, kinds, strict=True):
        cell.type = kind
    pairs = zip(cells, targets.items(), strict=True)
    made = [converted(cell, kind_of(cell), target, column) for cell, (column, target) in pairs]
    if any(one is not other for one, other in zip(made, cells, strict=True)):
        alias = exp.TableAlias(this=exp.to_identifier("given", quoted=True), columns=names)
        inner = exp.Subquery(this=tree.expression, alias=alias)
        tree.set("expression", exp.select(*made).from_(inner))


def converted(value: exp.Expression, kind: T | None, target: exp.DataType | None, column: str) -> exp.Expression:
    """The value as the column's type; the value itself where the engine converts it rightly, or nothing is known."""
    if kind in (None, T.NULL, T.UNKNOWN) or target is None:
        return value
    if is_variant(target):
        if kind not in VARIANT_TYPES:
            raise unsupported(f"a value for the column {column} that is not a VARIANT; cast it", __name__)
        return value
    to = target.this
    if (
        kind in VARIANT_TYPES
        or kind in TEXT_TYPES
        and to in FROM_TEXT
        or kind in AS_TEXT
        and to in TEXT_TYPES
        or kind in REAL_TYPES
        and to in INTEGER_TYPES
        and not isinstance(value, exp.Literal)
    ):
        kept = target if to not in TEXT_TYPES else exp.DataType(this=T.TEXT)  # too long a text is an error, not cut
        return exp.Cast(this=value.copy(), to=kept.copy())
    return value


def is_variant(kind: exp.DataType | None) -> bool:
    return kind is not None and kind.this in VARIANT_TYPES
