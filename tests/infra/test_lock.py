"""B1, B4: what is installed is named by version and hash, and nothing in it is older than a known weakness."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCKS = ["requirements.lock", "requirements-dev.lock"]
# The first versions without what was found in those before.
FLOORS = {
    "pyjwt": "2.15.1",  # unknown `crit`, algorithms beside the allowed ones, `iss` as a part of a text
    "python-multipart": "0.0.27",  # parts without number and without end
    "starlette": "0.49.1",  # Range headers of quadratic cost, forms that block
    "cryptography": "46.0.5",  # points of curves that are in a small subgroup
    "tzdata": "2026.6",  # the zones' newest rules
    "redis": "4.5.5",  # answers that reach another caller after a cancellation
    "orjson": "3.11.5",  # nesting without end
}
ENTRY = re.compile(
    r"^(?P<name>[a-z0-9][a-z0-9.-]*)==(?P<version>[^ \\]+)(?P<rest>.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL
)


def locked(name: str) -> dict[str, tuple[str, list[str]]]:
    """Version and hashes of each package of a lock file."""
    found = ENTRY.finditer(lines(name))
    return {one["name"]: (one["version"], re.findall(r"--hash=sha256:([0-9a-f]{64})\b", one["rest"])) for one in found}


def lines(name: str) -> str:
    text = (ROOT / "deploy" / name).read_text()
    return "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("#"))


@pytest.mark.parametrize("name", LOCKS)
def test_b1_every_package_has_a_version_and_hashes_and_comes_from_nowhere_else(name: str) -> None:
    packages = locked(name)

    assert len(packages) > 30
    assert [package for package, (_, hashes) in packages.items() if not hashes] == []
    assert len(re.findall(r"^\S", lines(name), re.MULTILINE)) == len(packages)
    assert "://" not in lines(name)


def test_b1_the_two_locks_agree() -> None:
    plain, dev = (locked(name) for name in LOCKS)

    assert {name: dev.get(name) for name in plain} == plain


@pytest.mark.parametrize(("name", "extras"), [(LOCKS[0], ["embedded"]), (LOCKS[1], ["embedded", "dev"])])
def test_b1_the_lock_has_everything_that_is_asked_for_in_a_version_that_fits(name: str, extras: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]
    wanted = {canonicalize_name(one.name): one for one in map(Requirement, asked)}
    versions = {package: number for package, (number, _) in locked(name).items()}

    assert [str(one) for package, one in wanted.items() if versions.get(package, "0") not in one.specifier] == []


@pytest.mark.parametrize(("package", "floor"), FLOORS.items())
def test_b4_nothing_is_older_than_a_known_weakness(package: str, floor: str) -> None:
    locks = {locked(name)[package][0] for name in LOCKS}

    assert min(map(Version, [*locks, version(package)])) >= Version(floor)
