"""One attempt, from its committed row to its report.

A connection is borrowed first, then the slot awaited; then check, stamp and first byte are one step. Whatever the
provider answers, or does not, becomes a report, and the report is handed in until it is committed.
"""

import asyncio
from datetime import datetime

import orjson
import structlog
from sqlalchemy.exc import SQLAlchemyError

from domain.attempt import Entry, Report, Source, instant, microseconds
from domain.callee_hours import callee_span, held_to, zones_of
from domain.campaign import CampaignSpec, Channel
from domain.dialing import CAMPAIGN_CHANGED, CEILING, objection
from domain.open_hours import NEVER_CLOSES
from domain.outcome import Outcome
from domain.sms import measure
from domain.template import MISSING_VARIABLE, MissingVariableError, render
from infra.connections import http
from infra.connections.transport import Exchange, NoSocketsError, NotSent, Transport, UnreachableError
from infra.db.attempts import Claimed
from workers.control import ControlState
from workers.dialer.alarm import Alarm
from workers.dialer.ceiling import Ceilings
from workers.dialer.routes import Route, Routes
from workers.dialer.tally import Tally
from workers.recorder import PATIENT_SECONDS, Recorder, is_in_the_report
from workers.runtime import Runtime, required

logger = structlog.get_logger()

CONTROL_FRESHNESS = 1_000_000
HAND_IN_AGAIN_SECONDS = 0.5


