"""Values that are too long for where they go."""

from collections.abc import Iterable

import pyarrow as pa

from local_account.engine.types import LONGEST
from local_account.text.errors import SnowflakeError

SHOWN = 32  # characters of the value that an error shows


def demand_fit(columns: Iterable[pa.ChunkedArray], longest: Iterable[int] | None = None) -> None:
    """Raise 100078 for a text or binary value of more bytes than ``longest``, by default those of a STRING whose
    length is not declared."""
    columns = list(columns)
    for column, most in zip(columns, longest or [LONGEST] * len(columns), strict=False):
        sized = pa.types.is_string(column.type) or pa.types.is_binary(column.type)
        if not sized or column.nbytes <= most:
            continue
        for value in column:
            if value.is_valid and value.as_buffer().size > most:
                start = value.as_buffer()[:SHOWN].to_pybytes().decode(errors="replace")
                raise SnowflakeError(f"String '{start}' is too long and would be truncated", 100078, "22000")
