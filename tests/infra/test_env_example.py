"""The example of the environment names every setting, with its default."""

import re
from pathlib import Path

from pydantic_core import from_json

from infra.settings import PREFIX, Settings

EXAMPLE = Path(__file__).parents[2] / "deploy" / "env.example"
NOT_SETTINGS = {"OUTDIAL_SIMULATOR_SECRET"}


def test_every_setting_is_named_and_nothing_else() -> None:
    named = set(re.findall(r"^#?(OUTDIAL_[A-Z_]+)=", EXAMPLE.read_text(), re.MULTILINE))

    assert named - NOT_SETTINGS == {PREFIX + name.upper() for name in Settings.model_fields}


def test_what_is_commented_out_is_the_default() -> None:
    shown = dict(re.findall(r"^#(OUTDIAL_[A-Z_]+)=(.+)$", EXAMPLE.read_text(), re.MULTILINE))
    parsed = {name.removeprefix(PREFIX).lower(): parse(value) for name, value in shown.items()}

    assert Settings.model_validate(parsed) == Settings.model_construct()


def parse(value: str) -> object:
    return from_json(value) if value.startswith("[") else value
