"""What must be true: judged at each first byte, and from the whole ledger while a world goes on and when it rests."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from domain.audit.finding import Verdict
from domain.audit.rate import RateJudge
from domain.audit.window import callee_breach, window_breach
from domain.callee_hours import held_to
from domain.campaign import CampaignSpec
from domain.outcome import Outcome, final_outcome
from infra.db.engine import snapshot
from tests.simulation.database import Server
from tests.simulation.loop import PROCESS, present
from tests.simulation.provider import Provider
from workers.audit import Terms, judge

_DIALLED = """
    SELECT a.id, a.contact_id, a.run, a.number, a.campaign_id, a.connection_id, a.phone, a.outcome,
        CAST(r.spec AS text) AS spec, r.status, k.timezone, c.max_attempts_per_second AS trunk_rate,
        (SELECT count(*) FROM attempts o WHERE o.organization_id = a.organization_id AND o.phone = a.phone
            AND o.outcome IS NULL AND o.id <> a.id) AS others,
        CAST(extract(epoch FROM a.claimed_at) * 1000000 AS bigint) AS claimed_at
    FROM attempts a JOIN campaign_revisions r ON r.campaign_id = a.campaign_id AND r.epoch = a.epoch
    JOIN contacts k ON k.id = a.contact_id JOIN connections c ON c.id = a.connection_id
    WHERE a.id = $1
"""
_ENDED = "SELECT id, campaign_id, outcome, reason, duration_seconds FROM attempts WHERE id = ANY($1::bigint[])"
_RESULTS = """
    SELECT coalesce(outcome, 'open') || coalesce(' ' || reason, '') AS word, count(*) AS n FROM attempts GROUP BY 1
    UNION ALL SELECT 'contact ' || state || coalesce(' ' || waiting_for, ''), count(*) FROM contacts GROUP BY 1
    UNION ALL SELECT 'lease taken over', term - 1 FROM scheduler_lease WHERE term > 1
    UNION ALL SELECT 'looked up ' || least(looks, 4), count(*) FROM attempts WHERE looks > 0 GROUP BY 1
    ORDER BY 1
"""

_LEFT = """
    SELECT (SELECT count(*) FROM contacts k JOIN campaigns c ON c.id = k.campaign_id
            WHERE c.status = 'active' AND (k.state = 'dialing' OR k.state = 'ready' AND coalesce($1 > (
                SELECT coalesce(sum(sent), 0) FROM quota_ledger
                WHERE day = CAST(clock_timestamp() AT TIME ZONE 'UTC' AS date)), true)))
         + (SELECT count(*) FROM attempts WHERE outcome IS NULL)
         + (SELECT count(*) FROM cohorts WHERE status = 'processing') AS n
"""
_IDLE = """
    SELECT (SELECT count(*) FROM attempts WHERE outcome IS NULL)
         + (SELECT count(*) FROM cohorts WHERE status = 'processing') AS busy,
        extract(epoch FROM greatest(
            (SELECT min(k.due_at) FROM contacts k JOIN campaigns c ON c.id = k.campaign_id WHERE c.status = 'active'),
            (SELECT min(coalesce(cooling_until, '-infinity')) FROM connections)) - clock_timestamp()) AS seconds
"""

_WAITING = """
    SELECT count(*) AS n FROM contacts k JOIN campaigns c ON c.id = k.campaign_id
    WHERE k.state = 'ready' AND c.status = 'active'
