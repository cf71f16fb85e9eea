"""Queries and bodies that no route should have to think of."""

import asyncio

import pytest

from domain.errors import InvalidError
from tests.workers.web.asking import Api
from workers.web.repeated_keys import MOST_LEVELS
from workers.web.wellformed import WellFormed, check_json, check_query

JSON = [(b"content-type", b"application/json")]
NOT_JSON = {
    "nothing closed": b'{"a": [1, 2',
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "a lone surrogate": b'{"a": "\\ud800"}',
    "no UTF-8": b'{"a": "\xff"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "two values": b"{} {}",
    "a trailing comma": b'{"a": 1,}',
    "a bare control character": b'{"a": "\x00"}',
    "a million levels": b"[" * 1_000_000,
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidError, match="the body is not JSON: "):
        check_json(body)


def test_a_body_may_be_nested_so_deep_and_no_deeper() -> None:
    check_json(b"[" * MOST_LEVELS + b"]" * MOST_LEVELS)
    check_json(b'{"a":' * MOST_LEVELS + b"1" + b"}" * MOST_LEVELS)
    with pytest.raises(InvalidError, match="nested deeper than 50 levels"):
        check_json(b'{"a":' * (MOST_LEVELS + 1) + b"1" + b"}" * (MOST_LEVELS + 1))


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"name": "a", "name": "b"}', "name"),
        (b'{"name": "a", "n\\u0061me": "a"}', "name"),
        (b'{"a": [{"b": {"c": 1, "d": "x", "c": 1}}]}', "c"),
        (b'[{"+14155550123": 1, "+14155550123": 2}]', "…23"),
        (b'\xef\xbb\xbf{"": 1, "": 2}', ""),
    ],
)
def test_a3_a_key_that_stands_twice_is_refused_by_name(body: bytes, key: str) -> None:
    with pytest.raises(InvalidError) as refused:
        check_json(body)

    assert [(one.field, one.message) for one in refused.value.details] == [
        (key, "stands twice in one object; send it once")
    ]


@pytest.mark.parametrize(
    "body",
    [b'{"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}', b'{"at": "10:00:00", "url": "a:b"}', b'["{\\"a\\":1}", ":::"]'],
)
def test_a3_the_same_key_in_several_objects_and_colons_in_texts_pass(body: bytes) -> None:
    check_json(body)


def test_every_text_with_a_nul_is_named_by_its_place() -> None:
    with pytest.raises(InvalidError) as refused:
        check_json(b'{"name": "a\\u0000", "users": [{"city": "x"}, {"city": "\\u0000", "k\\u0000": 1}]}')

    assert [one.field for one in refused.value.details] == ["name", "users.1", "users.1.city"]
    assert "\0" not in refused.value.message


@pytest.mark.parametrize("body", [b'"\\\\u0000"', b"\xef\xbb\xbf{}", b'{"a": "\\ud83d\\ude00", "b": 1e5}'])
def test_what_is_json_passes(body: bytes) -> None:
    check_json(body)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        (b"search=" + b"a" * 8192, "longer than 8,192 bytes"),
        (b"status=draft&" * 101, "more than 100 parameters"),
        (b"limit=1&search=a%00b", "search: holds a NUL character"),
        (b"%00=1", "holds a NUL character"),
    ],
)
def test_a_query_that_is_too_much_is_refused(query: bytes, told: str) -> None:
    with pytest.raises(InvalidError, match=told):
        check_query(query)


def test_a_refused_body_is_told_in_the_one_body(api: Api) -> None:
    told = api("POST", "/api/campaigns", content=b'{"name": "a\\u0000"}', headers={"Content-Type": "application/json"})

    assert told.status_code == 400
    assert told.json()["details"] == [{"field": "name", "message": "holds a NUL character; leave it out"}]


def test_whoever_hangs_up_while_sending_is_not_answered() -> None:
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": JSON, "caller": None}

    async def hang_up() -> dict[str, object]:
        return {"type": "http.disconnect"}

    asyncio.run(WellFormed(unreachable)(scope, hang_up, unreachable))


async def unreachable(*_anything: object) -> None:
    raise AssertionError("there is nobody to answer")
