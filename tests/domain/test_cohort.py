import pytest
from pydantic import ValidationError

from domain.cohort import Mapping, Plan, UnreadableError, Users, plan

MAPPING = {
    "phone_number": {"column_name": "Mobile"},
    "user_identifier": {"column_name": "ID", "required": True},
    "timezone": {"column_name": "tz"},
    "variables": {"first_name": {"column_name": "First name"}},
}


@pytest.mark.parametrize(
    "header", ["phone", "Phone_Number", "phoneNumber", " PHONE NUMBER ", "mobile", "Cell", "msisdn", "to"]
)
def test_the_phone_column_is_found_by_its_usual_names(header: str) -> None:
    assert plan(["name", header], None).phone == 1


def test_the_more_telling_of_two_usual_names_wins() -> None:
    assert plan(["to", "mobile", "phone"], None).phone == 2


def test_without_a_mapping_every_other_named_column_is_a_variable() -> None:
    assert plan(["name", "phone", "", " tier ", ""], None).variables == (("name", 0), ("tier", 3))


def test_a_mapping_keeps_what_it_names() -> None:
    mapping = Mapping.model_validate(MAPPING)

    found = plan(["tz", "Mobile", "ID", "First name", "Notes"], mapping)

    assert found == Plan(
        ("tz", "Mobile", "ID", "First name", "Notes"),
        phone=1,
        user_identifier=2,
        timezone=0,
        variables=(("first_name", 3),),
        required=(2,),
    )


@pytest.mark.parametrize(
    ("header", "mapping", "told"),
    [
        (["name", "email"], None, "its columns are 'name', 'email'"),
        (["phone", "name", "name"], None, "names 'name' more than once"),
        (["ID", "tz", "First name"], MAPPING, "lacks 'Mobile'; its columns are 'ID', 'tz', 'First name'"),
        (["+14155550133", "Ann"], None, "its columns are '…33', 'Ann'"),  # a file without a header
        ([f"c{number}" for number in range(25)], None, "'c19' and 5 more"),
        (["phone", "x" * 201], None, "a name of 201 characters"),
    ],
)
def test_a_header_that_cannot_be_used_fails_the_upload_and_is_shown(
    header: list[str], mapping: dict[str, object] | None, told: str
) -> None:
    with pytest.raises(UnreadableError) as refused:
        plan(header, None if mapping is None else Mapping.model_validate(mapping))

    assert told in refused.value.message


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"phone_number": "Mobile"},
        {"phone_number": {"column_name": ""}},
        {"phone_number": {"column_name": "a"}, "variable": {}},
    ],
)
def test_a_mapping_with_a_mistake_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Mapping.model_validate(body)


@pytest.mark.parametrize("users", [[], [{}] * 1001, [{"phone_number": "\0"}], [{"variables": {"a": {"b": 1}}}]])
def test_users_that_cannot_be_kept_are_refused(users: list[dict[str, object]]) -> None:
    with pytest.raises(ValidationError):
        Users.model_validate({"name": "List", "users": users})
