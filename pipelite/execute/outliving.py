"""Processes that outlive the worker which starts them, for what has to be done after it was killed."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from pipelite.execute import badges
from pipelite.execute.inherited import VARIABLE

_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37

#: The parent of the code that follows ends, so that this process is nobody's child.
_LEAVE = "import os\nif os.fork():\n    os._exit(0)\n"


def start_outliving(
    code: str, *, more_variables: Mapping[str, str], pass_fds: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start Python code in a process that is not ended with this one, nor with the step that this is.

    It hears of the end of this process by the end of its standard input; what it says, it says on its standard output.
    It has to end by itself, soon after. It keeps the descriptors that it is passed.
    """
    # Without the badge of a worker and the name of a step run it belongs to neither.
    variables = {name: text for name, text in os.environ.items() if name not in (badges.VARIABLE, VARIABLE)}
    variables.update(more_variables)
    with _letting_orphans_go():
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _LEAVE + code],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        process.wait()
    return process


@contextmanager
def _letting_orphans_go() -> Iterator[None]:
    """A worker adopts the orphans among its descendants; not this one."""
    if sys.platform != "linux":
        yield
        return
    libc = ctypes.CDLL(None)
    adopts = ctypes.c_int()
    libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(adopts), 0, 0, 0)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, adopts.value, 0, 0, 0)
