"""Loads the pipeline that a command names."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from pipelite.errors import PipeliteError

if TYPE_CHECKING:
    from pipelite.api import Pipeline


class LoadError(click.ClickException):
    """The file or module of a pipeline raised an error when it was executed."""

    exit_code = 2


def load_pipeline(target: str) -> Pipeline[..., Any]:
    """Find a pipeline; an error in the user's file is shown from the user's first line on."""
    from pipelite.api import find_pipeline

    with showing_errors_of(target, "loaded"):
        return find_pipeline(target)


@contextlib.contextmanager
def showing_errors_of(target: str, done: str) -> Iterator[None]:
    """Show an error in the user's file from the user's first line on; `done` is what could not be done with it."""
    try:
        yield
    except PipeliteError:
        raise
    except Exception as exc:
        raise LoadError(f"{target} cannot be {done}:\n{_format(exc)}") from exc


def _format(error: BaseException) -> str:
    """Traceback without the way through the command line and the import system that leads to the user's file."""
    import traceback

    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    trace = error.__traceback__
    while trace is not None and _is_on_the_way(trace.tb_frame.f_code.co_filename, here):
        trace = trace.tb_next
    # A file with a syntax error has no frame of its own.
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()


def _is_on_the_way(file: str, here: str) -> bool:
    return file.startswith((here + os.sep, "<frozen importlib")) or file == _IMPORTLIB


_IMPORTLIB = os.path.join(os.path.dirname(os.__file__), "importlib", "__init__.py")
