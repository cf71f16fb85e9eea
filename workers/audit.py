"""`outdial audit`: hold the live database against what must always be true, in one snapshot, and a provider's log too.

Each invariant is judged by a step below: rows from `infra.db.audit`, a judgement from `domain.audit`, a finding. What
cannot be judged says why, which is no violation.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice, pairwise
from math import ceil
from pathlib import Path
from typing import Any

import typer
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import MICROSECOND
from domain.audit.books import cohort_breaches, counter_breach
from domain.audit.caps import CapJudge
from domain.audit.dials import RepeatJudge, intent_breach
from domain.audit.finding import Finding, Tally, Verdict, not_judged
from domain.audit.quota import QuotaJudge
from domain.audit.rate import SECOND, RateJudge
from domain.audit.retries import RetryJudge
from domain.audit.revisions import History, Revision
from domain.audit.split import split_breaches
from domain.audit.window import callee_breach, window_breach
from domain.callee_hours import caps_of, held_to
from domain.connection import LONGEST_COOL_DOWN, SERVER_ERRORS_TO_COOL
from domain.errors import ConfigurationError
from domain.pacing import pace
from infra.db import audit as ledger
from infra.settings import Settings
from workers.runtime import required
from workers.simulator.witness import Accepted, read, size

LINES_AT_ONCE = 5000
CORRECTED_WITHIN = 5 * SECOND
MINUTE = 60 * SECOND

Findings = tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """What the settings promise, and what an audit therefore judges by. `tolerance` is τ in microseconds."""

    retry_minute: timedelta = timedelta(minutes=1)
    longest_attempt: timedelta = timedelta(minutes=120)
    tolerance: int = 10_000


@dataclass(frozen=True, slots=True)
class Case:
    """Everything a step may need. `witness` was `witness_bytes` long before the snapshot was taken."""

    connection: AsyncConnection
    terms: Terms
    histories: dict[int, History]
    witness: Path | None
    witness_bytes: int

    def revision(self, campaign_id: int, epoch: int) -> Revision | None:
        history = self.histories.get(campaign_id)
        return history.of(epoch) if history is not None else None


def audit(
    settings: Settings, witness: Path | None = None, logs: Path | None = None, echo: Callable[[str], None] = typer.echo
) -> int:
    """Audit the database of these settings, a line an invariant; the exit code is 1 when one is broken."""
    findings = (*asyncio.run(_audit(settings, witness)), privacy(logs))
    for finding in findings:
        echo(finding.line())
    return int(any(finding.verdict is Verdict.VIOLATED for finding in findings))


async def _audit(settings: Settings, witness: Path | None) -> Findings:
    terms = Terms(settings.retry_minute, timedelta(minutes=settings.max_attempt_minutes), settings.slot_tolerance)
    async with ledger.snapshot(required(settings.database_url, "OUTDIAL_DATABASE_URL")) as connection:
        return await judge(connection, witness, terms)


async def judge(connection: AsyncConnection, witness: Path | None, terms: Terms = Terms()) -> Findings:
    """Judge I1 to I11. The connection should be a fresh one of `infra.db.audit.snapshot`."""
    # A call in the log by now has its row in any snapshot taken from now on; a later one may not.
    witness_bytes = size(witness) if witness is not None else 0
    revisions = await ledger.revisions(connection)
    histories = {campaign_id: History(found) for campaign_id, found in revisions.items()}
    case = Case(connection, terms, histories, witness, witness_bytes)
    return tuple([finding for step in STEPS for finding in await step(case)])


async def nothing_lost(case: Case) -> Findings:
    tally = Tally("I1", "nothing lost", "rows of cohorts")
    async for cohort in ledger.cohort_sums(case.connection):
        tally.passed(cohort.total)
        for breach in cohort_breaches(cohort):
            tally.blame(breach)
    return (tally.finding(),)


async def dials(case: Case) -> Findings:
    """At most once, and never without intent: what the provider saw against what was committed."""
    once, intent = Tally("I2", "at most once", "calls placed"), Tally("I3", "intent first", "requests received")
    for contact_id, run_, number in await ledger.doubled_numbers(case.connection):
        once.blame(f"contact {contact_id} has attempt {number} of run {run_} twice")
    if case.witness is None:
        alone = once.finding()
        why = "give --witness, a provider's log"
        return (
            alone if alone.examples else not_judged("I2", "at most once", why),
            not_judged("I3", "intent first", why),
        )
    repeats = RepeatJudge()
    for lines in _chunks(read(case.witness, case.witness_bytes)):
        rows = await ledger.dialled(case.connection, (line.attempt_id for line in lines))
        for line in lines:
            row = rows.get(line.attempt_id)
            intent.judge(intent_breach(line.attempt_id, line.to, line.received_at, row))
            if line.executed:
                once.judge(repeats.breach(line.attempt_id, row))
    return once.finding(), intent.finding()


async def policy(case: Case) -> Findings:
    tally, retries = Tally("I4", "policy", "attempts"), RetryJudge(case.terms.retry_minute, case.terms.longest_attempt)
    async for tried in ledger.tried(case.connection):
        before, history = retries.ended_before(tried), case.histories.get(tried.campaign_id)
        policies = history.retry_policies(before - SECOND, tried.claimed_at) if before and history else []
        tally.judge(retries.breach(tried, policies))
    await _caps(case, tally)
    return (tally.finding(),)


async def _caps(case: Case, tally: Tally) -> None:
    """How often each number was tried, by the organization's cap and by the packs of the epoch that claimed."""
    of_organizations, judge = await ledger.caps(case.connection), CapJudge()
    if not of_organizations and not any(history.has(_has_caps) for history in case.histories.values()):
        return
    async for one in ledger.numbered(case.connection):
        revision, own = case.revision(one.campaign_id, one.epoch), of_organizations.get(one.organization_id)
        caps = list(caps_of(revision.spec.allowed_schedule)) if revision is not None else []
        if own is not None and one.slot >= own.since + SECOND:
            caps.append(own.cap)
        tally.blame(judge.breach(one, caps))


