"""A wrong setting is named with its value and its rule, and never tells a secret."""

import pytest

from domain.errors import ConfigurationError
from infra.settings import load_settings

WRONG = [
    pytest.param("OUTDIAL_TICK_MS", "abc", "OUTDIAL_TICK_MS is 'abc'", id="no number"),
    pytest.param("OUTDIAL_TICK_MS", "5", "greater than or equal to 10", id="too small"),
    pytest.param("OUTDIAL_LOG_LEVEL", "loud", "OUTDIAL_LOG_LEVEL is 'loud'", id="no such level"),
    pytest.param("OUTDIAL_LOOK_UP_SECONDS", "x", "OUTDIAL_LOOK_UP_SECONDS (element 1) is 'x'", id="no list"),
    pytest.param("OUTDIAL_LOOK_UP_SECONDS", "[-5,0]", "(element 1) is '-5'", id="a wait below nothing"),
    pytest.param("OUTDIAL_RETRY_MINUTE_SECONDS", "inf", "OUTDIAL_RETRY_MINUTE_SECONDS is 'inf'", id="no end"),
    pytest.param("OUTDIAL_JWT_SECRET", "abc", "has 3 characters", id="a short secret"),
    pytest.param("OUTDIAL_ENCRYPTION_KEY", "abc", "make one with `outdial key`", id="no key"),
    pytest.param("OUTDIAL_TICKMS", "50", "did you mean OUTDIAL_TICK_MS?", id="a mistyped name"),
]


@pytest.mark.parametrize(("name", "value", "told"), WRONG)
def test_a_wrong_setting_is_named(name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigurationError) as refused:
        load_settings()

    assert name in refused.value.message
    assert told in refused.value.message


@pytest.mark.parametrize("name", ["OUTDIAL_JWT_SECRET", "OUTDIAL_ENCRYPTION_KEY"])
def test_a_wrong_secret_is_not_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "hunter2")

    with pytest.raises(ConfigurationError) as refused:
        load_settings()

    assert "hunter2" not in refused.value.message + refused.value.way_out


@pytest.mark.parametrize("written", ["15, 60,300", "[15, 60, 300]"])
def test_a_list_may_be_written_with_or_without_brackets(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTDIAL_LOOK_UP_SECONDS", written)

    assert load_settings().look_up_seconds == (15.0, 60.0, 300.0)


def test_all_that_is_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTDIAL_TICK_MS", "abc")
    monkeypatch.setenv("OUTDIAL_PORT", "70000")

    with pytest.raises(ConfigurationError, match=r"OUTDIAL_PORT.*OUTDIAL_TICK_MS"):
        load_settings()
