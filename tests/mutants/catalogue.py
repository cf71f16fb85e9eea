"""The planted bugs: exact patches of whole lines, in the TOML files beside this one.

Each is an engine bug as somebody might well make it, with the invariant it breaks, why that matters, and what kills it:
tests by file or by name, or `simulate`. The quickest sure one is named, which is seldom the only one.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SIMULATE = "simulate"


class StalePatchError(Exception):
    """The code has changed: the text that a mutant replaces is not there, or not once."""


@dataclass(frozen=True, slots=True)
class Mutant:
    name: str
    file: str
    breaks: str
    why: str
    old: str
    new: str
    killed_by: Sequence[str]

    def planted(self, source: str) -> str:
        found = source.count(self.old)
        if found != 1:
            raise StalePatchError(f"'{self.name}' replaces a text that stands {found} times in {self.file}: mend it")
        return source.replace(self.old, self.new)

    @property
    def module(self) -> str:
        return self.file.removesuffix(".py").replace("/", ".")


def catalogue() -> list[Mutant]:
    """All of them, in the order of the files and in these."""
    files = sorted(Path(__file__).parent.glob("*.toml"))
    return [Mutant(**fields) for file in files for fields in tomllib.loads(file.read_text())["mutant"]]
