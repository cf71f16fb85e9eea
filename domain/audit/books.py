"""Do the sums add up: the rows of cohorts, and every number that is shown?"""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CohortSum:
    """What a cohort says of its rows, and what there is; `is_read` when a completed file was read to its end."""

    cohort_id: int
    total: int
    valid: int
    rejected: int
    explained: int
    contacts: int
    records: int
    is_read: bool


@dataclass(frozen=True, slots=True)
class Counter:
    """A number that is shown, and what the rows say."""

    name: str
    shown: int
    there: int


def cohort_breaches(cohort: CohortSum) -> Iterator[str]:
    name = f"cohort {cohort.cohort_id}"
    if cohort.total != cohort.valid + cohort.rejected:
        yield f"{name} has {cohort.total} rows, {cohort.valid} valid and {cohort.rejected} rejected"
    if cohort.contacts != cohort.valid:
        yield f"{name} has {cohort.valid} valid rows and {cohort.contacts} contacts"
    if cohort.records != cohort.rejected:
        yield f"{name} has {cohort.rejected} rejected rows and {cohort.records} kept with a reason"
    if cohort.explained != cohort.rejected:
        yield f"{name} has {cohort.rejected} rejected rows and reasons for {cohort.explained}"
    if not cohort.is_read:
        yield f"{name} is completed and its file was not read to the end"


def counter_breach(counter: Counter) -> str | None:
    if counter.shown == counter.there:
        return None
    return f"{counter.name} is shown as {counter.shown} and is {counter.there}"
