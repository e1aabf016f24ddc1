"""How a run goes, as it is told on a terminal, in a file, or not at all."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import threading

import pytest

from pipelite.errors import ParameterError
from pipelite.execute import Progress
from pipelite.observe import ProgressDisplay
from pipelite.observe import progress as progress_module
from pipelite.records import Status

ID = "20261121-142501-7k3f9q"


@pytest.fixture(autouse=True)
def without_a_setting(monkeypatch):
    monkeypatch.delenv("PIPELITE_PROGRESS", raising=False)


class Stream(io.StringIO):
    """A text stream that tells when something was written to it."""

    def __init__(self):
        super().__init__()
        self.written = threading.Event()

    def write(self, text):
        count = super().write(text)
        self.written.set()
        return count


def happen(progress, *events):
    """What a coordinator does when steps end."""
    for event in events:
        progress.counts[event[1]] = progress.counts.get(event[1], 0) + 1
        progress.events.append(event)


def told(events, *, total=None, status=Status.COMPLETED, error=None, **options):
    """All that is printed of a run that ends before the first look at it."""
    progress = Progress(total=len(events) if total is None else total)
    stream = io.StringIO()
    display = ProgressDisplay(progress, pipeline="train", run_id=ID, stream=stream, **options)
    display.start()
    happen(progress, *events)
    display.stop(status, 3.4, error)
    return stream.getvalue().splitlines()


def test_each_step_has_a_line_and_the_run_one_at_the_end():
    lines = told([("load", Status.REUSED, 0.0, None), ("fit[2]", Status.COMPLETED, 1.2, None)])

    assert lines == [
        "train  load  reused",
        "train  fit[2]  completed in 1.2 s",
        f"train {ID} completed in 3.4 s: 2 steps, 1 reused, 1 computed",
    ]


def test_a_failure_shows_the_first_lines_of_its_message_and_what_was_skipped():
    events = [
        ("fit", Status.FAILED, 0.0, "ValueError: one\ntwo\nthree\nfour"),
        ("score", Status.SKIPPED, 0.0, "step 'fit', which it needs, failed"),
    ]

    lines = told(events, status=Status.FAILED, error="step 'fit' failed: ValueError: one\ntwo")

    assert lines == [
        "train  fit  failed: ValueError: one",
        "    two",
        "    three",
        "    ...",
        "train  score  skipped: step 'fit', which it needs, failed",
        f"train {ID} failed in 3.4 s: 2 steps, 1 failed, 1 skipped",
    ]


def test_an_error_of_the_run_itself_is_shown():
    assert told([], total=1, status=Status.FAILED, error="the disk is full")[0] == "the disk is full"


def test_a_result_that_cannot_be_reused_is_told():
    reason = "not reusable: the input 'a.csv' changed while the step ran"

    assert told([("fit", Status.COMPLETED, 1.0, reason)])[0] == f"train  fit  completed in 1.0 s ({reason})"


def test_many_steps_are_summed_up_but_their_failures_told():
    events = [(f"fit[{number}]", Status.COMPLETED, 0.1, None) for number in range(99)]
    events.append(("fit[99]", Status.FAILED, 0.0, "ValueError: bad"))

    assert told(events, status=Status.FAILED) == [
        "train  fit[99]  failed: ValueError: bad",
        f"train {ID} failed in 3.4 s: 100 steps, 99 computed, 1 failed",
    ]


def test_of_very_many_failures_the_first_are_told():
    events = [(f"fit[{number}]", Status.FAILED, 0.0, "ValueError: bad") for number in range(100)]

    lines = told(events, status=Status.FAILED)

    assert len(lines) == 12
    assert lines[10] == "train  further failures are only counted"


@pytest.mark.parametrize("source", ["argument", "environment"])
def test_nothing_is_printed_and_no_thread_started_when_quiet(source, monkeypatch):
    if source == "environment":
        monkeypatch.setenv("PIPELITE_PROGRESS", "quiet")
    n_threads = threading.active_count()
    progress = Progress(total=1)
    stream = io.StringIO()
    mode = "quiet" if source == "argument" else None
    display = ProgressDisplay(progress, pipeline="train", run_id=ID, mode=mode, stream=stream)

    display.start()

    assert threading.active_count() == n_threads
    assert not progress.is_watched
    display.stop(Status.COMPLETED, 1.0, None)
    assert stream.getvalue() == ""


def test_an_unknown_setting_is_told_and_does_no_harm(monkeypatch):
    monkeypatch.setenv("PIPELITE_PROGRESS", "loud")

    lines = told([("load", Status.REUSED, 0.0, None)])

    assert lines[0] == "PIPELITE_PROGRESS is 'loud', which is none of auto, plain, quiet; it is taken for auto"
    assert lines[1] == "train  load  reused"


def test_an_unknown_mode_is_an_error():
    with pytest.raises(ParameterError, match="mode='loud': progress can be shown as auto, plain, quiet"):
        ProgressDisplay(Progress(total=1), pipeline="train", run_id=ID, mode="loud")


def test_steps_are_told_while_the_run_goes_on():
    progress = Progress(total=2)
    stream = Stream()
    display = ProgressDisplay(progress, pipeline="train", run_id=ID, stream=stream)
    display.start()

    assert progress.is_watched
    happen(progress, ("load", Status.REUSED, 0.0, None))

    assert stream.written.wait(10)
    assert stream.getvalue() == "train  load  reused\n"
    display.stop(Status.CANCELED, 1.0, None)
    assert not progress.is_watched


def test_a_large_run_is_summed_up_now_and_then(monkeypatch):
    monkeypatch.setattr(progress_module, "SUMMARY_S", 0.0)
    progress = Progress(total=1000, counts={Status.REUSED: 400, Status.COMPLETED: 12}, running={"fit[412]": 0.0})
    stream = Stream()
    display = ProgressDisplay(progress, pipeline="train", run_id=ID, stream=stream)

    display.start()

    assert stream.written.wait(10)
    line = stream.getvalue().splitlines()[0]
    assert line.startswith("train  412 of 1,000 steps: 400 reused, 12 computed; running: fit[412] for ")
    display.stop(Status.CANCELED, 1.0, None)


def test_a_run_that_waits_says_so_once():
    progress = Progress(total=1, waits_for="a free slot (2 in use by run other)")
    stream = Stream()
    display = ProgressDisplay(progress, pipeline="train", run_id=ID, stream=stream)
    display.start()
    assert stream.written.wait(10)
    stream.written.clear()

    assert not stream.written.wait(3 * progress_module.POLL_S)
    progress.waits_for = None
    display.stop(Status.CANCELED, 1.0, None)

    assert stream.getvalue().splitlines()[:-1] == ["train  waits for a free slot (2 in use by run other)"]


def test_the_summary_of_a_run_that_waits_says_so_again(monkeypatch):
    monkeypatch.setattr(progress_module, "SUMMARY_S", 0.0)
    progress = Progress(total=1000, counts={Status.REUSED: 400}, waits_for="a free slot")
    stream = Stream()
    display = ProgressDisplay(progress, pipeline="train", run_id=ID, stream=stream)

    display.start()

    assert stream.written.wait(10)
    display.stop(Status.CANCELED, 1.0, None)
    assert "train  400 of 1,000 steps: 400 reused; waits for a free slot" in stream.getvalue().splitlines()


def test_a_stream_that_is_closed_does_not_fail_the_run():
    progress = Progress(total=1)
    stream = io.StringIO()
    display = ProgressDisplay(progress, pipeline="train", run_id=ID, stream=stream)
    display.start()
    happen(progress, ("load", Status.REUSED, 0.0, None))
    stream.close()

    display.stop(Status.COMPLETED, 1.0, None)


# A run that lasts until the display has drawn something, which is seen by its reading the running steps.
ON_A_TERMINAL = """
import sys, threading
from pipelite.execute import Progress
from pipelite.observe import ProgressDisplay, progress as module
from pipelite.records import Status

