"""What was measured, as tables for people that fit into a hundred columns."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tests.bench.saturation import Saturated

ROLES = ("web", "scheduler", "dialer", "worker", "up", "postgres", "redis", "simulator")
OURS = "Outdial"


def saturation(console: Console, found: Sequence[Saturated]) -> None:
    """Side by side for each kind of provider."""
    for provider in dict.fromkeys(one.provider for one in found):
        mine = [one for one in found if one.provider == provider]
        by = "by callbacks" if provider == "callbacks" else provider
        table = Table("", *(one.name for one in mine), title=f"Saturation, outcomes told {by}")
        for label, cells in saturation_rows(mine).items():
            table.add_row(label, *cells)
        console.print(table)
        if len(mine) > 1:
            times = ratio(mine)
            console.print(f"{times:.1f} times as many complete attempts a second as the plain actor\n")


def ratio(found: Sequence[Saturated]) -> float:
    """Outdial's complete attempts a second to the peer's."""
    ours = next(one for one in found if one.name == OURS)
    peer = next(one for one in found if one.name != OURS)
    return ours.complete_per_second / peer.complete_per_second if peer.complete else float("inf")


def saturation_rows(found: Sequence[Saturated]) -> dict[str, list[str]]:
    rows = {
        "complete attempts/s": [f"{one.complete_per_second:,.0f}" for one in found],
        "starts/s": [f"{one.started_per_second:,.0f}" for one in found],
        "measured for": [f"{one.seconds:.1f} s" for one in found],
        "campaigns at 500/s, dialers, τ": [_load(one) for one in found],
        "slots granted, used, void": [_slots(one) for one in found],
        "CPU µs/attempt: its Python": [f"{one.python_micros:,.0f}" for one in found],
    }
    for role in ROLES:
        rows[f"  {role}"] = [_cpu(one, role) for one in found]
    rows["cores busy, all together"] = [f"{sum(one.cpu.values()) / one.seconds:.2f}" for one in found]
    for role in ROLES:
        rows[f"MB: {role}"] = [_memory(one, role) for one in found]
    return {label: cells for label, cells in rows.items() if any(cell != "-" for cell in cells)}


def _load(one: Saturated) -> str:
    return f"{one.load.campaigns}, {one.load.dialers}, {one.load.tolerance_ms} ms" if one.load else "-"


def _slots(one: Saturated) -> str:
    return f"{one.slots.granted:,}, {one.slots.used:,}, {one.slots.void:,}" if one.slots else "-"


def _cpu(one: Saturated, role: str) -> str:
    return f"{one.micros(one.cpu[role]):,.0f}" if role in one.cpu else "-"


def _memory(one: Saturated, role: str) -> str:
    return " + ".join(f"{size:.0f}" for size in one.memory.get(role, ())) or "-"
