"""What a seed stands for: an installation, its people and its misfortunes.

Each kind of fault is there in about half of the worlds, with a share of its own (swarm testing): a world where
everything fails at once reaches less than one where a few things fail often.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from domain.open_hours import DAYS
from tests.simulation.provider import MANNERS, Manners

ZONES = ("UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Cairo", "America/Santiago")
RATES = (0.5, 1.0, 2.5, 2.5, 7.0, 7.0, 20.0, 50.0)

# Clocks were changed in these nights: they are where windows are judged wrong.
CHANGES = (
    ("America/New_York", datetime(2026, 3, 8, 7, 0, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 6, 0, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, 0, tzinfo=UTC)),
    ("Africa/Cairo", datetime(2026, 4, 23, 22, 0, tzinfo=UTC)),
)
RETRIED = ("busy", "no_answer", "failed", "provider_error", "internal_error")
FAULTS = (
    "kill", "kill_busy", "freeze", "short_freeze", "flush", "carrier_away", "server_away", "server_restart", "refuse",
    "hang", "deaf",
)  # fmt: skip


@dataclass(slots=True)
class CampaignPlan:
    rate: float
    contacts: int
    first_phone: int
    body: dict[str, Any]
    weights: list[int]
    max_concurrent: int | None
    is_uploaded: bool


@dataclass(slots=True)
class Plan:
    """`faults` are the kinds the nemesis may choose from, `orders` the operators'. Seconds are the world's.

    The product's polls are `beat` times as far apart as usual: a slower machine, and more worlds an hour.
    """

    seed: int
    began: int
    campaigns: list[CampaignPlan]
    connections: list[dict[str, Any]]
    quota: int | None
    dialers: int
    schedulers: int
    seconds: float
    manners: Manners
    faults: list[str]
    pause_seconds: float
    orders: list[str]
    database: dict[str, float]
    carrier: dict[str, float]
    network_lost: float
    beat: float
    edge: str

    @property
    def is_sms(self) -> bool:
        return self.campaigns[0].body.get("channel") == "sms"


def draw(seed: int) -> Plan:
    """The same plan for the same seed, for ever: what is drawn later must be drawn at the end."""
    chance = random.Random(f"world {seed}")  # noqa: S311 - repeatable, not secret
    edge, began, schedule = _edge(chance) if chance.random() < 0.5 else ("far away", _some_day(chance), None)
    is_sms = chance.random() < 0.2
    shared = chance.random() < 0.3
    connections = [_connection(chance, index) for index in range(chance.choice([1, 1, 2, 3]))]
    campaigns = [
        _campaign(chance, index, len(connections), schedule, shared=shared, is_sms=is_sms)
        for index in range(chance.choice([1, 1, 2, 2, 3]))
    ]
    faults = _some(chance, FAULTS)
    return Plan(
        seed=seed,
        began=began,
        campaigns=campaigns,
        connections=connections,
        quota=chance.choice([None, 5, 12, 40]) if is_sms else None,
        dialers=chance.choice([1, 2, 2]),
        schedulers=chance.choice([1, 2, 2]),
        seconds=chance.uniform(2.5, 5.5),
        manners=_manners(chance),
        faults=faults,
        pause_seconds=chance.choice([0.3, 1.0, 2.5]),
        orders=_some(chance, ("pause", "rate", "opt_out", "bulk", "hours", "add", "cancel", "routes", "cap", "trunk")),
        database={"lost": _share(chance, 0.03), "slowest_seconds": chance.choice([0.002, 0.004, 0.004, 0.03])},
        carrier={name: _share(chance, 0.3) for name in ("lost", "doubled", "late", "replayed")},
        network_lost=_share(chance, 0.1),
        beat=chance.choice([1.0, 3.0, 4.0, 4.0]),
        edge=edge,
    )


def _some(chance: random.Random, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if chance.random() < 0.5]


def _share(chance: random.Random, most: float) -> float:
    return chance.uniform(0, most) if chance.random() < 0.5 else 0.0


def _some_day(chance: random.Random) -> int:
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(365 * 86400))
    return _microseconds(start)


def _edge(chance: random.Random) -> tuple[str, int, dict[str, Any]]:
    """A beginning a few seconds before hours open or close, sometimes in a night when clocks are changed."""
    if chance.random() < 0.4:
        zone, at = chance.choice(CHANGES)
        at += timedelta(minutes=chance.choice([-60, -30, 0, 0, 0, 30, 60]))
    else:
        zone = chance.choice(ZONES)
        at = datetime(2026, chance.randrange(1, 13), chance.randrange(1, 28), chance.randrange(24), tzinfo=UTC)
    local = at.astimezone(ZoneInfo(zone))
    edge, opens = f"{local:%H:%M}", chance.random() < 0.5
    far = f"{(datetime.combine(local.date(), time(local.hour)) + timedelta(hours=6 if opens else -6)):%H:%M}"
    start, end = (edge, far) if opens else (far, edge)
    schedule = {"timezone": zone, "windows": _windows(start, end)}
    began = at - timedelta(seconds=chance.uniform(0.5, 5 if opens else 8))
    return "open" if opens else "close", _microseconds(began), schedule


def _windows(start: str, end: str) -> list[dict[str, Any]]:
    if start < end:
        return [{"days": list(DAYS), "start": start, "end": end}]
    parts = [(start, "24:00"), ("00:00", end)]
    return [{"days": list(DAYS), "start": one, "end": other} for one, other in parts if one < other]


def _microseconds(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)


def _connection(chance: random.Random, index: int) -> dict[str, Any]:
    return {
        "phone_numbers": [f"+1415555{index}{number:03}" for number in range(chance.choice([1, 2, 3]))],
        "max_attempts_per_second": chance.choice([None, None, 1.0, 5.0, 30.0]),
        "max_concurrent_attempts": chance.choice([None, None, None, 3, 10]),
    }


def _campaign(
    chance: random.Random, index: int, connections: int, schedule: dict[str, Any] | None, *, shared: bool, is_sms: bool
) -> CampaignPlan:
    rate, most = chance.choice(RATES), chance.choice([None, None, None, 1, 4])
    body: dict[str, Any] = {"allowed_schedule": schedule} if schedule and chance.random() < 0.8 else {}
    if is_sms:
        body["channel"] = "sms"
    return CampaignPlan(
        rate=rate,
        contacts=min(chance.choice([1, 3, 8, 12]), max(2, round(rate * 3)), 3 if most == 1 else 12),
        first_phone=0 if shared else index * 100,
        body=body,
        weights=[chance.choice([1, 1, 2, 3]) for _ in range(connections)],
        max_concurrent=most,
        is_uploaded=chance.random() < 0.4,
    )


def retries(chance: random.Random) -> dict[str, Any]:
    on = {outcome: {"enabled": chance.random() < 0.7} for outcome in RETRIED}
    on["short_duration"] = {"enabled": chance.random() < 0.5, "threshold_seconds": 2}  # type: ignore[dict-item]
    most = chance.choice([0, 1, 2, 2])
    return {"max_retries": most, "retry_interval_minutes": chance.choice([5, 10, [5, 15][:most] or 5]), "retry_on": on}


def _manners(chance: random.Random) -> Manners:
    shares = {manner: chance.uniform(0, 0.25) for manner in MANNERS[2:] if chance.random() < 0.35}
    if "throttled" in shares:
        shares["throttled"] /= 10
    shares["final"] = chance.choice([0.0, 0.0, 0.3, 0.9])
    total = sum(shares.values())
    if total > 1:
        shares = {manner: share / total for manner, share in shares.items()}
    return Manners(
        of_answers=shares,
        latency_seconds=chance.choice([0.01, 0.1, 0.4]),
        look_up_fails=_share(chance, 0.4),
        callback_lost=_share(chance, 1.0) ** 2,
        callback_doubled=_share(chance, 0.4),
        callback_reordered=_share(chance, 0.4),
        callback_late=_share(chance, 0.3),
        callback_latest_seconds=chance.choice([5.0, 20.0]),
        forged=_share(chance, 0.3),
    )
