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
from infra.db import control
from infra.db.control import Active


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
    """The active campaigns as of `read_at`."""

    def __init__(self) -> None:
        self._specs = SpecCache()
        self._active: dict[int, Active] = {}
        self._known: dict[int, CampaignSpec] = {}
        self._windows: dict[tuple[int, int], Window] = {}
        self._begun = self._read = 0
        self.read_at = 0

    async def refresh(self, connection: AsyncConnection, now: int) -> None:
        """Read it anew; `now` is taken before the reading, so that `read_at` never flatters.

        Of readings that overlap the one that began last stands.
        """
        self._begun = reading = self._begun + 1
        found = await control.active(connection)
        specs = await self._specs.of(connection, [(one.campaign_id, one.epoch) for one in found])
        if reading < self._read:
            return
        self._read = reading
        self._active = {one.campaign_id: one for one in found}
        self._known = {pair[0]: spec for pair, spec in specs.items()}
        self._windows = {pair: self._windows.get(pair, Window()) for pair in specs}
        self.read_at = now

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

    def campaigns(self) -> list[tuple[Active, CampaignSpec]]:
        return [(active, self._known[key]) for key, active in self._active.items() if key in self._known]
