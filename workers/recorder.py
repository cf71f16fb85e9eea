"""The one door through which an outcome enters the ledger.

Provider answers, callbacks, look-ups and the reaper hand in reports; these are gathered for a few milliseconds and
committed together. Whoever hands one in is told after the commit. Recording the same report twice changes nothing, so
a report whose commit answer was lost is simply handed in again.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import Report, Source, Trouble, instant
from domain.campaign import CampaignSpec
from domain.connection import (
    SERVER_ERRORS_TO_COOL,
    STARTS_JUDGED,
    Health,
    after_success,
    after_trouble,
)
from domain.outcome import Outcome
from domain.recording import UNKNOWN, Attempt, Campaign, Contact, Rules, apply, follow
from infra.db.archive import connections_of
from infra.db.engine import RETRYABLE, sqlstate
from infra.db.quota import give_back
from infra.db.recording import Locked, lock, lock_health, outcomes, save, save_health, server_errors
from infra.settings import Settings
from workers.control import SpecCache
from workers.runtime import Runtime

# A batch costs as much as dozens of reports, so whom nobody waits for is patient; but one batch must not keep the loop.
GATHER_SECONDS, PATIENT_SECONDS = 0.08, 0.5
ENOUGH_REPORTS = 250
MOST_REPORTS = 500
MOST_TRIES = 5
# Reports decided upon before the loop may see to others again: an attempt's slot may fall due meanwhile.
AT_ONE_GO = 32
WRONG_DATA = frozenset({"22", "23"})


class _Waiting(NamedTuple):
    report: Report
    connection_id: int | None
    known: "asyncio.Future[bool]"


class Recorder:
    """Commits reports in batches, one batch at a time; a batch is gathered for so long, or until it is large."""

    def __init__(self, runtime: Runtime, gather_seconds: float = GATHER_SECONDS) -> None:
        self._runtime = runtime
        self._metrics = runtime.metrics
        self._specs = SpecCache()
        self._rules = rules(runtime.settings)
        self._gather_seconds = gather_seconds
        self._waiting: list[_Waiting] = []
        self._is_enough = asyncio.Event()
        self._committing = 0
        self._busy: asyncio.Task[None] | None = None

    async def record(self, report: Report, connection_id: int | None = None) -> bool:
        """True once the report is committed; False when the attempt does not exist (on that connection)."""
        return await self.hand_in(report, connection_id)

    def hand_in(self, report: Report, connection_id: int | None = None) -> asyncio.Future[bool]:
        """What `record` returns, for whoever has no task to wait in."""
        known: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(report, connection_id, known))
        if len(self._waiting) >= ENOUGH_REPORTS:
            self._is_enough.set()
        if self._busy is None or self._busy.done():
            self._busy = asyncio.create_task(self._drain())
        self._metrics.reports_waiting.inc()
        return known

    @property
    def backlog(self) -> int:
        """Reports that are not committed yet."""
        return len(self._waiting) + self._committing

    async def _drain(self) -> None:
        while self._waiting:
            await self._gather()
            batch, self._waiting = self._waiting[:MOST_REPORTS], self._waiting[MOST_REPORTS:]
            self._committing = len(batch)
            await self._settle(batch)
            self._committing = 0
            self._metrics.reports_waiting.dec(len(batch))

    async def _gather(self) -> None:
        if len(self._waiting) < ENOUGH_REPORTS:
            self._is_enough.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._gather_seconds):
                    await self._is_enough.wait()

    async def _settle(self, batch: Sequence[_Waiting]) -> None:
        """Commit a batch and tell everybody; what cannot be written is parted from the rest and told why."""
        try:
            known = await self._commit(batch)
        except Exception as error:  # noqa: BLE001 - the error belongs to those who wait
            if len(batch) > 1 and is_in_the_report(error):
                for part in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):
                    await self._settle(part)
                return
            for one in batch:
                if not one.known.done():
                    one.known.set_exception(error)
            return
        for one, is_known in zip(batch, known, strict=True):
            if not one.known.done():
                one.known.set_result(is_known)

    async def _commit(self, batch: Sequence[_Waiting]) -> list[bool]:
        for attempt in range(1, MOST_TRIES + 1):
            try:
                async with self._runtime.database.begin() as connection:
                    written = await self._write(connection, batch)
            except DBAPIError as error:
                if attempt == MOST_TRIES or sqlstate(error) not in RETRYABLE:
                    raise
            else:
                self._count(written)
                return written.known
        raise AssertionError("the last try returns or raises")

    async def _write(self, connection: AsyncConnection, batch: Sequence[_Waiting]) -> "_Written":
        locked = await lock(connection, (one.report.attempt_id for one in batch))
        known = [_belongs(one, locked) for one in batch]
        mine = [one.report for one, is_known in zip(batch, known, strict=True) if is_known]
        specs = await self._specs.of(connection, [(c.id, c.epoch) for c in locked.campaigns.values()])
        retried = {one.contact_id for one in locked.attempts.values() if one.number > 1}
        history = await outcomes(connection, retried) if retried else {}
        changed = await _decide(mine, locked, specs, history, self._rules)
        await save(connection, changed.attempts, changed.contacts)
        now = instant(self._runtime.clock.now())
        await _judge_connections(connection, mine, locked, now)
        closed = [one for one in changed.attempts if one.outcome is not locked.attempts[one.id].outcome]
        if voids := [one.id for one in closed if one.outcome is Outcome.VOID]:
            await give_back(connection, voids)
        if not all(known):
            known = await _known_for_long(connection, batch, known)
        return _Written(known, mine, closed)

    def _count(self, written: "_Written") -> None:
        self._metrics.report_batches.observe(len(written.known))
        for source, reports in Counter(report.source for report in written.reports).items():
            self._metrics.reports_committed.labels(source).inc(reports)
        for ended, attempts in Counter((one.campaign_id, one.outcome) for one in written.closed).items():
            self._metrics.attempts.labels(*ended).inc(attempts)


@dataclass(frozen=True, slots=True)
class _Written:
    """Which of a batch found their attempt, these reports, and the attempts that have another outcome now."""

    known: list[bool]
    reports: list[Report]
    closed: list[Attempt]


def is_in_the_report(error: Exception) -> bool:
    """Whether an error comes from what was to be written, and not from a store that is away or busy."""
    if isinstance(error, DBAPIError):
        return sqlstate(error)[:2] in WRONG_DATA
    return not isinstance(error, OSError | SQLAlchemyError)


def rules(settings: Settings) -> Rules:
    return Rules(
        retry_minute=settings.retry_minute,
        look_up=tuple(timedelta(seconds=wait) for wait in settings.look_up_seconds),
        absent=timedelta(seconds=settings.absent_seconds),
        longest_attempt=timedelta(minutes=settings.max_attempt_minutes),
    )


@dataclass(frozen=True, slots=True)
class _Changed:
    attempts: list[Attempt]
    contacts: list[Contact]


def _belongs(one: _Waiting, locked: Locked) -> bool:
    attempt = locked.attempts.get(one.report.attempt_id)
    return attempt is not None and _came_over(one, attempt.connection_id)


def _came_over(one: _Waiting, connection_id: int | None) -> bool:
    """Whether an attempt that there is was reported on by its own connection, or by ourselves."""
    return connection_id is not None and one.connection_id in {None, connection_id}


async def _known_for_long(connection: AsyncConnection, batch: Sequence[_Waiting], known: Sequence[bool]) -> list[bool]:
    """What comes for an attempt in the archive is too late to change it, and nothing that is to be sent again."""
    strangers = {one.report.attempt_id for one, is_known in zip(batch, known, strict=True) if not is_known}
    archived = await connections_of(connection, strangers)
    return [
        is_known or _came_over(one, archived.get(one.report.attempt_id))
        for one, is_known in zip(batch, known, strict=True)
    ]


async def _decide(
    reports: Sequence[Report],
    locked: Locked,
    specs: dict[tuple[int, int], CampaignSpec],
    history: dict[tuple[int, int], dict[int, Outcome]],
    rules: Rules,
) -> _Changed:
    """Fold the reports over the locked rows, in the order they came."""
    attempts: dict[int, Attempt] = {}
    contacts: dict[int, Contact] = {}
    for number, report in enumerate(reports, start=1):
        if number % AT_ONE_GO == 0:
            await asyncio.sleep(0)
        before = attempts.get(report.attempt_id, locked.attempts[report.attempt_id])
        row = locked.campaigns[before.campaign_id]
        spec = specs[row.id, row.epoch]
        retry_config = spec.app_config.retry_config
        after = apply(report, before, rules, retry_config.threshold_seconds, spec.channel)
        if after.outcome is not before.outcome and after.outcome is not None:
            contact = contacts.get(after.contact_id, locked.contacts[after.contact_id])
            numbers = history.setdefault((after.contact_id, after.run), {})
            if after.outcome is not Outcome.VOID:
                numbers[after.number] = after.outcome
            sequence = [numbers[number] for number in sorted(numbers)]
            campaign = Campaign(row.id, row.status, row.run, retry_config, row.started_at)
            contacts[contact.id], after = follow(contact, after, campaign, sequence, rules)
        if after is not before:
            attempts[after.id] = after
    return _Changed(sorted(attempts.values(), key=_by_id), sorted(contacts.values(), key=_by_id))


def _by_id(row: Attempt | Contact) -> int:
    return row.id


async def _judge_connections(
    connection: AsyncConnection, reports: Sequence[Report], locked: Locked, now: datetime
) -> None:
    """Let what the dials met move the health of their connections.

    A report that comes again after its commit's answer was lost finds an outcome, and its trouble was counted.
    """
    met: dict[int, list[Report]] = defaultdict(list)
    for report in reports:
        attempt = locked.attempts[report.attempt_id]
        if _took_it(report) or (report.trouble is not None and attempt.outcome is None):
            met[attempt.connection_id].append(report)
    if not met:
        return
    ailing = [key for key in met if key in locked.ailing or any(report.trouble for report in met[key])]
    if not ailing:
        return
    for key, before in (await lock_health(connection, ailing)).items():
        after = _judge(before, met[key], await _server_errors(connection, key, met[key]), now)
        if after != before:
            await save_health(connection, key, after)


def _took_it(report: Report) -> bool:
    """Whether a dial shows that its connection works, whatever came of the call."""
    return report.source is Source.DIALER and report.status not in {UNKNOWN, Outcome.VOID, Outcome.INTERNAL_ERROR}


async def _server_errors(connection: AsyncConnection, connection_id: int, reports: Sequence[Report]) -> int:
    if all(report.trouble is not Trouble.SERVER_ERROR for report in reports):
        return 0
    return await server_errors(connection, connection_id, among=STARTS_JUDGED)


def _judge(state: Health, reports: Sequence[Report], server_errors: int, now: datetime) -> Health:
    for report in reports:
        started = report.started_at or report.at
        if report.trouble is None:
            state = after_success(state, started)
        elif report.trouble is not Trouble.SERVER_ERROR or server_errors >= SERVER_ERRORS_TO_COOL:
            wait = report.retry_after_seconds
            state = after_trouble(state, report.trouble, started, now, timedelta(seconds=wait) if wait else None)
    return state
