"""A cap on how often one number may be tried: an organization's own, or one of a rule pack."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from domain.spec import Spec

LONGEST_CAP_HOURS = 8760


class AttemptCap(Spec):
    """At most `count` attempts to a number within any `hours` hours, over all campaigns; void ones do not count."""

    count: Annotated[int, Field(ge=1, le=10_000)]
    hours: Annotated[int, Field(ge=1, le=LONGEST_CAP_HOURS)]

    @property
    def period(self) -> timedelta:
        return timedelta(hours=self.hours)
