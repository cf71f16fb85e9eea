"""Each contact in exactly one list, by the first rule that fits."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.classification import (
    DUPLICATE,
    INVALID,
    LISTS,
    Acquaintance,
    Group,
    Review,
    classify,
    group,
    numbers,
    without_number,
)

NOW = datetime(2026, 5, 20, 17, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=31)
LATELY = NOW - timedelta(days=29)
REVIEW = Review("ann", NOW, timedelta(days=30))
PHONE = "+14155550133"
PHONES = tuple(f"+1415555{n:04}" for n in range(100, 140))

touched = st.none() | st.datetimes(datetime(2026, 1, 1), datetime(2026, 6, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive
users = st.sampled_from([None, "ann", "bob"])
acquaintances = st.builds(Acquaintance, st.none() | st.integers(1, 99), users, users, touched, touched)
given_numbers = st.sampled_from([*PHONES, "(415) 555-0133", "nobody", "", None, 7])
contacts = st.lists(
    st.fixed_dictionaries({"phoneNumber": given_numbers, "firstName": st.text(max_size=3)}), max_size=60
)


def lists(given_contacts: list[dict[str, Any]], known: dict[str, Acquaintance] | None = None) -> dict[str, list[Any]]:
    found = classify(given_contacts, numbers(given_contacts, "US"), known or {}, REVIEW)
    return {name: [dict(one) for one in some] for name, some in found.items() if some}


@pytest.mark.parametrize(
    ("one", "found"),
    [
        pytest.param(Acquaintance(), Group.NEW, id="unknown"),
        pytest.param(Acquaintance(1), Group.EXISTING, id="known, and nothing else"),
        pytest.param(Acquaintance(1, "bob"), Group.EXISTING, id="owned by another, assigned to nobody"),
        pytest.param(Acquaintance(1, "ann", "ann"), Group.EXISTING, id="owned and assigned to you"),
        pytest.param(Acquaintance(1, "ann", "bob"), Group.OF_OTHERS, id="owned by you, assigned to another"),
        pytest.param(Acquaintance(1, "bob", "ann"), Group.YOURS_NOT_OWNED, id="assigned to you, owned by another"),
        pytest.param(Acquaintance(1, None, "ann"), Group.YOURS_NOT_OWNED, id="assigned to you, owned by nobody"),
        pytest.param(Acquaintance(1, None, None, LONG_AGO), Group.INBOUND, id="wrote once"),
        pytest.param(Acquaintance(1, None, None, None, LONG_AGO), Group.OUTBOUND, id="was written to once"),
        pytest.param(Acquaintance(1, None, None, LONG_AGO, LONG_AGO), Group.INBOUND, id="both"),
        pytest.param(Acquaintance(1, None, None, LATELY), Group.PROTECTED, id="wrote lately"),
        pytest.param(Acquaintance(1, "ann", "bob", None, LATELY), Group.PROTECTED, id="lately, before all else"),
        pytest.param(Acquaintance(1, "ann", "bob", LONG_AGO), Group.OF_OTHERS, id="of another, before wrote once"),
        pytest.param(Acquaintance(1, "bob", "ann", LONG_AGO), Group.YOURS_NOT_OWNED, id="yours, before wrote once"),
        pytest.param(Acquaintance(None, None, None, None, LONG_AGO), Group.OUTBOUND, id="written to, in no directory"),
    ],
)
def test_the_first_rule_that_fits_decides(one: Acquaintance, found: Group) -> None:
    assert group(one, REVIEW) is found


@pytest.mark.parametrize(
    ("at", "found"),
    [
        pytest.param(NOW - timedelta(days=30), Group.INBOUND, id="the period is over"),
        pytest.param(NOW - timedelta(days=30) + timedelta(microseconds=1), Group.PROTECTED, id="its last instant"),
        pytest.param(NOW + timedelta(days=1), Group.PROTECTED, id="a clock that is ahead"),
    ],
)
def test_the_protection_is_over_after_its_days(at: datetime, found: Group) -> None:
    assert group(Acquaintance(1, last_inbound_at=at), REVIEW) is found


def test_without_days_of_protection_nobody_is_protected() -> None:
    unprotecting = Review("ann", NOW, timedelta())

    assert group(Acquaintance(1, last_inbound_at=NOW), unprotecting) is Group.INBOUND
    assert group(Acquaintance(1, last_inbound_at=NOW + timedelta(days=1)), unprotecting) is Group.INBOUND


@settings(max_examples=40)
@given(contacts, st.dictionaries(st.sampled_from(PHONES), acquaintances))
def test_the_lists_partition_the_contacts(some: list[dict[str, Any]], known: dict[str, Acquaintance]) -> None:
    numbered = [one | {"row": row} for row, one in enumerate(some)]
    found = classify(numbered, numbers(numbered, "US"), known, REVIEW)

    assert tuple(found) == LISTS
    assert sorted(one["row"] for each in found.values() for one in each) == list(range(len(some)))
    assert all([one["row"] for one in each] == sorted(one["row"] for one in each) for each in found.values())


@settings(max_examples=40)
@given(contacts, st.dictionaries(st.sampled_from(PHONES), acquaintances))
def test_every_number_is_in_one_of_the_seven_once(some: list[dict[str, Any]], known: dict[str, Acquaintance]) -> None:
    phones = numbers(some, "US")
    found = classify(some, phones, known, REVIEW)

    in_seven = [one for name in Group for one in numbers(found[name], "US")]

    assert sorted(filter(None, in_seven)) == sorted({one for one in phones if one})
    assert len(found[INVALID]) == phones.count(None)


def test_a_known_contact_carries_its_id_as_a_text() -> None:
    assert lists([{"phoneNumber": PHONE}], {PHONE: Acquaintance(7)}) == {
        "existingContacts": [{"phoneNumber": PHONE, "_id": "7"}]
    }


def test_a_contact_comes_back_as_it_was_given() -> None:
    given_contact = {"firstName": "Jamie", "phoneNumber": "(415) 555-0133", "notes": [1, {"a": None}]}

    assert lists([given_contact]) == {"newContacts": [given_contact]}


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        pytest.param("", "missing_phone_number", id="empty"),
        pytest.param("  ", "missing_phone_number", id="blank"),
        pytest.param(None, "missing_phone_number", id="null"),
        pytest.param("12", "invalid_phone_number", id="no number"),
        pytest.param(14155550133, "invalid_phone_number", id="no text"),
        pytest.param("+4", "invalid_phone_number", id="half a number"),
    ],
)
def test_a_number_that_cannot_be_read_is_told_as_an_upload_would(number: object, reason: str) -> None:
    assert lists([{"phoneNumber": number}]) == {INVALID: [{"phoneNumber": number, "reason": reason}]}


def test_a_number_that_comes_again_however_it_is_written_is_a_duplicate() -> None:
    again = {"phoneNumber": "415-555-0133", "firstName": "Jo"}

    assert lists([{"phoneNumber": PHONE}, again]) == {"newContacts": [{"phoneNumber": PHONE}], DUPLICATE: [again]}


def test_contacts_that_say_no_number_are_all_named() -> None:
    problems = without_number([{"firstName": "Jamie"}, {"phoneNumber": None}, {}])

    assert [one.field for one in problems] == ["contacts.0.phoneNumber", "contacts.2.phoneNumber"]
