import pytest

from domain.cohort import USERS_PLAN, Mapping, plan
from domain.cohort_file import MALFORMED_QUOTES, Record
from domain.cohort_row import Draft, Rejection, Rules, judge, refusals, repeats

PLAN = plan(
    ["Mobile", "ID", "tz", "First name"],
    Mapping.model_validate({
        "phone_number": {"column_name": "Mobile"},
        "user_identifier": {"column_name": "ID", "required": True},
        "timezone": {"column_name": "tz"},
        "variables": {"first_name": {"column_name": "First name"}},
    }),
)  # fmt: skip
RULES = Rules(default_region="US", max_cell_characters=40)


def test_a_good_row_becomes_a_draft() -> None:
    record = Record(2, ["(415) 555-0133", " u-1 ", "Europe/Paris", "Zoë"])

    assert judge(record, PLAN, RULES) == Draft(2, "+14155550133", "u-1", "Europe/Paris", '{"first_name":"Zoë"}')


def test_a_blank_timezone_is_none() -> None:
    draft = judge(Record(2, ["4155550133", "u-1", " ", ""]), PLAN, RULES)

    assert draft == Draft(2, "+14155550133", "u-1", None, '{"first_name":""}')


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (["", "u-1", "", ""], "missing_phone_number"),
        (["  ", "u-1", "", ""], "missing_phone_number"),
        (["call me", "u-1", "", ""], "invalid_phone_number"),
        (["4155550133 x12", "u-1", "", ""], "invalid_phone_number"),
        (["+1 900 234 5678", "u-1", "", ""], "invalid_phone_number"),
        (["4155550133", " ", "", ""], "missing_required_column:ID"),
        (["4155550133", "u-1", "EST", ""], "invalid_timezone"),
        (["4155550133", "u-1", "europe/paris", ""], "invalid_timezone"),
        (["4155550133", "u-1", ""], "wrong_column_count"),
        (["4155550133", "u-1", "", "", ""], "wrong_column_count"),
        (["4155550133", "u-1", "", "x" * 41], "row_too_long"),
        (["", "", "", ""], "missing_phone_number"),
    ],
)
def test_a_bad_row_is_rejected_with_its_reason(cells: list[str], reason: str) -> None:
    assert judge(Record(7, cells), PLAN, RULES) == Rejection(7, reason, cells)


def test_a_row_that_could_not_be_read_keeps_that_reason() -> None:
    assert judge(Record(7, ["x"], MALFORMED_QUOTES), PLAN, RULES) == Rejection(7, MALFORMED_QUOTES, ["x"])


def test_the_second_row_of_a_number_points_to_the_first() -> None:
    drafts = [Draft(line, phone, None, None, "{}") for line, phone in [(2, "a"), (3, "b"), (4, "a"), (5, "a")]]

    assert repeats(drafts) == {4: 2, 5: 2}


def test_a_repeated_number_shares_the_fate_of_its_first_row() -> None:
    records = [Record(line, [str(line)]) for line in range(2, 7)]

    rejections = refusals({3: "opted_out"}, {4: 2, 5: 3}, records)

    assert rejections == [
        Rejection(3, "opted_out", ["3"]),
        Rejection(4, "duplicate_in_file", ["4"]),
        Rejection(5, "opted_out", ["5"]),
    ]


@pytest.mark.parametrize(
    ("first_name", "required", "reason"),
    [
        ("Zoë", ("first_name",), None),
        (" ", ("first_name",), "missing_variable:first_name"),
        ("Zoë", ("first_name", "last_name"), "missing_variable:last_name"),
        (" ", (), None),
    ],
)
def test_a_row_without_a_variable_that_the_message_requires_is_rejected(
    first_name: str, required: tuple[str, ...], reason: str | None
) -> None:
    record = Record(2, ["4155550133", "u-1", "", first_name])

    judged = judge(record, PLAN, Rules("US", 40, required))

    assert (judged.reason if isinstance(judged, Rejection) else None) == reason


def test_a_user_without_a_variable_that_the_message_requires_is_rejected() -> None:
    rules = Rules("US", 40, ("tier",))
    judged = [judge(Record(2, ["4155550133", "", "", given]), USERS_PLAN, rules) for given in ('{"tier":3}', "{}", "")]

    assert [isinstance(one, Draft) for one in judged] == [True, False, False]