def _has_caps(revision: Revision) -> bool:
    return bool(caps_of(revision.spec.allowed_schedule))


def _holds_callees(revision: Revision) -> bool:
    return held_to(revision.spec.allowed_schedule) is not None


async def one_at_a_time(case: Case) -> Findings:
    tally = Tally("I5", "one at a time", "attempts")
    tally.passed(await ledger.attempts(case.connection))
    async for attempt_id, before in ledger.overlapping(case.connection):
        tally.blame(f"attempt {attempt_id} was opened before {before} to the same number had ended")
    return (tally.finding(),)


async def starts(case: Case) -> Findings:
    """Rate, window and activity, judged start by start under the revision each was claimed under."""
    rate, window = Tally("I6", "rate", "starts"), Tally("I7", "window", "starts")
    activity = Tally("I8", "opt-out, pause", "starts")
    campaign_id, rates = 0, RateJudge()
    async for start in ledger.started_by_campaign(case.connection):
        if start.group_id != campaign_id:
            campaign_id, rates = start.group_id, RateJudge()
        revision = case.revision(campaign_id, start.epoch)
        history = case.histories.get(campaign_id, History(()))
        activity.judge(history.activity_breach(start.attempt_id, start.epoch, start.at))
        if revision is not None:
            app_config = revision.spec.app_config
            rate.judge(rates.breach(start.attempt_id, start.at, app_config.attempts_per_second))
            window.judge(window_breach(revision.spec.allowed_schedule, start.attempt_id, start.at))
    await _connection_rates(case, rate)
    await _callee_windows(case, window)
    for attempt_id in await ledger.started_after_opt_out(case.connection):
        activity.blame(f"attempt {attempt_id} started a second or more after its number was opted out")
    return rate.finding(), window.finding(), activity.finding()


async def _callee_windows(case: Case, tally: Tally) -> None:
    """The starts of campaigns that hold each person called to hours of its own."""
    held = [campaign_id for campaign_id, history in case.histories.items() if history.has(_holds_callees)]
    async for one in ledger.called(case.connection, held):
        revision = case.revision(one.campaign_id, one.epoch)
        schedule = held_to(revision.spec.allowed_schedule) if revision is not None else None
        if schedule is not None:
            tally.blame(callee_breach(schedule, one.attempt_id, one.at, one.phone, one.timezone))


async def _connection_rates(case: Case, tally: Tally) -> None:
    """Connections keep no history of their rate: starts are judged from a second after it last changed."""
    trunks = await ledger.trunks(case.connection)
    connection_id, rates = 0, RateJudge()
    async for start in ledger.started_by_connection(case.connection):
        if start.group_id != connection_id:
            connection_id, rates = start.group_id, RateJudge()
        trunk = trunks[connection_id]
        if trunk.rate is not None and start.at >= trunk.unchanged_since + SECOND:
            tally.blame(rates.breach(start.attempt_id, start.at, trunk.rate))


