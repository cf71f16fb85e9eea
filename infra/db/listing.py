"""Pages of lists: what a caller may ask for, and the fragments of SQL that answer it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

T = TypeVar("T")
Place = TypeVar("Place")


@dataclass(frozen=True, slots=True)
class Page:
    """`limit` rows after `offset`, in the order of one of the list's columns, whose text holds `search`."""

    offset: int = 0
    limit: int = 10
    sort_by: str = "created_at"
    descending: bool = True
    search: str | None = None

    def by(self, column: str) -> "Page":
        return replace(self, sort_by=column)


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """One page and how many rows there are without paging."""

    items: list[T]
    total: int


def order(columns: Mapping[str, str], page: Page) -> str:
    """An ORDER BY of constants only; the id makes it total."""
    direction = "DESC" if page.descending else "ASC"
    return f"ORDER BY {columns[page.sort_by]} {direction} NULLS LAST, id {direction}"


def pattern(search: str | None) -> str | None:
    """An ILIKE pattern for text that contains `search` literally."""
    if search is None:
        return None
    literal = search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{literal}%"


@dataclass(frozen=True, slots=True)
class Stretch(Generic[T, Place]):
    """Some rows of a list that is filtered while it is read, and where reading goes on; None at the list's end."""

    rows: list[T]
    end: Place | None
