"""Shows how a run goes while it goes, on standard error."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any, Protocol, TextIO

from pipelite.clock import CLOCK
from pipelite.errors import ParameterError
from pipelite.execute import Progress
from pipelite.observe.counts import describe_counts
from pipelite.observe.figures import format_duration
from pipelite.observe.tables import one_line
from pipelite.records import Status

MODES = ("auto", "plain", "quiet")
VARIABLE = "PIPELITE_PROGRESS"

#: Seconds between two looks at the run.
POLL_S = 0.1
#: A run with more steps than this is summed up instead of told step by step.
TOLD_STEPS = 50
#: Seconds between two summaries of such a run, and the silence after which any run says what it is at.
SUMMARY_S = 2.0
SILENCE_S = 15.0
#: Importing rich takes about as long as a short run: the live display starts only then.
LIVE_AFTER_S = 0.4
#: Of a failure the first lines of its message; of many failures the first few.
SHOWN_LINES = 3
SHOWN_FAILURES = 10

Event = tuple[str, Status, float, str | None]


class LiveDisplay(Protocol):
    """The part of the terminal that is drawn again and again."""

    def show(self, progress: Progress) -> None:
        """Draw how far the run is."""

    def write(self, line: str, status: Status) -> None:
        """Print a line that stays, above what is drawn."""

    def close(self) -> None:
        """Remove what is drawn."""


class ProgressDisplay:
    """Tells how a run goes: on a terminal with rich alive, else in lines; from a thread of its own that never waits.

    Parameters
    ----------
    progress : written by the run's coordinator
    mode : "auto", "plain" (lines also on a terminal) or "quiet"; by default that of PIPELITE_PROGRESS, else "auto"
    stream : by default standard error

    Raises
    ------
    ParameterError
        If the mode is given and none of these.
    """

    def __init__(
        self,
        progress: Progress,
        *,
        pipeline: str,
        run_id: str,
        mode: str | None = None,
        stream: TextIO | None = None,
    ) -> None:
        self._progress = progress
        self._pipeline = pipeline
        self._run_id = run_id
        self._stream = sys.stderr if stream is None else stream
        self._mode, self._note = find_mode(mode)
        self._live: LiveDisplay | None = None
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._n_failures = 0
        #: What the run waited for at the last look, in words.
        self._waits_for: str | None = None

    def start(self) -> None:
        """Begin to watch; nothing is printed yet."""
        if self._is_quiet():
            return
        self._progress.is_watched = True
        self._started = self._last_written = CLOCK.monotonic()
        self._thread = threading.Thread(target=self._watch, name="pipelite-progress", daemon=True)
        self._thread.start()
        if self._note:
            self._write(self._note, Status.RUNNING)

    def stop(self, status: Status, duration_s: float, error: str | None = None) -> None:
        """Print what is left to tell, and how the run ended."""
        if self._thread is None:
            return
        self._stopped.set()
        self._thread.join()
        self._thread = None
        self._progress.is_watched = False
        self._tell_events()
        if error is not None and not self._n_failures:
            self._write("\n".join(_first_lines(error)), Status.FAILED)
        counts = describe_counts(self._progress.counts, self._progress.total, separator=", ")
        line = f"{self._pipeline} {self._run_id} {status.value} in {format_duration(duration_s)}: {counts}"
        self._write(line, status)
        self._close_live()
        self._flush()

    @property
    def _tells_steps(self) -> bool:
        # A graph that grows may become too long for it.
        return self._progress.total <= TOLD_STEPS

    def _is_quiet(self) -> bool:
        # A program without a console has no standard error.
        return self._mode == "quiet" or self._stream is None

    def _watch(self) -> None:
        while not self._stopped.wait(POLL_S):
            if self._live is None and self._wants_live():
                self._live = open_live(self._stream, self._pipeline)
                self._mode = "auto" if self._live is not None else "plain"
            self._tell_events()
            if self._live is not None:
                self._try(self._live.show, self._progress)
            else:
                self._tell_wait()
                self._sum_up()
            self._flush()

    def _wants_live(self) -> bool:
        return (
            self._mode == "auto"
            and CLOCK.monotonic() - self._started > LIVE_AFTER_S
            and self._stream.isatty()
            and os.environ.get("TERM") != "dumb"
        )

    def _tell_events(self) -> None:
        events = self._progress.events
        while events:
            event = events.popleft()
            if event[1] is Status.FAILED:
                self._tell_failure(event)
            elif self._tells_steps:
                self._write(self._line(event), event[1])

    def _tell_failure(self, event: Event) -> None:
        self._n_failures += 1
        if self._tells_steps or self._n_failures <= SHOWN_FAILURES:
            self._write(self._line(event), Status.FAILED)
        elif self._n_failures == SHOWN_FAILURES + 1:
            self._write(f"{self._pipeline}  further failures are only counted", Status.FAILED)

    def _line(self, event: Event) -> str:
        name, status, seconds, reason = event
        head = f"{self._pipeline}  {name}  {status.value}"
        if status is Status.COMPLETED:
            warning = f" ({one_line(reason)})" if reason and reason.startswith("not reusable") else ""
            return f"{head} in {format_duration(seconds)}{warning}"
        if status is Status.FAILED and reason:
            return f"{head}: " + "\n    ".join(_first_lines(reason))
        if status in (Status.SKIPPED, Status.PENDING) and reason:
            return f"{head}: {one_line(reason)}"
        return head

    def _tell_wait(self) -> None:
        waits_for = self._progress.waits_for
        if waits_for is not None and waits_for != self._waits_for:
            self._write(f"{self._pipeline}  waits for {waits_for}", Status.PENDING)
        self._waits_for = waits_for

    def _sum_up(self) -> None:
        """One line on how far the run is, now and then."""
        silent_for = CLOCK.monotonic() - self._last_written
        if silent_for < (SILENCE_S if self._tells_steps else SUMMARY_S):
            return
        progress = self._progress
        counts = progress.counts.copy()
        line = f"{self._pipeline}  {sum(counts.values()):,} of {describe_counts(counts, progress.total)}"
        running = describe_running(progress)
        if running:
            line += f"; running: {', '.join(running)}"
        if progress.waits_for is not None:
            line += f"; waits for {progress.waits_for}"
        self._write(line, Status.RUNNING)

    def _write(self, line: str, status: Status) -> None:
        self._last_written = CLOCK.monotonic()
        if self._live is not None:
            self._try(self._live.write, line, status)
        else:
            self._try(self._stream.write, f"{line}\n")

    def _flush(self) -> None:
        self._try(self._stream.flush)

    def _close_live(self) -> None:
        if self._live is not None:
            self._try(self._live.close)
            self._live = None

    def _try(self, act: Any, *arguments: Any) -> None:
        """A terminal that was closed is no reason for a run to fail."""
        try:
            act(*arguments)
        except (OSError, ValueError):
            self._mode = "quiet"


def find_mode(mode: str | None) -> tuple[str, str | None]:
    """The way of showing progress: by an argument, else by the environment; and a note if that asks for another."""
    if mode is not None:
        if mode not in MODES:
            raise ParameterError(f"mode={mode!r}: progress can be shown as {', '.join(MODES)}", parameter="mode")
        return mode, None
    asked = os.environ.get(VARIABLE) or "auto"
    if asked in MODES:
        return asked, None
    return "auto", f"{VARIABLE} is {asked!r}, which is none of {', '.join(MODES)}; it is taken for auto"


def open_live(stream: TextIO, pipeline: str) -> LiveDisplay | None:
    """Begin to draw on a terminal; None without rich."""
    try:
        from pipelite.observe.live import RichDisplay
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] != "rich":
            raise
        return None
    return RichDisplay(stream, pipeline)


def describe_running(progress: Progress, limit: int = 5) -> list[str]:
    """ "fit[0] for 12.0 s" for the steps that have been running longest."""
    now = CLOCK.time()
    return [
        f"{name} for {format_duration(max(0.0, now - started))}" for name, started in oldest_first(progress)[:limit]
    ]


def oldest_first(progress: Progress) -> list[tuple[str, float]]:
    """The running steps with the times of their start. The coordinator goes on writing meanwhile, so it is a copy."""
    running = progress.running.copy()
    return sorted(running.items(), key=lambda item: item[1])


def _first_lines(message: str) -> list[str]:
    lines = message.strip().splitlines()
    shown = [one_line(line) for line in lines[:SHOWN_LINES]]
    return [*shown, "..."] if len(lines) > SHOWN_LINES else shown
