"""Which contacts a campaign may well write to: every contact in exactly one list, by the first rule that fits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from domain.cohort_row import INVALID_PHONE, MISSING_PHONE
from domain.errors import Detail
from domain.phone import to_e164

NUMBER = "phoneNumber"
ID = "_id"
REASON = "reason"
INVALID = "invalidContacts"
DUPLICATE = "duplicateContacts"

Contact = Mapping[str, Any]


class Group(StrEnum):
    """The seven lists, in the order in which they are judged."""

    PROTECTED = "protectedContacts"
    OF_OTHERS = "assignedToOtherUsers"
    YOURS_NOT_OWNED = "assignedToYouNotOwned"
    INBOUND = "alreadyMessagedInbound"
    OUTBOUND = "alreadyMessagedOutbound"
    EXISTING = "existingContacts"
    NEW = "newContacts"


LISTS = (*Group, INVALID, DUPLICATE)


@dataclass(frozen=True, slots=True)
class Acquaintance:
    """What is known of a number: who has it, if the directory knows, and when it was last in touch."""

    person_id: int | None = None
    owner_id: str | None = None
    assignee_id: str | None = None
    last_inbound_at: datetime | None = None
    last_outbound_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """Who asks, and when; whoever was in touch less than `protection` ago is left alone."""

    user: str
    now: datetime
    protection: timedelta

    def protects(self, at: datetime | None) -> bool:
        return bool(self.protection) and at is not None and at > self.now - self.protection


STRANGER = Acquaintance()
RULES: dict[Group, Callable[[Acquaintance, Review], bool]] = {
    Group.PROTECTED: lambda one, by: by.protects(one.last_inbound_at) or by.protects(one.last_outbound_at),
    Group.OF_OTHERS: lambda one, by: one.assignee_id not in {None, by.user},
    Group.YOURS_NOT_OWNED: lambda one, by: one.assignee_id == by.user != one.owner_id,
    Group.INBOUND: lambda one, _: one.last_inbound_at is not None,
    Group.OUTBOUND: lambda one, _: one.last_outbound_at is not None,
    Group.EXISTING: lambda one, _: one.person_id is not None,
    Group.NEW: lambda *_: True,
}


def group(one: Acquaintance, review: Review) -> Group:
    """The first that fits."""
    return next(name for name, fits in RULES.items() if fits(one, review))


def without_number(contacts: Sequence[Contact]) -> tuple[Detail, ...]:
    """The contacts that do not say a phone number at all, which no list has a place for."""
    return tuple(
        Detail(f"contacts.{place}.{NUMBER}", "is required")
        for place, contact in enumerate(contacts)
        if NUMBER not in contact
    )


def numbers(contacts: Sequence[Contact], default_region: str | None) -> list[str | None]:
    """The contacts' numbers in E.164, None where there is none that can be read."""
    given = (contact[NUMBER] for contact in contacts)
    return [to_e164(one, default_region) if isinstance(one, str) else None for one in given]


def classify(
    contacts: Sequence[Contact],
    phones: Sequence[str | None],
    known: Mapping[str, Acquaintance],
    review: Review,
) -> dict[str, list[Contact]]:
    """The lists, each in the order of the contacts, as they were given; a number that comes again is a duplicate."""
    lists: dict[str, list[Contact]] = {name: [] for name in LISTS}
    seen: set[str] = set()
    for contact, phone in zip(contacts, phones, strict=True):
        if phone is None:
            lists[INVALID].append({**contact, REASON: _reason(contact[NUMBER])})
        elif phone in seen:
            lists[DUPLICATE].append(contact)
        else:
            seen.add(phone)
            one = known.get(phone, STRANGER)
            lists[group(one, review)].append(_named(contact, one))
    return lists


def _named(contact: Contact, one: Acquaintance) -> Contact:
    return contact if one.person_id is None else {**contact, ID: str(one.person_id)}


def _reason(given: object) -> str:
    """As a cohort's upload would reject the row."""
    is_empty = given is None or (isinstance(given, str) and not given.strip())
    return MISSING_PHONE if is_empty else INVALID_PHONE
