"""B2: no credential stands in a file of the project."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("domain", "infra", "workers", "tests", "deploy", ".ci")
KINDS = {".py", ".md", ".toml", ".yml", ".yaml", ".json", ".example", ".service", ".sh", ".in", ".csv", ""}
# Put together here, lest this file be found.
SHAPES = {
    "a private key": re.compile("-----BEGIN [A-Z ]*PRIVATE" + " KEY-----"),
    "a key of Amazon": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a token of GitHub": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_\w{20}"),
    "a token of Slack": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10}"),
    "a key of Stripe": re.compile(r"\b[rs]k_live_[A-Za-z0-9]{16}"),
    "a key of Google": re.compile(r"\bAIza[\w-]{35}\b"),
    "a signed token": re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{40,}"),
    "an account at Twilio": re.compile(r"\b(?:AC|SK)[0-9a-f]{32}\b"),
    "a password in a URL": re.compile(
        r"://[^\s:/@{}$<\"']+:(?!password@|hidden@|hunter2@|p@|pw@|secret@)[^\s:/@{}$<\"'…]{3,}@"
    ),
}


@cache
def texts() -> list[tuple[str, str]]:
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")] + list(ROOT.glob("*"))
    return [
        (str(path.relative_to(ROOT)), path.read_text(errors="replace"))
        for path in found
        if path.is_file() and path.suffix in KINDS and "__pycache__" not in path.parts
    ]


@pytest.mark.parametrize("shape", SHAPES)
def test_b2_no_file_holds_a_credential(shape: str) -> None:
    assert [path for path, content in texts() if SHAPES[shape].search(content)] == []
