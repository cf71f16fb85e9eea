"""Whatever is logged, and by whom: one JSON line, and no phone number in it."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from infra import log

PHONE = "+14155550123"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What was logged so far, as JSON."""
    written, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    monkeypatch.setattr(sys, "stderr", written)
    log.configure("info")
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)
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


def _in_an_exception() -> None:
    try:
        int(f"Key (phone)=({PHONE}) already exists")
    except ValueError:
        structlog.get_logger().exception("dial.crashed")


def _in_an_exception_given() -> None:
    structlog.get_logger().error("dial.crashed", exc_info=ValueError(PHONE))


def _in_a_library_s_message() -> None:
    logging.getLogger("library").warning("could not send to %s", PHONE)


def _in_a_library_s_exception() -> None:
    try:
        int(f"to {PHONE}")
    except ValueError:
        logging.getLogger("library").exception("failed")


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
        _in_an_exception,
        _in_an_exception_given,
        _in_a_library_s_message,
        _in_a_library_s_exception,
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
