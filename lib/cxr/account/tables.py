"""Append or merge rows into tables, with the column types of the table instead of those that pandas infers."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pandas as pd
from snowflake.snowpark import DataFrame, Session, Table
from snowflake.snowpark.functions import when_matched, when_not_matched
from snowflake.snowpark.types import StructType


def append(session: Session, name: str, rows: pd.DataFrame) -> None:
    """Append the rows. Columns are matched by name; missing columns get their defaults.

    Raises:
        KeyError: the table lacks a column of the rows.
    """
    _typed(session, session.table(name), rows).write.mode("append").save_as_table(name, column_order="name")


def merge(
    session: Session,
    name: str,
    rows: pd.DataFrame,
    keys: list[str],
    update: bool | Sequence[str] = True,
    known: tuple[str, str] | None = None,
) -> None:
    """Insert rows with new keys. Of rows with known keys, all columns are updated, none, or those that are named.

    Columns are matched by name.

    Args:
        known: (column, table): leave out rows whose value of the column that table lacks.

    Raises:
        KeyError: the table lacks a column of the rows.
    """
    table = session.table(name)
    source = _typed(session, table, rows)
    if known:
        column, other = known
        source = source.filter(source[column].in_(session.table(other).select(column)))
    condition = table[keys[0]] == source[keys[0]]
    for key in keys[1:]:
        condition &= table[key] == source[key]
    values = {column: source[column] for column in rows.columns}
    names = rows.columns if update is True else update or ()
    changed = {column: values[column] for column in names if column not in keys}
    clauses = [when_matched().update(changed)] if changed else []
    table.merge(source, condition, [*clauses, when_not_matched().insert(values)])


@contextmanager
def temporary(session: Session, columns: str, rows: pd.DataFrame | None = None) -> Iterator[str]:
    """Create a temporary table with the rows and yield its name; the table is dropped at the end of the block."""
    name = f"CXR_TEMPORARY_{next(_NUMBERS)}"
    session.sql(f"CREATE OR REPLACE TEMPORARY TABLE {name} ({columns})").collect()
    if rows is not None:
        append(session, name, rows)
    yield name
    session.sql(f"DROP TABLE {name}").collect()


def run_long(session: Session, statement: str, params: Sequence | None = None) -> None:
    """Run a statement that may take longer than a connection waits for an answer (network_timeout)."""
    session.sql(statement, params=params).collect_nowait().result("no_result")


@contextmanager
def transaction(session: Session) -> Iterator[None]:
    """All statements inside take effect, or none. Not for CREATE, DROP and the like: they end a transaction."""
    session.sql("BEGIN").collect()
    try:
        yield
    except BaseException:
        session.sql("ROLLBACK").collect()
        raise
    session.sql("COMMIT").collect()


_NUMBERS = itertools.count(1)


def _typed(session: Session, table: Table, rows: pd.DataFrame) -> DataFrame:
    """The rows as a Snowpark DataFrame with the table's schema: a column of nulls has no type in pandas."""
    fields = {field.name.strip('"'): field for field in table.schema.fields}
    missing = set(rows.columns) - set(fields)
    if missing:
        raise KeyError(f"{table.table_name} has no column {', '.join(sorted(missing))}")
    plain = rows.astype(object).where(rows.notna(), None)
    values = [tuple(map(_plain, row)) for row in plain.itertuples(index=False)]
    return session.create_dataframe(values, schema=StructType([fields[name] for name in rows.columns]))


def _plain(value):
    """NumPy and pandas values as built-in Python types, because the connector binds no others."""
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime()
    return value.item() if hasattr(value, "item") else value


def utc_now() -> pd.Timestamp:
    """The client's time in UTC, for a column of type TIMESTAMP_NTZ."""
    return pd.Timestamp.now("UTC").tz_localize(None)
