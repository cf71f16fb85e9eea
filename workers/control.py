"""The control state in a process's memory: active campaigns by epoch, their specs, and their windows.

Polled by every dialer; too old a copy is an objection to dialling (`domain.dialing`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.allowed_schedule import span
from domain.attempt import instant, microseconds
from domain.campaign import CampaignSpec
from domain.dialing import Control
from domain.local_day import LocalDay, local_day
from domain.open_hours import NEVER_CLOSES
from infra.db import control
from infra.db.control import Active, Reading


class SpecCache:
    """What each epoch of each campaign says. It never changes, so it is read once."""

    MOST = 2000

    def __init__(self) -> None:
        self._specs: dict[tuple[int, int], CampaignSpec] = {}

    async def of(
        self, connection: AsyncConnection, revisions: Sequence[tuple[int, int]]
    ) -> dict[tuple[int, int], CampaignSpec]:
        """The specs of (campaign, epoch) pairs."""
        missing = [pair for pair in revisions if pair not in self._specs]
        if len(self._specs) + len(missing) > self.MOST:
            self._specs.clear()
            missing = list(revisions)
        if missing:
            self._specs |= await control.specs(connection, missing)
        return {pair: self._specs[pair] for pair in revisions if pair in self._specs}


@dataclass(slots=True)
class Window:
    """A span `[since, until)` of a campaign's allowed schedule; instants in microseconds."""

    is_open: bool = False
    since: int = 0
    until: int = 0

    def open_until(self, spec: CampaignSpec, end_at: int | None, now: int) -> int:
        """The end of the open window, or of the campaign; 0 while it is closed. Judged anew outside the span."""
        if not self.since <= now < self.until:
            found = span(spec.allowed_schedule, instant(now))
            self.is_open, self.since, self.until = found.is_open, now, microseconds(found.until)
        if not self.is_open:
            return 0
        return self.until if end_at is None else min(self.until, end_at)


class ControlState:
    """The active campaigns as of `read_at`; `mark` is another whenever they are."""

    def __init__(self) -> None:
        self._specs = SpecCache()
        self._active: dict[int, Active] = {}
        self._known: dict[int, CampaignSpec] = {}
        self._windows: dict[tuple[int, int], Window] = {}
        self._begun = self._read = 0
        self.mark: str | None = None
        self.read_at = 0

    async def refresh(self, connection: AsyncConnection, now: int) -> None:
        """Read what has changed; `now` is taken before the reading, so that `read_at` never flatters.

        Of readings that overlap the one that began last stands. One that found nothing new says so of what was known
        when it began; when that has been replaced meanwhile, the next one finds out.
        """
        self._begun = reading = self._begun + 1
        known = self.mark
        found = await control.active(connection, known)
        specs = await self._specs.of(connection, [(one.campaign_id, one.epoch) for one in found.rows]) if found else {}
        if reading < self._read:
            return
        self._read = reading
        if found is not None:
            self._replace(found, specs)
        elif self.mark != known:
            self.mark = None
            return
        self.read_at = now

    def _replace(self, found: Reading[Active], specs: dict[tuple[int, int], CampaignSpec]) -> None:
        self.mark = found.mark
        self._active = {one.campaign_id: one for one in found.rows}
        self._known = {pair[0]: spec for pair, spec in specs.items()}
        self._windows = {pair: self._windows.get(pair, Window()) for pair in specs}

    def spec(self, campaign_id: int, epoch: int) -> CampaignSpec | None:
        """What the campaign says, if it is active under this epoch."""
        active = self._active.get(campaign_id)
        return self._known.get(campaign_id) if active is not None and active.epoch == epoch else None

    def day(self, campaign_id: int, slot: int) -> LocalDay | None:
        """The day whose quota a message sent at its slot takes from; None for a call."""
        active = self._active.get(campaign_id)
        return local_day(instant(slot), active.zone) if active is not None and active.zone else None

    def of(self, campaign_id: int, now: int) -> Control:
        active, spec = self._active.get(campaign_id), self._known.get(campaign_id)
        if active is None or spec is None:
            return Control(self.read_at, None, 0)
        end_at = microseconds(active.end_at) if active.end_at else None
        window = self._windows[campaign_id, active.epoch]
        return Control(self.read_at, active.epoch, window.open_until(spec, end_at, now))

    def holds_until(self) -> int:
        """Until when the windows stay as they were judged the last time; each has to have been judged."""
        return min((window.until for window in self._windows.values()), default=NEVER_CLOSES)

    def campaigns(self) -> list[tuple[Active, CampaignSpec]]:
        return [(active, self._known[key]) for key, active in self._active.items() if key in self._known]
