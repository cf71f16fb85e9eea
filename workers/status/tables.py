"""An overview as tables for a terminal, or for plain text; times are UTC."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from domain.campaign import Status
from domain.congestion import Hold
from domain.connection import HEALTHY, Health
from domain.waiting import WaitingFor
from infra.db.status import MOST_LATER, LeaseState
from infra.queue.depth import Depth
from workers.status.overview import CampaignLine, ConnectionLine, Overview

STYLES = {Status.ACTIVE: "green", Status.PAUSED: "yellow", Status.SCHEDULED: "cyan"}
IN_WORDS: dict[str, str] = {
    WaitingFor.START: "not begun",
    WaitingFor.WINDOW: "window closed",
    WaitingFor.OUTCOMES: "outcomes to come",
    WaitingFor.CONTACTS: "no contacts yet",
    WaitingFor.ALL_FINAL: "all contacts final",
}
HELD_BACK: dict[str, str] = {
    Hold.QUEUE_NOT_DRAINED: "what waits in the queue is not taken in time: dialers are behind or away, or Redis is",
    Hold.UNSENT: "Redis did not take what was granted",
    Hold.UNUSED: "dialers let all slots go by unused",
    Hold.DATABASE_SLOW: "PostgreSQL is slow, and what campaigns say was not read for a second",
    Hold.CLOCK_STEPPED: "the clock of PostgreSQL's host was set",
}
LONGEST_NAME = 30
# Narrower, a table has no room for what a campaign waits for, which is told below it.
WIDE = 110
A_WHILE = 120.0


def tables(seen: Overview) -> RenderableType:
    return Group(
        _head(seen),
        "",
        _Campaigns(seen.campaigns, seen.now) if seen.campaigns else Text("no campaign is active, paused or scheduled"),
        "",
        _connections(seen) if seen.connections else Text("no connection is in use"),
        "",
        _queues(seen.queues) if seen.queues is not None else Text("Redis does not answer", "bold red"),
    )


def away(why: str) -> RenderableType:
    return Text(f"{why}; waiting for it", "bold red")


def _head(seen: Overview) -> RenderableType:
    """When it was, whether a scheduler works and what it holds back, and when the last attempt started."""
    return Group(
        f"{seen.now:%Y-%m-%d %H:%M:%S} UTC",
        _lease(seen.lease, seen.now),
        *_held_back(seen.lease),
        f"last attempt {_ago(seen.now - seen.last_start)}" if seen.last_start else "no attempt yet",
    )


def _held_back(lease: LeaseState) -> Iterator[Text]:
    if lease.is_held and lease.held_back:
        yield Text(f"granting held back: {HELD_BACK.get(lease.held_back, lease.held_back)}", "bold yellow")
    if lease.is_held and lease.stretch > 1:
        yield Text(f"granting slowed to 1/{lease.stretch:.1f}: dialers or PostgreSQL do not keep up", "bold yellow")


def _lease(lease: LeaseState, now: datetime) -> Text:
    if lease.is_held:
        left = (lease.expires_at - now).total_seconds()
        return Text(f"scheduler {lease.holder}, term {lease.term}, lease for another {left:.1f} s", "green")
    who = f"the last was {lease.holder}, term {lease.term}" if lease.holder else "there never was one"
    return Text(f"no scheduler holds the lease: {who}", "bold red")


@dataclass(frozen=True, slots=True)
class _Campaigns:
    """The achieved rates stand beside their target, the status at the end, with what the campaign waits for."""

    lines: Sequence[CampaignLine]
    now: datetime

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        is_wide = options.max_width >= WIDE
        yield self._table(is_wide=is_wide)
        if not is_wide:
            yield from self._waits()

    def _table(self, *, is_wide: bool) -> Table:
        figures = ["target", "10 s", "60 s", "ready", "later", "dialing", "done"]
        table = _table("Campaigns", ["id", "name"], figures)
        table.add_column("status", min_width=9)
        for one in self.lines:
            table.add_row(*_campaign(one), _status(one, self.now) if is_wide else _styled(one))
        return table

    def _waits(self) -> Iterator[Text]:
        for one in self.lines:
            if shown := _waits_for(one, self.now):
                yield Text(f"{one.backlog.campaign.id} {shown}")


def _campaign(one: CampaignLine) -> list[Text | str]:
    campaign, counts = one.backlog.campaign, one.backlog.counts
    is_cut = one.backlog.due_later >= MOST_LATER
    return [
        str(campaign.id),
        _name(campaign.spec.name),
        f"{campaign.spec.app_config.attempts_per_second:g}",
        f"{one.starts.last_10 / 10:.1f}",
        f"{one.starts.last_60 / 60:.1f}",
        f"{'≤' if is_cut else ''}{one.backlog.ready_now:,}",
        f"{'≥' if is_cut else ''}{one.backlog.due_later:,}",
        f"{one.backlog.dialing:,}",
        f"{counts.final_contacts / counts.total_contacts:.1%}" if counts.total_contacts else "",
    ]


def _connections(seen: Overview) -> Table:
    table = _table("Connections", ["id", "name", "health"], ["open", "most"])
    for one in seen.connections:
        table.add_row(*_connection(one, seen.now))
    return table


def _connection(one: ConnectionLine, now: datetime) -> list[Text | str]:
    most = one.connection.max_concurrent_attempts
    return [
        str(one.connection.id),
        _name(one.connection.name),
        _health(one.connection.health, now),
        f"{one.open_attempts:,}",
        f"{most:,}" if most else "",
    ]


def _queues(queues: dict[str, Depth]) -> Table:
    table = _table("Queues", ["queue"], ["waiting", "in flight", "dead"])
    for queue, depth in queues.items():
        dead = Text(f"{depth.dead:,}", "red" if depth.dead else "")
        table.add_row(queue, f"{depth.waiting:,}", f"{depth.in_flight:,}", dead)
    return table


def _table(title: str, texts: list[str], figures: list[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in texts:
        table.add_column(name, no_wrap=name == "id", min_width=len(name))
    for name in figures:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _name(name: str) -> Text:
    """A name cut to a length, without anything that a terminal would obey."""
    shown = "".join(character if character.isprintable() else "·" for character in name)
    return Text(shown if len(shown) <= LONGEST_NAME else f"{shown[: LONGEST_NAME - 1]}…")


def _health(health: Health, now: datetime) -> Text:
    if health == HEALTHY:
        return Text("well", "green")
    if health.suspended_at is not None:
        return Text(f"suspended since {_at(health.suspended_at, now)} ({health.reason})", "bold red")
    if not health.takes_attempts(now) and health.cooling_until is not None:
        return Text(f"cooling until {_at(health.cooling_until, now)} ({health.reason})", "yellow")
    return Text(f"probing ({health.reason})" if health.strikes else "well", "yellow" if health.strikes else "green")


def _status(one: CampaignLine, now: datetime) -> Text:
    why = _waits_for(one, now)
    return _styled(one).append(f": {why}" if why else "", "")


def _styled(one: CampaignLine) -> Text:
    status = one.backlog.campaign.status
    return Text(status, STYLES[status])


def _waits_for(one: CampaignLine, now: datetime) -> str:
    """Nothing where the status says it all."""
    wait = one.wait
    if wait is None or wait.what == one.backlog.campaign.status:
        return ""
    why = IN_WORDS.get(wait.what, wait.what.replace("_", " "))
    return f"{why} until {_at(wait.until, now)}" if wait.until else why


def _at(at: datetime, now: datetime) -> str:
    return f"{at:%H:%M:%S}" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M}"


def _ago(length: timedelta) -> str:
    seconds = length.total_seconds()
    return f"{seconds:.1f} s ago" if seconds < A_WHILE else f"{timedelta(seconds=round(seconds))} ago"
