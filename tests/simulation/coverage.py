"""Which rare situations the worlds have been in: a simulation that never gets there proves nothing about them."""

from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase

# What must have happened in a few hundred worlds: a name, and the counts that say so.
RARE: dict[str, tuple[str, ...]] = {
    "a process killed": ("fault kill",),
    "a dialer killed with open claims": ("kill with open claims",),
    "a process frozen for longer than its lease": ("freeze longer than the lease",),
    "the lease taken over": ("lease taken over",),
    "FLUSHALL": ("fault flush",),
    "Redis away": ("fault carrier_away",),
    "PostgreSQL away": ("fault server_away",),
    "every connection to PostgreSQL cut": ("fault server_restart",),
    "the answer of a COMMIT lost": ("answer of commit lost",),
    "the answer of a claim lost": ("answer of claim lost",),
    "the answer of another statement lost": ("answer of statement lost",),
    "a claim looked up by its token and given back": ("void claim_unanswered",),
    "a message lost": ("lost",),
    "a message doubled": ("doubled",),
    "a message late": ("late",),
    "a message replayed": ("replayed",),
    "a message that left though its sending failed": ("left in spite of an error",),
    "a request lost on the way": ("request lost",),
    "an answer lost on the way": ("answer lost",),
    "no connection to the provider": ("connection refused", "connection hung"),
    "no answer, and placed": ("silent_placed", "broken_placed"),
    "no answer, and not placed": ("silent_not_placed", "broken_not_placed"),
    "no answer, and placed later": ("silent_placed_late",),
    "the provider asked, and it knew": ("looked up",),
    "the provider asked, and it had never heard of it": ("looked up in vain",),
    "an attempt void because the provider never heard of it": ("void never_placed",),
    "a callback lost": ("callback lost",),
    "a callback doubled": ("callback doubled",),
    "a callback out of order": ("callback reordered",),
    "a callback late": ("callback late",),
    "a forged callback, refused": ("callback answered 401",),
    "a slot too late": ("slot void late",),
    "a slot of a former epoch": ("slot void campaign_changed",),
    "a slot when control was too old": ("slot void control_stale",),
    "hours that opened": ("hours open",),
    "hours that closed": ("hours close",),
    "a contact somebody else had": ("slot void contact", "slot void number"),
    "a number busy in another campaign": ("slot void phone_busy",),
    "a quota used up": ("quota used up",),
    "a contact opted out": ("contact opted_out*",),
    "a campaign cancelled": ("contact cancelled*",),
    "a connection that cooled down": ("void http_429", "void unreachable*"),
}


def report(worlds: int, seconds: float, took: float, counts: Counter[str], broken: Sequence[tuple[int, str]]) -> str:
    """What the worlds came to, as a text."""
    lines = [
        f"{worlds:,} worlds, {seconds / 3600:.1f} hours of theirs in {took:.0f} s, {len(broken)} broken",
        *(f"  seed {seed}: {why.splitlines()[0]}" for seed, why in broken),
        f"{attempts(counts):,} attempts",
        "",
        *(f"  {times(counts, patterns):>9,}  {name}" for name, patterns in RARE.items()),
    ]
    if never := [name for name, patterns in RARE.items() if not times(counts, patterns)]:
        lines += ["", f"never happened: {', '.join(never)}"]
    return "\n".join(lines) + "\n"


def times(counts: Counter[str], patterns: Sequence[str]) -> int:
    return sum(n for name, n in counts.items() if any(fnmatchcase(name, pattern) for pattern in patterns))


def attempts(counts: Counter[str]) -> int:
    return times(counts, [f"{end}*" for end in ("completed", "short_duration", "busy", "no_answer", "failed", "sent",
        "provider_error", "internal_error", "void")])  # fmt: skip
