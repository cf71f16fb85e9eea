"""Whose turns were taken: how the attempts of a campaign's epoch were split, as the ledger has it.

What lies so far back that nothing of it changes any more is kept as sums, so that whoever takes the lease reads the
last minute only, however long an epoch has lasted. A new epoch reads nothing: no slot of it lies before its revision.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.recording import NEVER_PLACED

# Claims that are older are refused, and no transaction lasts so long.
SETTLED = timedelta(seconds=30)
MOST_COUNTED = 200_000
MOST_KEPT = 50_000


@dataclass(frozen=True, slots=True)
class Split:
    """How often each (connection, calling number) was used. `unsure` are the attempts in it that may yet be void."""

    taken: dict[tuple[int, str], int] = field(default_factory=dict)
    unsure: frozenset[int] = frozenset()


class Voided(NamedTuple):
    """An attempt that turned out void, with the turn it had taken."""

    attempt_id: int
    campaign_id: int
    contact_id: int
    epoch: int
    connection_id: int
    caller: str
    slot_at: datetime
    ended_at: datetime


# One that was sent and never placed took its turn; any other void did not.
_TOOK_A_TURN = "(a.outcome IS DISTINCT FROM 'void' OR a.reason = :never_placed)"
_UNSURE = "(a.outcome IS NULL AND a.accepted_at IS NULL AND a.answered_at IS NULL)"
# A minute is left for clocks that differ.
_WANTED = """
    wanted AS MATERIALIZED (
        SELECT w.id, w.epoch, coalesce(t.until, r.valid_from - interval '1 minute') AS since, t.taken
        FROM unnest(CAST(:ids AS bigint[]), CAST(:epochs AS int[])) AS w(id, epoch)
        JOIN campaign_revisions r ON r.campaign_id = w.id AND r.epoch = w.epoch
        LEFT JOIN turns t ON t.campaign_id = w.id AND t.epoch = w.epoch),
    kept AS (
        SELECT wanted.id, one.connection_id, one.caller, one.n FROM wanted CROSS JOIN LATERAL
            jsonb_to_recordset(wanted.taken) AS one(connection_id bigint, caller text, n bigint))
"""
_SPLIT = text(f"""
    WITH {_WANTED}
    SELECT id, connection_id, caller, CAST(sum(n) AS bigint) AS attempts,
        array_agg(attempt_id) FILTER (WHERE attempt_id IS NOT NULL) AS unsure
    FROM (
        SELECT id, connection_id, caller, n, NULL AS attempt_id FROM kept
        UNION ALL SELECT wanted.id, late.connection_id, late.caller, 1, late.attempt_id
        FROM wanted CROSS JOIN LATERAL (
            SELECT a.connection_id, a.caller, CASE WHEN {_UNSURE} THEN a.id END AS attempt_id FROM attempts a
            WHERE a.campaign_id = wanted.id AND a.slot_at > wanted.since AND a.epoch = wanted.epoch AND {_TOOK_A_TURN}
            ORDER BY a.slot_at DESC LIMIT :most) AS late) AS used
    GROUP BY id, connection_id, caller ORDER BY id
""")
# Up to the first attempt that may yet be void; where there is too much for one go, the rest follows.
_KEEP = text(f"""
    WITH {_WANTED},
    open AS MATERIALIZED (
        SELECT a.campaign_id AS id, min(a.slot_at) AS since FROM attempts a
        WHERE {_UNSURE} AND a.campaign_id = ANY(CAST(:ids AS bigint[])) GROUP BY a.campaign_id),
    page AS MATERIALIZED (
        SELECT wanted.id, late.* FROM wanted LEFT JOIN open USING (id) CROSS JOIN LATERAL (
            SELECT a.connection_id, a.caller, a.slot_at FROM attempts a
            WHERE a.campaign_id = wanted.id AND a.slot_at > wanted.since AND a.epoch = wanted.epoch AND {_TOOK_A_TURN}
              AND a.slot_at < least(CAST(:settled AS timestamptz), open.since)
            ORDER BY a.slot_at LIMIT :most) AS late),
    reach AS (
        SELECT id, max(slot_at) - CASE count(*) WHEN :most THEN interval '1 microsecond' ELSE interval '0' END AS until
        FROM page GROUP BY id),
    summed AS (
        SELECT id, connection_id, caller, sum(n) AS n FROM (
            SELECT * FROM kept WHERE id IN (SELECT id FROM reach)
            UNION ALL SELECT page.id, connection_id, caller, 1 FROM page JOIN reach USING (id) WHERE slot_at <= until
        ) AS used GROUP BY id, connection_id, caller)
    INSERT INTO turns (campaign_id, epoch, until, taken)
    SELECT id, wanted.epoch, reach.until, jsonb_agg(
        jsonb_build_object('connection_id', summed.connection_id, 'caller', summed.caller, 'n', summed.n))
    FROM summed JOIN reach USING (id) JOIN wanted USING (id) GROUP BY id, wanted.epoch, reach.until ORDER BY id
    ON CONFLICT (campaign_id) DO UPDATE SET epoch = excluded.epoch, until = excluded.until, taken = excluded.taken
    WHERE (turns.epoch, turns.until) < (excluded.epoch, excluded.until)
""")
_VOIDED = text("""
    SELECT id, campaign_id, contact_id, epoch, connection_id, caller, slot_at, ended_at FROM attempts
    WHERE outcome = 'void' AND ended_at > :since AND reason IS DISTINCT FROM :never_placed
      AND campaign_id = ANY(CAST(:campaign_ids AS bigint[])) ORDER BY ended_at
""")


async def split(connection: AsyncConnection, revisions: Iterable[tuple[int, int]]) -> dict[int, Split]:
    """How the attempts of each (campaign, epoch) were split; of those not summed up yet, at most the last 200,000."""
    asked = _asked(revisions)
    rows = await connection.execute(_SPLIT, asked | {"most": MOST_COUNTED})
    found = {key: Split() for key in asked["ids"]}
    for key, mine in groupby(rows, key=lambda row: row.id):
        used = list(mine)
        taken = {(row.connection_id, row.caller): row.attempts for row in used}
        found[key] = Split(taken, frozenset(attempt_id for row in used for attempt_id in row.unsure or ()))
    return found


async def keep(connection: AsyncConnection, revisions: Iterable[tuple[int, int]], now: datetime) -> None:
    """Sum up what will not change any more."""
    await connection.execute(_KEEP, _asked(revisions) | {"settled": now - SETTLED, "most": MOST_KEPT})


async def voided(connection: AsyncConnection, campaign_ids: Iterable[int], since: datetime) -> list[Voided]:
    """The attempts of these campaigns that became void after an instant, but for those that took their turn."""
    values = {"campaign_ids": sorted(campaign_ids), "since": since, "never_placed": NEVER_PLACED}
    return [Voided(*row) for row in await connection.execute(_VOIDED, values)]


def _asked(revisions: Iterable[tuple[int, int]]) -> dict[str, Any]:
    wanted = sorted(revisions)
    ids, epochs = [pair[0] for pair in wanted], [pair[1] for pair in wanted]
    return {"ids": ids, "epochs": epochs, "never_placed": NEVER_PLACED}