async def split(case: Case) -> Findings:
    """The split of each epoch in which no connection can have cooled down."""
    tally, left_out = Tally("I9", "split", "attempts"), 0
    trunks = await ledger.trunks(case.connection)
    troubles = await ledger.troubles(case.connection, server_errors=SERVER_ERRORS_TO_COOL)
    for epoch in await ledger.split(case.connection, server_errors=SERVER_ERRORS_TO_COOL):
        revision = case.revision(epoch.campaign_id, epoch.epoch)
        if revision is None or any(use.troubled for use in epoch.uses) or _cooled(epoch, revision, troubles):
            left_out += sum(use.attempts for use in epoch.uses)
            continue
        numbers = {key: one.numbers for key, one in trunks.items() if one.unchanged_since <= epoch.first}
        tally.passed(sum(use.attempts for use in epoch.uses))
        for breach in split_breaches(revision.spec, epoch.uses, numbers, await _unused(case, epoch, revision)):
            tally.blame(f"campaign {epoch.campaign_id} epoch {epoch.epoch}: {breach}")
    return (tally.finding(f", {left_out:,} beside connections in trouble left out" if left_out else ""),)


def _cooled(epoch: ledger.EpochUse, revision: Revision, troubles: Mapping[int, Sequence[int]]) -> bool:
    """Whether a connection of the campaign may have been left out because another campaign met trouble there."""
    since = (epoch.first - LONGEST_COOL_DOWN // MICROSECOND) // MINUTE
    return any(
        minute in range(since, epoch.last // MINUTE + 1)
        for config in revision.spec.app_config.connection_configs
        for minute in troubles.get(config.connection_id, ())
    )


async def _unused(case: Case, epoch: ledger.EpochUse, revision: Revision) -> dict[int | None, int]:
    """How many of the last grants came to nothing, over all connections (None) and over each."""
    lasts: dict[int | None, int] = {None: epoch.last}
    for use in epoch.uses:
        lasts[use.connection_id] = max(use.last, lasts.get(use.connection_id, 0))
    return {key: await _unused_before(case, epoch, revision, key, last) for key, last in lasts.items()}


async def _unused_before(
    case: Case, epoch: ledger.EpochUse, revision: Revision, connection_id: int | None, last: int
) -> int:
    """Given back, or missing in the row of slots, too late for the last grant to make up for it."""
    since, whose = last - CORRECTED_WITHIN, (epoch.campaign_id, epoch.epoch)
    slots = await ledger.slots_between(case.connection, *whose, since, last)
    # Those granted before the first of them may have come to nothing as well.
    instants = [*([since] if epoch.first < since else []), *(at for at, *_ in slots)]
    later = await ledger.voided_after(case.connection, *whose, since)
    rate = revision.spec.app_config.attempts_per_second
    spacing = pace(rate, case.terms.tolerance).spacing
    missing = sum(
        max(0, min((after - before) // spacing - 1, ceil(rate)))
        for before, after in pairwise(instants)
        if after > before
    )
    given_back = sum(is_void and connection_id in (None, used) for _, is_void, used in slots)
    return missing + given_back + sum(n for used, n in later.items() if connection_id in (None, used))


async def quota(case: Case) -> Findings:
    tally, days, any_quota = Tally("I10", "quota", "messages"), QuotaJudge(), False
    async for message in ledger.messages(case.connection):
        any_quota = True
        tally.judge(days.breach(message))
    return (tally.finding() if any_quota else not_judged("I10", "quota", "no messages under a daily quota"),)


async def shown_numbers(case: Case) -> Findings:
    tally = Tally("I11", "counters", "counters")
    async for counter in ledger.counters(case.connection):
        tally.judge(counter_breach(counter))
    return (tally.finding(),)


Step = Callable[[Case], Coroutine[Any, Any, Findings]]
STEPS: tuple[Step, ...] = (nothing_lost, dials, policy, one_at_a_time, starts, split, quota, shown_numbers)

_PHONE = re.compile(r"\+[1-9][0-9]{6,14}(?![0-9])")


def privacy(logs: Path | None) -> Finding:
    """No whole phone number in any log of a folder; where one is, its line is named and not shown."""
    if logs is None:
        return not_judged("I13", "private", "give --logs, a folder of logs")
    if not logs.is_dir():
        raise ConfigurationError(f"there is no folder {logs}", "name with --logs the folder that holds *.log files")
    tally = Tally("I13", "private", "lines of logs")
    for path in sorted(logs.glob("*.log")):
        with path.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                tally.judge(f"{path.name} line {number} holds a phone number" if _PHONE.search(line) else None)
    return tally.finding()


def _chunks(lines: Iterator[Accepted]) -> Iterator[list[Accepted]]:
    while chunk := list(islice(lines, LINES_AT_ONCE)):
        yield chunk
