"""What a person sees of a campaign while it runs, and at its end."""

from collections.abc import Mapping
from typing import Any, Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

LINE_EVERY = 5


class Show(Protocol):
    """Takes the campaign as the API gives it, about once a second."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def update(self, campaign: Mapping[str, Any]) -> None: ...


def show(console: Console) -> Show:
    return LiveShow(console) if console.is_terminal else PlainShow(console)


class LiveShow:
    """A bar of final contacts above the counts, on a terminal."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("[bold]{task.fields[status]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("contacts"),
            TimeElapsedColumn(),
        )
        self._task: TaskID = self._bar.add_task("campaign", total=None, status="starting")
        self._live = Live(self._bar, console=console, refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, campaign: Mapping[str, Any]) -> None:
        progress = campaign["progress"]
        self._bar.update(
            self._task,
            total=progress["total_contacts"],
            completed=progress["final_contacts"],
            status=campaign["status"],
        )
        grid = Table.grid(padding=(0, 3))
        grid.add_row(self._bar)
        grid.add_row(_counted(campaign))
        self._live.update(grid)


class PlainShow:
    """A line every few seconds, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._updates = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def update(self, campaign: Mapping[str, Any]) -> None:
        if self._updates % LINE_EVERY == 0 or campaign["status"] in {"ended", "cancelled"}:
            progress = campaign["progress"]
            done = f"{progress['final_contacts']}/{progress['total_contacts']} contacts final"
            self._console.print(f"{campaign['status']}: {done}; {_counted(campaign)}", soft_wrap=True)
        self._updates += 1


def table(title: str, rows: Mapping[str, object]) -> Table:
    """Two columns, names and values."""
    grid = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
    for name, value in rows.items():
        grid.add_row(name, str(value))
    return grid


def counted(counts: Mapping[str, int]) -> str:
    """`completed 310, busy 12`: what there is any of, the most first."""
    present = sorted(((n, name) for name, n in counts.items() if n), reverse=True)
    return ", ".join(f"{name} {n:,}" for n, name in present) or "none"


def _counted(campaign: Mapping[str, Any]) -> str:
    return f"attempts: {counted(campaign['counts']['attempts'])}"
