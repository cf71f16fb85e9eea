"""The messages: their names, the queue that carries each, and what is in them: ids and slots, nothing personal."""

from collections.abc import Sequence

from dramatiq import Message

from domain.attempt import Entry

DIAL = "dial"
COHORTS = "cohorts"
UPKEEP = "upkeep"

DIAL_ENTRIES = "dial_entries"
INGEST_COHORT = "ingest_cohort"
SETTLE_CAMPAIGN = "settle_campaign"
ROLL_CAMPAIGN = "roll_campaign"

MOST_ENTRIES = 64
GREATEST = 2**63 - 1


def dial_entries(entries: Sequence[Entry]) -> Message[None]:
    """At most 64 granted slots, in slot order, mixed across campaigns."""
    return _message(DIAL, DIAL_ENTRIES, list(entries))


def entries_of(argument: object) -> list[Entry]:
    """What `dial_entries` put into a message; ValueError when it is anything else, of an older version, say."""
    if not isinstance(argument, list) or len(argument) > MOST_ENTRIES or not all(map(_is_entry, argument)):
        raise ValueError("this is no list of at most 64 entries")
    return [Entry(*fields) for fields in argument]


def _is_entry(fields: object) -> bool:
    """Eight integers that a row can hold: a number that is none would be the end of every comparison with it."""
    return isinstance(fields, list) and len(fields) == len(Entry._fields) and all(map(_is_whole, fields))


def _is_whole(one: object) -> bool:
    return type(one) is int and 0 <= one <= GREATEST


def ingest_cohort(cohort_id: int) -> Message[None]:
    return _message(COHORTS, INGEST_COHORT, cohort_id)


def settle_campaign(campaign_id: int) -> Message[None]:
    return _message(UPKEEP, SETTLE_CAMPAIGN, campaign_id)


def roll_campaign(campaign_id: int) -> Message[None]:
    return _message(UPKEEP, ROLL_CAMPAIGN, campaign_id)


def _message(queue: str, actor: str, argument: object) -> Message[None]:
    return Message(queue_name=queue, actor_name=actor, args=(argument,), kwargs={}, options={})
