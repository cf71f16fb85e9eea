"""What was measured, as tables for people that fit into a hundred columns."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from tests.bench.aims import Aim
from tests.bench.crowd import Crowd
from tests.bench.figures import Spread
from tests.bench.growth import Growth
from tests.bench.idle import Idle
from tests.bench.pace import Cost, Kept, Pace
from tests.bench.peers.pacing import Limited
from tests.bench.saturation import DIALERS, Saturated, ratio, ratio_at_equal_speed
from tests.bench.site import Slots

ROLES = ("web", "scheduler", "dialer", "worker", "up", "postgres", "redis", "simulator")


def pace(console: Console, found: Pace) -> None:
    table = Table("", "mean / R", "worst second", "worst 100 ms", "arrivals: second", "100 ms", title="Pace")
    for one in found.kept:
        at, in_ = one.starts, one.arrivals
        counts = [f"{count:,}" for count in (at.worst_second, at.worst_tenth, in_.worst_second, in_.worst_tenth)]
        table.add_row(f"{one.rate:g}/s for {one.seconds:g} s", f"{at.mean:.4f}", *counts)
    console.print(table)
    _lateness(console, found.kept)
    _sparse(console, found)
    _paused(console, found)
    for cost in found.costs:
        _cost(console, cost)


def _lateness(console: Console, kept: Sequence[Kept]) -> None:
    table = Table("ms after the slot", "p50", "p90", "p99", "most", title="Lateness beside a timer that does nothing")
    for one in kept:
        table.add_row(f"Outdial at {one.rate:g}/s", *_spread(one.lateness))
        table.add_row(f"a timer at {one.rate:g}/s", *_spread(one.idle_timer))
    console.print(table)


def _spread(found: Spread | None) -> list[str]:
    """Without the least."""
    values = (found.p50, found.p90, found.p99, found.most) if found else ()
    return [f"{value:.2f}" for value in values]


def _sparse(console: Console, found: Pace) -> None:
    columns = ("", "starts", "window W", "most in any W", "mean gap x R", "gaps x R")
    table = Table(*columns, title="Slow campaigns, all at once")
    for one in found.sparse:
        gaps = f"{one.least_gap:.3f} to {one.most_gap:.3f}"
        worst = f"{one.worst} of {one.allowed}"
        table.add_row(f"{one.rate:g}/s", str(one.starts), f"{one.window:g} s", worst, f"{one.mean_gap:.4f}", gaps)
    console.print(table)


def _paused(console: Console, found: Pace) -> None:
    one = found.paused
    table = Table("ms after the answer", "of each time", title="Pause and resume at 500/s (below 0: before the answer)")
    rows = {
        "pause: last start": one.last_start,
        "pause: last arrival": one.last_arrival,
        "resume: first start": one.first_start,
    }
    for label, values in rows.items():
        table.add_row(label, ", ".join(f"{value:.0f}" for value in values))
    console.print(table)
    console.print(f"Worst second over all of it: {one.worst_second} starts, {one.worst_arrivals} arrivals.\n")


def _cost(console: Console, one: Cost) -> None:
    title = f"Cost at {one.rate:g}/s, outcomes by {one.provider}, dialers: {one.dialers}"
    console.print(_by_role(title, "cores", one.cores, one.memory))
    console.print(f"Outdial's Python together: {one.python:.3f} of a core; others used {one.others:.2f}.")
    console.print(f"Slots: {slots(one.slots)}.\n")


def slots(one: Slots) -> str:
    held = ", ".join(f"{reason} {count}" for reason, count in one.holds.items()) or "never"
    return f"{one.granted:,} granted, {one.used:,} used, {one.void:,} void; put off: {held}"


def idle(console: Console, one: Idle) -> None:
    cores = {role: value for role, value in one.cores.items() if role != "simulator"}
    console.print(_by_role("Idle", "cores", cores, one.memory))
    console.print(f"The whole of it, stores included: {one.whole:.3f} of a core over {one.seconds:.0f} s.\n")


def _by_role(title: str, unit: str, cores: Mapping[str, float], memory: Mapping[str, Sequence[float]]) -> Table:
    table = Table("", unit, "MB", title=title)
    for role in (role for role in ROLES if role in cores):
        table.add_row(role, f"{cores[role]:.3f}", " + ".join(f"{size:.0f}" for size in memory[role]))
    return table


def peers(console: Console, ours: Sequence[Kept], found: Sequence[Limited]) -> None:
    """Beside what Outdial did at these rates, where it was measured."""
    columns = ("", "asked for", "mean / R", "worst second / R", "worst 100 ms / (R/10)")
    table = Table(*columns, title="Pace beside the peers', by arrivals at the provider")
    rates = {one.rate for one in found}
    rows = [("Outdial", one.rate, one.arrivals) for one in ours if one.rate in rates]
    for name, rate, at in [*rows, *((one.name, one.rate, one.arrivals) for one in found)]:
        shares = [at.mean, at.worst_second / rate, at.worst_tenth * 10 / rate]
        table.add_row(name, f"{rate:g}/s", *(f"{share:.2f}" for share in shares))
    console.print(table)


def saturation(console: Console, found: Sequence[Saturated]) -> None:
    """Side by side for each kind of provider."""
    for provider in dict.fromkeys(one.provider for one in found):
        mine = [one for one in found if one.provider == provider]
        by = "by callbacks" if provider == "callbacks" else provider
        table = Table("", *(one.name for one in mine), title=f"Saturation, outcomes told {by}")
        for label, cells in saturation_rows(mine).items():
            table.add_row(label, *cells)
        console.print(table)
        for one in mine:
            if one.slots:
                console.print(f"Slots of {one.name}: {slots(one.slots)}.")
        if len(mine) > 1:
            times, fair = ratio(mine), ratio_at_equal_speed(mine)
            console.print(f"{times:.1f} times as many complete attempts a second as the plain actor;")
            console.print(f"{fair:.1f} times, had the machine been as fast for both\n")


def saturation_rows(found: Sequence[Saturated]) -> dict[str, list[str]]:
    rows = {
        "complete attempts/s": [f"{one.complete_per_second:,.0f}" for one in found],
        "starts/s": [f"{one.started_per_second:,.0f}" for one in found],
        "measured for": [f"{one.seconds:.1f} s" for one in found],
        "campaigns at 500/s, dialers, τ": [_load(one) for one in found],
        "CPU µs/attempt: its Python": [f"{one.python_micros:,.0f}" for one in found],
    }
    for role in ROLES:
        rows[f"  {role}"] = [_cpu(one, role) for one in found]
    rows["cores busy, all together"] = [f"{sum(one.cpu.values()) / one.seconds:.2f}" for one in found]
    rows["a fixed piece of Python, µs"] = [f"{one.piece_micros:,.0f}" for one in found]
    rows["cores others used meanwhile"] = [f"{one.others / one.seconds:.2f}" for one in found]
    for role in ROLES:
        rows[f"MB: {role}"] = [_memory(one, role) for one in found]
    return {label: cells for label, cells in rows.items() if any(cell != "-" for cell in cells)}


def _load(one: Saturated) -> str:
    if one.load is None:
        return "-"
    return f"{one.load.campaigns}, {one.load.dialers or DIALERS[one.provider]}, {one.load.tolerance_ms} ms"


def _cpu(one: Saturated, role: str) -> str:
    return f"{one.micros(one.cpu[role]):,.0f}" if role in one.cpu else "-"


def _memory(one: Saturated, role: str) -> str:
    return " + ".join(f"{size:.0f}" for size in one.memory.get(role, ())) or "-"


def growth(console: Console, found: Growth) -> None:
    columns = ("contacts", "", "page of 500", "server", "claim of 64", "server", "from the floor")
    table = Table(*columns, title="Growth in ms: least, p50 and p99; the server's CPU: p50")
    for one in found.grown:
        page, claim = _brief(one.page), _brief(one.claim)
        servers = _spread(one.page_server)[:1], _spread(one.claim_server)[:1]
        cells = [page, *servers[0], claim, *servers[1], f"{one.from_the_floor:.1f}"]
        table.add_row(f"{one.contacts:,}", one.situation, *cells)
    console.print(table)
    largest = found.grown[-1].contacts
    console.print(f"Filling took {found.fill_seconds:.0f} s. MB with {largest:,} contacts, at 500/s:")
    console.print(", ".join(f"{role} {' + '.join(f'{x:.0f}' for x in found.memory[role])}" for role in _known(found)))
    console.print()


def _brief(found: Spread | None) -> str:
    return f"{found.least:.1f}, {found.p50:.1f}, {found.p99:.1f}" if found else ""


def _known(found: Growth) -> list[str]:
    return [role for role in ROLES if role in found.memory]


def crowd(console: Console, found: Crowd) -> None:
    table = Table("step of the scheduler", "times", "mean ms", "within 20 ms", title=f"{found.campaigns:,} campaigns")
    for name, step in found.steps.items():
        table.add_row(name, f"{step.count:,}", f"{step.mean_ms:.1f}", f"{step.soon / max(1, step.count):.1%}")
    console.print(table)
    asked = found.campaigns * found.rate
    spent = ", ".join(f"{role} {found.cores[role]:.2f}" for role in ROLES if role in found.cores)
    console.print(f"{found.starts_per_second:.0f} starts/s of {asked:g}; cores: {spent}.")
    decision = ", ".join(_spread(found.decision))
    console.print(f"The decision alone, {found.slots_a_tick:.0f} slots a tick: p50, p90, p99, most ms: {decision}.\n")


def aims(console: Console, found: Sequence[Aim]) -> None:
    table = Table("aimed for", "", "measured", "", title="Aims")
    for one in found:
        table.add_row(one.what, one.asked, one.measured, "held" if one.is_held else "[bold]short[/bold]")
    if found:
        console.print(table)
