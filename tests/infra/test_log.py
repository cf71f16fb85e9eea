"""Whatever is logged, and by whom: one JSON line, and no phone number in it."""

import asyncio
import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import pytest
import structlog
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError

from domain.errors import NotFoundError
from infra import log
from infra.faults import FIRST_FRAMES, LAST_FRAMES

PHONE = "+14155550123"


@pytest.fixture
def written() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def lines(written: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What was logged so far, as JSON."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    monkeypatch.setattr(sys, "stderr", written)
    log.configure("info")
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_an_event_is_one_json_line_with_its_ids(lines: Callable[[], list[dict[str, Any]]]) -> None:
    structlog.get_logger().info("attempt.started", attempt_id=7)

    (line,) = lines()
    assert (line["event"], line["attempt_id"], line["level"]) == ("attempt.started", 7, "info")


def _in_an_event() -> None:
    structlog.get_logger().info(f"dialled {PHONE}")


def _in_a_value() -> None:
    structlog.get_logger().info("dialled", to=PHONE)


def _in_a_nested_value() -> None:
    structlog.get_logger().info("dialled", body={"people": [{"to": PHONE}]}, raw=PHONE.encode())


def _in_a_key() -> None:
    structlog.get_logger().info("dialled", body={PHONE: 1})


def _in_a_url() -> None:
    structlog.get_logger().info("asked", path="/contacts?phone=%2B14155550123")


def _in_a_library_s_message() -> None:
    logging.getLogger("library").warning("could not send to %s", PHONE)


def _with_too_many_digits() -> None:
    structlog.get_logger().info("dialled", to=f"{PHONE}00000000000{PHONE[-2:]}")


@pytest.mark.parametrize(
    "logged",
    [
        _in_an_event,
        _in_a_value,
        _in_a_nested_value,
        _in_a_key,
        _in_a_url,
        _in_a_library_s_message,
        _with_too_many_digits,
    ],
)
def test_a_phone_number_keeps_its_last_two_digits_only(
    logged: Callable[[], None], lines: Callable[[], list[dict[str, Any]]]
) -> None:
    logged()

    (line,) = lines()
    assert "4155550" not in str(line)
    assert "+…23" in str(line)


def test_numbers_that_are_no_phone_numbers_stay(lines: Callable[[], list[dict[str, Any]]]) -> None:
    structlog.get_logger().info(
        "slots.granted", slot=1_700_000_000_000_000, at="2026-05-20T17:00:00+00:00", change="+50"
    )

    (line,) = lines()
    assert (line["slot"], line["at"], line["change"]) == (1_700_000_000_000_000, "2026-05-20T17:00:00+00:00", "+50")


MESSAGE = "Hello Ann, your card 4111 is overdue"


class _Broken(BaseModel):
    text: int


def _of_a_validation() -> None:
    _Broken.model_validate({"text": MESSAGE})


def _of_a_cause() -> None:
    try:
        int(MESSAGE)
    except ValueError as error:
        raise RuntimeError(PHONE) from error


def _of_a_group() -> None:
    raise ExceptionGroup(MESSAGE, [ValueError(PHONE), KeyError(MESSAGE)])


def _of_the_database() -> None:
    raise IntegrityError("INSERT", {"phone": PHONE}, asyncpg.DataError(f"invalid input: {MESSAGE} {PHONE}"))


def _of_an_encoding() -> None:
    f"{MESSAGE}\udcff".encode()


def _of_a_key() -> None:
    raise KeyError(MESSAGE)


FAILURES = [_of_a_validation, _of_a_cause, _of_a_group, _of_the_database, _of_an_encoding, _of_a_key]


@pytest.mark.parametrize("by", ["structlog", "a library"])
@pytest.mark.parametrize("failing", FAILURES)
def test_d1_an_error_is_logged_by_kind_and_place_without_what_it_stumbled_over(
    failing: Callable[[], None], by: str, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    card = MESSAGE
    try:
        failing()
    except Exception:
        logger = structlog.get_logger() if by == "structlog" else logging.getLogger("library")
        logger.exception("step.crashed")

    (line,) = lines()
    assert (line["event"], line["level"]) == ("step.crashed", "error")
    assert failing.__name__ in line["exception"]
    assert not [one for one in (card, "4111", "Ann", "4155550") if one in str(line)]


def _of_a_runaway_recursion(depth: int) -> None:
    if depth:
        _a_step_of_it(depth)
    raise ValueError(MESSAGE)


def _a_step_of_it(depth: int) -> None:
    _of_a_runaway_recursion(depth - 1)


def test_an_error_of_a_thousand_frames_is_told_by_its_two_ends(lines: Callable[[], list[dict[str, Any]]]) -> None:
    try:
        _of_a_runaway_recursion(400)
    except ValueError:
        structlog.get_logger().exception("step.crashed")

    told = lines()[0]["exception"]
    assert test_an_error_of_a_thousand_frames_is_told_by_its_two_ends.__name__ in told
    assert told.count("  File ") == FIRST_FRAMES + LAST_FRAMES
    assert f"… {802 - FIRST_FRAMES - LAST_FRAMES} more" in told
    assert told.endswith("raise ValueError(MESSAGE)\nValueError")


def test_d1_our_own_words_and_the_systems_are_kept(lines: Callable[[], list[dict[str, Any]]]) -> None:
    structlog.get_logger().error("one", exc_info=NotFoundError("there is no campaign 7"))
    structlog.get_logger().error("two", exc_info=ConnectionRefusedError(111, "Connection refused", "a path"))
    structlog.get_logger().error("three", exc_info=asyncpg.UniqueViolationError(PHONE))

    assert [one["exception"] for one in lines()] == [
        "NotFoundError: there is no campaign 7",
        "ConnectionRefusedError: Connection refused",
        "UniqueViolationError [23505]",
    ]


def test_d1_what_crashes_in_the_event_loop_is_logged_without_its_arguments(
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    def called_back(_what: str) -> None:
        raise ValueError(MESSAGE)

    async def crashing() -> None:
        asyncio.get_running_loop().call_soon(called_back, PHONE)
        await asyncio.sleep(0)

    asyncio.run(crashing())

    (line,) = lines()
    assert "called_back" in str(line)
    assert not [one for one in ("Ann", "4155550") if one in str(line)]


@pytest.mark.filterwarnings("default")
def test_d1_a_warning_is_a_line_too(lines: Callable[[], list[dict[str, Any]]]) -> None:
    warnings.warn(f"odd: {PHONE}", stacklevel=1)

    (line,) = lines()
    assert "+…23" in line["event"]


@pytest.mark.parametrize(
    ("text", "logged"),
    [
        ("Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2ln-bm_F0", "Bearer eyJhbGciOiJIUzI1NiJ9.…"),
        ("redis://:hunter2@cache:6379/0", "redis://:…@cache:6379/0"),
        ("postgresql+asyncpg://outdial:hunter2@db/outdial", "postgresql+asyncpg://outdial:…@db/outdial"),
        ("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_…"),
        ("https://example.com:8443/attempts", "https://example.com:8443/attempts"),
    ],
)
def test_d1_tokens_and_passwords_are_cut(text: str, logged: str, lines: Callable[[], list[dict[str, Any]]]) -> None:
    structlog.get_logger().info("one", value=text)
    logging.getLogger("library").warning("two %s", text)

    assert [one.get("value", one["event"]) for one in lines()] == [logged, f"two {logged}"]


@pytest.mark.parametrize(
    "sly", ["\r\n", "\n{}", "\x1b[2J\x1b]0;x\x07", "\u202e", "\u2028", "\x85", "\0", "\udcff", '"}']
)
def test_d3_whatever_is_logged_stays_one_line_of_plain_ascii(
    sly: str, written: io.StringIO, lines: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What pytest itself keeps of logs could not be told by one process of a test run to another.
    ours = [one for one in logging.getLogger().handlers if not type(one).__module__.startswith("_pytest")]
    monkeypatch.setattr(logging.getLogger(), "handlers", ours)
    structlog.get_logger().info(f"a{sly}b", name=f"c{sly}d", **{f"e{sly}": 1})
    logging.getLogger("library").warning("f%sg", sly)

    one, two = lines()
    assert (one["event"], one["name"], two["event"]) == (f"a{sly}b", f"c{sly}d", f"f{sly}g")
    assert written.getvalue().isascii()


def test_d1_what_ends_a_process_or_a_thread_is_logged_too(
    lines: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", None)
    monkeypatch.setattr(threading, "excepthook", None)
    log.take_crashes()

    sys.excepthook(ValueError, ValueError(PHONE), None)
    threading.excepthook(threading.ExceptHookArgs((ValueError, ValueError(PHONE), None, None)))

    assert [(one["event"], one["exception"]) for one in lines()] == [
        ("process.crashed", "ValueError"),
        ("thread.crashed", "ValueError"),
    ]
