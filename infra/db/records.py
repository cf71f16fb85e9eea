"""Rows as one parameter, for `json_to_recordset`: the driver takes several times as long to write an array a column."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson


def records(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """JSON text of the rows; what is None is left out, and read as NULL."""
    found = [{name: value for name, value in zip(names, row, strict=True) if value is not None} for row in rows]
    return orjson.dumps(found).decode()