"""


class BrokenError(Exception):
    """Something that must always be true was not."""


@dataclass(slots=True)
class Judge:
    """Rates and hours are judged by the common clock, as the process that dials knows it.

    `opted_out` tells when it was answered that a number had been.
    """

    server: Server
    provider: Provider
    terms: Terms
    sent: set[int] = field(default_factory=set)
    keys: set[tuple[int, int, int]] = field(default_factory=set)
    of_campaigns: dict[int, RateJudge] = field(default_factory=dict)
    of_trunks: dict[int, RateJudge] = field(default_factory=dict)
    trunk_changed: float = -10.0
    opted_out: dict[str, int] = field(default_factory=dict)
    specs: dict[str, CampaignSpec] = field(default_factory=dict)

    def first_byte(self, request: bytes) -> None:
        """A request that places an attempt leaves now. BrokenError when it must not."""
        head, _, body = request.partition(b"\r\n\r\n")
        if not head.startswith(b"POST"):
            return
        order = orjson.loads(body)
        attempt_id = order["attempt_id"]
        _refuse("I2", attempt_id in self.sent, f"attempt {attempt_id} is sent again")
        self.sent.add(attempt_id)
        rows = self.ask(_DIALLED, attempt_id)
        _refuse("I3", not rows, f"attempt {attempt_id} is dialled and has no committed row")
        self._judge(rows[0], order)

    def _judge(self, row: Any, order: dict[str, Any]) -> None:
        attempt_id, key = row["id"], (row["contact_id"], row["run"], row["number"])
        _refuse("I2", key in self.keys and not self._was_void(key), f"contact, run, number {key} is dialled again")
        self.keys.add(key)
        _refuse("I3", row["outcome"] is not None, f"attempt {attempt_id} is dialled and ended as {row['outcome']}")
        _refuse("I3", row["phone"] != order["to"], f"attempt {attempt_id} goes to another number")
        _refuse("I5", row["others"] > 0, f"attempt {attempt_id} is the second open one to its number")
        _refuse("I8", row["status"] != "active", f"attempt {attempt_id} was claimed while {row['status']}")
        opted_out_at = self.opted_out.get(row["phone"], row["claimed_at"])
        _refuse(
            "I8", row["claimed_at"] > opted_out_at, f"attempt {attempt_id} was claimed after its number was opted out"
        )
        spec = self._spec(row["spec"])
        self._judge_rates(row, spec)
        self._judge_hours(row, spec)

    def _was_void(self, key: tuple[int, int, int]) -> bool:
        rows = self.ask("SELECT outcome FROM attempts WHERE contact_id = $1 AND run = $2 AND number = $3", *key)
        return len([row for row in rows if row["outcome"] != "void"]) <= 1

    def _judge_rates(self, row: Any, spec: CampaignSpec) -> None:
        at, rate = self._stamp(), spec.app_config.attempts_per_second
        of_campaign = self.of_campaigns.setdefault(row["campaign_id"], RateJudge())
        breach = of_campaign.breach(row["id"], at, rate)
        _refuse("I6", breach is not None, f"{breach} (campaign)")
        if row["trunk_rate"] is not None and present().time() > self.trunk_changed + 1:
            of_trunk = self.of_trunks.setdefault(row["connection_id"], RateJudge())
            breach = of_trunk.breach(row["id"], at, row["trunk_rate"])
            _refuse("I6", breach is not None, f"{breach} (connection)")

    def _judge_hours(self, row: Any, spec: CampaignSpec) -> None:
        at = self._stamp()
        breach = window_breach(spec.allowed_schedule, row["id"], at)
        held = held_to(spec.allowed_schedule)
        if breach is None and held is not None:
            breach = callee_breach(held, row["id"], at, row["phone"], row["timezone"])
        _refuse("I7", breach is not None, str(breach))

    def _stamp(self) -> int:
        """The instant, on the common clock as its process knows it."""
        return PROCESS.get().clock.now()  # type: ignore[no-any-return]

    def _spec(self, text: str) -> CampaignSpec:
        if text not in self.specs:
            self.specs[text] = CampaignSpec.model_validate_json(text)
        return self.specs[text]

    async def ledger(self, folder: Path) -> None:
        """The audit of the product itself over the ledger and what the provider saw."""
        witness = folder / "witness.log"
        witness.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in self.provider.witness))
        async with self.server.ours() as engine, snapshot(engine).connect() as connection:
            findings = await judge(connection, witness, self.terms)
        broken = [one.line() for one in findings if one.verdict is Verdict.VIOLATED]
        if broken:
            raise BrokenError("; ".join(broken))

    def truth(self) -> None:
        """At rest the ledger says of every call what the provider knows of it."""
        calls = self.provider.calls
        _refuse("I2", bool(self.provider.placed_twice), f"placed twice: {self.provider.placed_twice}")
        rows = {row["id"]: row for row in self.ask(_ENDED, sorted(calls))}
        specs = {row["id"]: row["spec"] for row in self.ask("SELECT id, CAST(spec AS text) AS spec FROM campaigns")}
        for attempt_id, call in calls.items():
            row = rows.get(attempt_id)
            _refuse("I3", row is None, f"attempt {attempt_id} was placed and has no row")
            if row is None:
                continue
            threshold = self._spec(specs[row["campaign_id"]]).app_config.retry_config.threshold_seconds
            expected = final_outcome(call.status, call.duration, threshold)
            allowed = {expected, Outcome.COMPLETED if expected is Outcome.SHORT_DURATION else expected}
            _refuse(
                "truth",
                row["outcome"] not in allowed,
                f"attempt {attempt_id} is {row['outcome']} ({row['reason']}) and was {expected}",
            )
        unknown = self.ask("SELECT id FROM attempts WHERE reason = 'outcome_unknown'")
        _refuse("truth", bool(unknown), f"given up though the provider can be asked: {[row['id'] for row in unknown]}")

    def results(self) -> dict[str, int]:
        return {row["word"]: row["n"] for row in self.ask(_RESULTS)}

    def left(self, quota: int | None) -> int:
        """Contacts and attempts that are to come to an end; today's quota has no room for the others."""
        return int(self.ask(_LEFT, quota)[0]["n"])

    def waiting(self) -> int:
        """Contacts of active campaigns that nobody has come to."""
        return int(self.ask(_WAITING)[0]["n"])

    def idle_for(self) -> float:
        """For how many seconds nobody will have anything to do: who is left is due later, or its connections cool."""
        row = self.ask(_IDLE)[0]
        return 0.0 if row["busy"] or row["seconds"] is None else float(row["seconds"])

    def unfinished(self) -> str:
        """What is left, for whoever has to find out why."""
        contacts = self.ask("""
            SELECT k.id, k.campaign_id, c.status, c.epoch, k.state, k.run, k.attempts, k.due_at, k.waiting_for
            FROM contacts k JOIN campaigns c ON c.id = k.campaign_id WHERE k.state IN ('ready', 'dialing') LIMIT 5""")
        attempts = self.ask("""
            SELECT id, contact_id, number, connection_id, slot_at, started_at, accepted_at, look_at, looks
            FROM attempts WHERE outcome IS NULL LIMIT 5""")
        trunks = self.ask("SELECT id, cooling_until, strikes, suspended_at, health_reason FROM connections")
        lease = self.ask("SELECT * FROM scheduler_lease")
        return "\n".join(str(dict(row)) for row in (*contacts, *attempts, *trunks, *lease))

    def ask(self, statement: str, *values: object) -> list[Any]:
        """Rows as everybody sees them who asks now."""
        connection = self.server.take()
        try:
            self.server.set_clock()
            return list(self.server.run(connection.fetch(statement, *values)))
        finally:
            self.server.give(connection)


def _refuse(invariant: str, is_broken: bool, what: str) -> None:  # noqa: FBT001 - what is asked stands first
    if is_broken:
        raise BrokenError(f"{invariant}: {what}")
