"""What was in force when: the revisions of a campaign, as an audit reads them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from domain.campaign import CampaignSpec, Status
from domain.retry import RetryConfig

GRACE = 1_000_000


@dataclass(frozen=True, slots=True)
class Revision:
    """`valid_from` is in microseconds."""

    epoch: int
    status: Status
    valid_from: int
    spec: CampaignSpec


class History:
    """The revisions of one campaign, oldest first."""

    def __init__(self, revisions: Sequence[Revision]) -> None:
        self._revisions = sorted(revisions, key=lambda revision: revision.epoch)
        self._by_epoch = {revision.epoch: revision for revision in revisions}

    def has(self, trait: Callable[[Revision], bool]) -> bool:
        """Whether any revision is so."""
        return any(map(trait, self._revisions))

    def of(self, epoch: int) -> Revision | None:
        return self._by_epoch.get(epoch)

    def in_force(self, start: int, end: int) -> list[Revision]:
        """Every revision that was in force at some instant from `start` to `end`, both included."""
        ends = [after.valid_from for _, after in pairwise(self._revisions)]
        spans = zip(self._revisions, [*ends, None], strict=True) if self._revisions else ()
        return [one for one, until in spans if one.valid_from <= end and (until is None or until > start)]

    def retry_policies(self, start: int, end: int) -> list[RetryConfig]:
        return [revision.spec.app_config.retry_config for revision in self.in_force(start, end)]

    def activity_breach(self, attempt_id: int, epoch: int, at: int) -> str | None:
        """What is wrong with a start under this epoch, if anything: only an active campaign dials.

        What was claimed before a pause may be at its first byte, so a second passes before it counts.
        """
        claimed_under = self._by_epoch.get(epoch)
        if claimed_under is None:
            return f"attempt {attempt_id} names epoch {epoch}, which its campaign never had"
        if claimed_under.status is not Status.ACTIVE:
            return f"attempt {attempt_id} was claimed while its campaign was {claimed_under.status}"
        standing = self.in_force(at - GRACE, at)
        if any(revision.status is Status.ACTIVE for revision in standing):
            return None
        state = standing[-1].status if standing else "not created"
        return f"attempt {attempt_id} started more than a second after its campaign was {state}"