class Dial:
    """Makes attempts; everything in it is shared by the attempts of one process.

    `late_at` is when this process was last too late for a slot, not counting what a provider took to be connected to
    (microseconds; 0 before the first time).
    """

    def __init__(self, runtime: Runtime, control: ControlState, alarm: Alarm) -> None:
        settings = runtime.settings
        self.routes = Routes(required(settings.encryption_key, "OUTDIAL_ENCRYPTION_KEY"))
        self.tally = Tally(runtime.metrics)
        self._waiting = runtime.metrics.reports_waiting
        self._public_url = settings.public_url or f"http://{settings.host}:{settings.port}"
        self._tolerance = settings.slot_tolerance
        self.late_at = 0
        self._clock = runtime.clock
        self._control = control
        self._alarm = alarm
        self._ceilings = Ceilings(self._tolerance)
        self._recorder = Recorder(runtime, PATIENT_SECONDS)
        self._transport = Transport(
            connect_seconds=settings.connect_timeout_seconds,
            request_seconds=settings.request_timeout_seconds,
            private_allowed=settings.allow_private_urls,
        )

    async def attempt(self, claim: Claimed) -> None:
        entry = claim.entry
        route, spec = self.routes.of(entry.connection_id), self._control.spec(entry.campaign_id, entry.epoch)
        if route is None or spec is None:
            self.tally.void(entry, CAMPAIGN_CHANGED)
            await self.give_back(claim.attempt_id, CAMPAIGN_CHANGED)
            return
        try:
            order = self._order(claim, spec)
        except MissingVariableError as error:
            await self._leave_out(claim, error.name)
            return
        request = http.placing(order, route.credentials, self._clock.now())
        exchange = await self._exchange(claim, request, route, spec)
        report = _with_segments(http.placed(claim.attempt_id, exchange, self._clock.now()), order)
        self.tally.dialled(entry, report)
        await self._hand_in(report)

    async def give_back(self, attempt_id: int, reason: str) -> None:
        """Void an attempt of this process that has sent nothing and never will."""
        at = instant(self._clock.now())
        await self._hand_in(Report(attempt_id, Outcome.VOID, Source.DIALER, at, reason=reason))

    async def _leave_out(self, claim: Claimed, name: str) -> None:
        """End an attempt whose message, edited after the contact came, has a hole: nothing leaves.

        A void one would come again at once; as an internal error the retry policy decides when, if at all.
        """
        self.tally.void(claim.entry, MISSING_VARIABLE.rstrip(":"))
        at = instant(self._clock.now())
        reason = MISSING_VARIABLE + name
        await self._hand_in(Report(claim.attempt_id, Outcome.INTERNAL_ERROR, Source.DIALER, at, reason=reason))

    def close(self) -> None:
        self._transport.close()

    async def _exchange(self, claim: Claimed, request: bytes, route: Route, spec: CampaignSpec) -> Exchange:
        entry, begun = claim.entry, self._clock.now()
        try:
            line = await self._transport.borrow(route.credentials.address)
        except NoSocketsError as error:
            return NotSent(str(error))
        except UnreachableError as error:
            return NotSent(f"unreachable: {error}", unreachable=True)
        connecting = self._clock.now() - begun
        callee_until = _callee_until(claim, spec)
        await self._alarm.until(entry.slot)
        now = self._clock.now()
        if now - connecting > entry.slot + self._tolerance:
            self.late_at = now
        if not await self._ceilings.admits(entry.campaign_id, entry.epoch, spec.app_config.attempts_per_second):
            line.put_back()
            return NotSent(CEILING)
        return await line.send(request, lambda: self._stamp(entry, callee_until))

    def _stamp(self, entry: Entry, callee_until: int) -> int | str:
        """The last check: the instant at which the first byte leaves, or the reason why it must not."""
        now = self._clock.now()
        known = self._control.of(entry.campaign_id, now)
        reason = objection(entry, known, callee_until, now, tolerance=self._tolerance, freshness=CONTROL_FRESHNESS)
        return reason or now

    def _order(self, claim: Claimed, spec: CampaignSpec) -> http.Order:
        """MissingVariableError when the contact lacks what the message requires."""
        app = spec.app_config
        return http.Order(
            attempt_id=claim.attempt_id,
            campaign_id=claim.entry.campaign_id,
            channel=spec.channel,
            to=claim.phone,
            caller=claim.caller,
            app_id=app.app_id,
            app_version=app.app_version,
            variables=claim.variables,
            message=app.message and render(app.message, orjson.loads(claim.variables)),
            callback_url=f"{self._public_url}/api/callbacks/{claim.entry.connection_id}",
            expires_at=self._expires_at(claim, spec) if spec.channel is Channel.SMS else None,
        )

    def _expires_at(self, claim: Claimed, spec: CampaignSpec) -> datetime:
        """The end of the hours that are open at the slot; where they are closed the last check lets nothing leave."""
        slot = claim.entry.slot
        open_until = self._control.of(claim.entry.campaign_id, slot).open_until
        return instant(max(slot, min(open_until, _callee_until(claim, spec))))

    async def _hand_in(self, report: Report) -> None:
        """Until it is committed, for nobody else knows; what cannot be written at all is left to a look-up."""
        while True:
            try:
                await self._recorder.record(report)
            except (OSError, SQLAlchemyError) as error:
                if is_in_the_report(error):
                    logger.warning("report.unrecordable", attempt_id=report.attempt_id, error=type(error).__name__)
                    return
                logger.warning("report.retried", attempt_id=report.attempt_id, error=type(error).__name__)
                with self._waiting.track_inprogress():
                    await asyncio.sleep(HAND_IN_AGAIN_SECONDS)
            else:
                return


def _with_segments(report: Report, order: http.Order) -> Report:
    """What was sent tells in how many segments."""
    if report.status == Outcome.VOID or order.channel != Channel.SMS or order.message is None:
        return report
    return report._replace(segments=measure(order.message).segments)


def _callee_until(claim: Claimed, spec: CampaignSpec) -> int:
    """The end of the contact's own hours, as they are at the slot; 0 when they are closed then."""
    schedule = held_to(spec.allowed_schedule)
    if schedule is None:
        return NEVER_CLOSES
    zones = zones_of(claim.phone, claim.timezone, schedule.timezone)
    is_open, until = callee_span(schedule, zones, instant(claim.entry.slot))
    return microseconds(until) if is_open else 0
