"""The live display on a terminal. Imports rich, so it is imported only where something is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipelite.clock import CLOCK
from pipelite.execute import Progress
from pipelite.observe.counts import describe_counts
from pipelite.observe.figures import format_duration
from pipelite.observe.progress import oldest_first
from pipelite.records import Status

STYLES = {
    Status.COMPLETED: "green",
    Status.REUSED: "blue",
    Status.FAILED: "bold red",
    Status.SKIPPED: "dim",
    Status.CANCELED: "yellow",
    Status.RUNNING: "yellow",
}
#: Running steps that are listed at once; there are seldom more slots.
SHOWN_RUNNING = 8
_BAR_WIDTH = 40


class RichDisplay:
    """Finished steps scroll away above; what runs, and how far the whole is, stays at the bottom."""

    def __init__(self, stream: TextIO, pipeline: str) -> None:
        self._pipeline = pipeline
        self._started = CLOCK.monotonic()
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True)
        # Our own thread draws; what the program prints meanwhile is its own and goes where it belongs.
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._live.start()

    def show(self, progress: Progress) -> None:
        """Draw how far the run is."""
        self._live.update(Group(*self._parts(progress)), refresh=True)

    def write(self, line: str, status: Status) -> None:
        """Print a line that stays, above what is drawn."""
        self._console.print(Text(line, style=STYLES.get(status, "")))

    def close(self) -> None:
        """Remove what is drawn."""
        self._live.update(Text(""))
        self._live.stop()

    def _parts(self, progress: Progress) -> Iterator[RenderableType]:
        running = oldest_first(progress)
        if running:
            yield self._running_table(running)
        if progress.waits_for is not None:
            yield Text(f"  waits for {progress.waits_for}", style=STYLES[Status.RUNNING], overflow="ellipsis")
        counts = progress.counts.copy()
        done = sum(counts.values())
        line = Table.grid(padding=(0, 1))
        line.add_row(
            Text(self._pipeline, style="bold"),
            ProgressBar(total=max(progress.total, 1), completed=done, width=_BAR_WIDTH),
            Text(f"{done:,} of {describe_counts(counts, progress.total)}", overflow="ellipsis"),
            Text(format_duration(round(CLOCK.monotonic() - self._started, 1)), style="dim"),
        )
        yield line

    def _running_table(self, running: list[tuple[str, float]]) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        now = CLOCK.time()
        for name, started in running[:SHOWN_RUNNING]:
            elapsed = format_duration(round(max(0.0, now - started), 1))
            table.add_row(Text(f"  {name}"), Text("running", style=STYLES[Status.RUNNING]), Text(elapsed))
        if len(running) > SHOWN_RUNNING:
            table.add_row(Text(f"  and {len(running) - SHOWN_RUNNING} more"), Text(""), Text(""))
        return table
