"""How much memory the embedded PostgreSQL takes."""

from pathlib import Path

import pytest

from infra.embedded import memory
from infra.embedded.memory import shared_buffers

GIGABYTE = 1024**3


@pytest.mark.parametrize(
    ("available", "taken"),
    [
        (GIGABYTE // 2, "128MB"),  # no less
        (GIGABYTE, "128MB"),
        (4 * GIGABYTE, "512MB"),
        (16 * GIGABYTE, "2048MB"),
        (256 * GIGABYTE, "2048MB"),  # no more: the system's cache does the rest
    ],
)
def test_shared_buffers_are_an_eighth_of_the_memory_within_bounds(available: int, taken: str) -> None:
    assert shared_buffers(available) == taken


@pytest.mark.parametrize(("written", "bound"), [("1048576\n", 1048576), ("max\n", None), (None, None)])
def test_a_container_may_have_less_than_the_machine(
    written: str | None, bound: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "CONTAINER", tmp_path / "memory.max")
    machine = memory.memory()
    if written is not None:
        (tmp_path / "memory.max").write_text(written)

    assert memory.memory() == (bound or machine)