module.LIVE_AFTER_S = 0.0
drawn = threading.Event()

class Running(dict):
    def copy(self):
        drawn.set()
        return dict(self)

progress = Progress(total=3, running=Running({"fit[0]": 0.0}))
if "waits" in sys.argv:
    progress.waits_for = "a free slot"
display = ProgressDisplay(progress, pipeline="train", run_id="ID")
if "without" in sys.argv:
    sys.modules["rich"] = None
    module.SILENCE_S = 0.0
display.start()
progress.counts[Status.REUSED] = 1
progress.events.append(("load [red]", Status.REUSED, 0.0, None))
if "without" in sys.argv:
    assert drawn.wait(10)  # Plain lines name the running steps too.
elif display._wants_live():
    assert drawn.wait(10)
    assert "rich" in sys.modules
else:
    assert "rich" not in sys.modules
display.stop(Status.COMPLETED, 3.4, None)
"""


def on_a_terminal(*arguments, **environment):
    """What the script above prints on a terminal of its own."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL, *arguments],
        stderr=follower,
        env={**os.environ, "TERM": "xterm", **environment},
    )
    os.close(follower)
    output = b""
    try:
        while part := os.read(leader, 65536):
            output += part
    except OSError:  # Linux says so when the other end is closed.
        pass
    os.close(leader)
    assert process.wait() == 0, output.decode()
    return output.decode()


def test_on_a_terminal_the_running_steps_are_drawn_and_finished_ones_stay():
    output = on_a_terminal("waits")

    assert "train  load [red]  reused" in output
    assert "fit[0]" in output
    assert "  waits for a free slot" in output
    assert "1 of 3 steps: 1 reused" in output
    assert "\x1b[" in output
    last = output.rstrip().splitlines()[-1]
    assert "ID completed in 3.4 s: 3 steps, 1 reused" in output
    assert "fit[0]" not in last


@pytest.mark.parametrize("environment", [{"PIPELITE_PROGRESS": "plain"}, {"TERM": "dumb"}])
def test_a_terminal_can_have_plain_lines(environment):
    output = on_a_terminal(**environment)

    assert output.splitlines() == ["train  load [red]  reused", "train ID completed in 3.4 s: 3 steps, 1 reused"]


def test_without_rich_a_terminal_gets_plain_lines():
    output = on_a_terminal("without")

    assert "\x1b[" not in output
    assert "train  load [red]  reused" in output.splitlines()
    assert "train  1 of 3 steps: 1 reused; running: fit[0] for " in output
