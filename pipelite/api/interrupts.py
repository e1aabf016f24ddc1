"""Ctrl-C and SIGTERM while a run is waited for: once lets running steps finish, twice ends them.

Ctrl-C is a person's wish that this run ends: it is canceled. SIGTERM is what a system sends that goes down or moves a
service elsewhere: all runs of the process are interrupted, which leaves what is not done to whoever goes on with them.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from pipelite.errors import ParameterError, RunCanceled

if TYPE_CHECKING:
    from pipelite.api.starting import Execution

#: Seconds that running steps have to finish after SIGTERM, where it should not be GRACE_S.
GRACE_VARIABLE = "PIPELITE_GRACE"
GRACE_S = 30.0
#: After a second SIGTERM the process ends within this time, also if the run cannot be brought to an end.
EXIT_WITHIN_S = 1.5


@contextmanager
def ended_by_signals(execution: Execution) -> Iterator[None]:
    """End runs at Ctrl-C and SIGTERM instead of at some point in the middle of waiting for one.

    Only where these have their usual meaning; a program that has its own answer to one of them keeps that.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[int, tuple[Any, Callable[[int, Any], None]]] = {
        signal.SIGINT: (signal.default_int_handler, _CtrlC(execution)),
        signal.SIGTERM: (signal.SIG_DFL, _Termination(read_grace())),
    }
    taken = {number: usual for number, (usual, _) in handlers.items() if signal.getsignal(number) is usual}
    for number in taken:
        signal.signal(number, handlers[number][1])
    try:
        yield
    finally:
        for number, usual in taken.items():
            signal.signal(number, usual)


class _CtrlC:
    """Cancels one run: at first once its steps have finished, then at once."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._count = 0

    def __call__(self, number: int, frame: Any) -> None:
        self._count += 1
        if self._count > 1:
            self._execution.coordinator.stop()
            return
        sys.stderr.write("canceling: running steps finish; Ctrl-C again ends them at once\n")
        self._execution.coordinator.drain()


class _Termination:
    """Interrupts all runs of this process: at first once their steps have finished or had their time, then at once."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._count = 0

    def __call__(self, number: int, frame: Any) -> None:
        from pipelite.api.starting import living_executions

        self._count += 1
        # Not those that the program may start after it has heard of the end of these.
        executions = living_executions()
        if self._count == 1:
            sys.stderr.write(
                f"ending: running steps have {self._grace_s:g} s to finish; SIGTERM again ends them at once\n"
            )
            _interrupt(executions, at_once=False)
            _call_later(self._grace_s, lambda: _interrupt(executions, at_once=True))
        else:
            _interrupt(executions, at_once=True)
            _call_later(EXIT_WITHIN_S, lambda: _exit_if_running(executions))


def _interrupt(executions: list[Execution], *, at_once: bool) -> None:
    for execution in executions:
        execution.coordinator.interrupt("its process was told to end (SIGTERM)", at_once=at_once)


def _exit_if_running(executions: list[Execution]) -> None:
    if any(execution.is_alive() for execution in executions):
        # The run counts as interrupted from now on, since its owner is gone; the watcher ends the workers.
        os._exit(RunCanceled.exit_code)


def _call_later(seconds: float, function: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, function)
    timer.daemon = True
    timer.start()


def read_grace() -> float:
    """Seconds that running steps have after SIGTERM.

    Raises
    ------
    ParameterError
        If the variable that sets it is no number of seconds.
    """
    text = os.environ.get(GRACE_VARIABLE)
    if text is None:
        return GRACE_S
    try:
        grace_s = float(text)
    except ValueError:
        grace_s = -1.0
    if not 0 <= grace_s < float("inf"):
        raise ParameterError(f"{GRACE_VARIABLE} is {text!r}; a number of seconds from 0 is expected")
    return grace_s


@cache
def exit_with_130_if_uncaught() -> None:
    """Make a script that does not catch a `RunCanceled` end as interrupted programs do."""
    show_others = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if not isinstance(error, RunCanceled):
            show_others(kind, error, trace)
            return
        sys.stderr.write(f"{error}\n")
        # What an exception hook exits with is what the interpreter exits with.
        raise SystemExit(RunCanceled.exit_code)

    sys.excepthook = show
