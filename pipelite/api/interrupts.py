"""Ctrl-C while a run is waited for: once lets running steps finish, twice ends them."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipelite.errors import RunCanceled
from pipelite.execute import Coordinator


@contextmanager
def canceled_by_ctrl_c(coordinator: Coordinator) -> Iterator[None]:
    """Cancel the run at Ctrl-C instead of raising KeyboardInterrupt somewhere in the middle of waiting for it.

    Only where Ctrl-C means KeyboardInterrupt; a program that has its own answer to it keeps that.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    interrupts = 0

    def interrupt(number: int, frame: Any) -> None:
        nonlocal interrupts
        interrupts += 1
        if interrupts == 1:
            _exit_with_130_if_uncaught()
            sys.stderr.write("canceling: running steps finish; Ctrl-C again ends them at once\n")
            coordinator.drain()
        else:
            coordinator.stop()

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _exit_with_130_if_uncaught() -> None:
    """Make a script that does not catch the `RunCanceled` of its Ctrl-C end as interrupted programs do."""
    show_others = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if not isinstance(error, RunCanceled):
            show_others(kind, error, trace)
            return
        sys.stderr.write(f"{error}\n")
        # What an exception hook exits with is what the interpreter exits with.
        raise SystemExit(RunCanceled.exit_code)

    sys.excepthook = show
