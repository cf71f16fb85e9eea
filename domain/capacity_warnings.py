"""What a campaign manager should know before the campaign runs out of time: each warning with its way out."""

from collections.abc import Iterator
from math import ceil

from domain.campaign import MOST_PER_SECOND, AppConfig, Channel

NO_CONTACTS = "there is no contact yet; upload a cohort, or wait for one that is being read"
NEVER_OPEN = (
    "the allowed schedule has no open time between the campaign's start and end; widen it or move end_timestamp"
)
# A call that is not answered rings for about so long.
SHORTEST_CALL_SECONDS = 15


def warnings(app_config: AppConfig, channel: Channel, needed: int, window: float, possible: int) -> tuple[str, ...]:
    """For `needed` attempts in `window` open seconds, of which `possible` fit at the campaign's rate."""
    if not window:
        return (NEVER_OPEN,)
    return (
        *_too_slow(app_config.attempts_per_second, needed, window, possible),
        *_too_few_at_once(app_config, channel),
    )


def _too_slow(rate: float, needed: int, window: float, possible: int) -> Iterator[str]:
    if needed <= possible:
        return
    suffices = ceil(100 * needed / window) / 100
    way_out = f"{suffices:,.2f}/s would do" if suffices <= MOST_PER_SECOND else "no rate would do, it needs more time"
    yield f"at {rate:g}/s {possible:,} of {needed:,} attempts fit before the campaign ends; {way_out}"


def _too_few_at_once(app_config: AppConfig, channel: Channel) -> Iterator[str]:
    most, rate = app_config.max_concurrent_attempts, app_config.attempts_per_second
    if most is None or channel is not Channel.VOICE or most >= rate * SHORTEST_CALL_SECONDS:
        return
    yield (
        f"max_concurrent_attempts {most:,} holds the rate of {rate:g}/s back when calls last longer than "
        f"{most / rate:.2g} s; for calls of a minute it takes {ceil(60 * rate):,}"
    )
