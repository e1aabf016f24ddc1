"""An exception as a record: joblib re-raises in the parent, and one that cannot be unpickled breaks its pool."""

from __future__ import annotations

import os
import traceback
from types import TracebackType

from pipelite.errors import PipeliteError
from pipelite.fingerprint import is_own_path
from pipelite.records import Failure
from pipelite.store import dumps_value, loads_value

#: Characters of a traceback or a message that are kept; an exception may carry a whole data frame as text.
TEXT_LIMIT = 100_000

_OWN_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def describe_exception(error: BaseException, *, skip_files: tuple[str, ...] = ()) -> Failure:
    """Turn an exception into a record that always travels.

    `skip_files` are those whose frames, at the outer end of the traceback, are of no use to the reader.
    """
    trace = _skip_outer_frames(error.__traceback__, skip_files)
    if isinstance(error, PipeliteError) and not _leads_through_own_code(error):
        # One of our own sentences, which no line of the user's led to: a traceback would only hide it.
        return Failure(
            type_name=type(error).__qualname__, message=str(error), traceback="", pickled=_pickle_checked(error)
        )
    try:
        text = _format_traceback(error, trace)
    except Exception as broken:  # an exception whose own __str__ or __cause__ raises
        text = f"{type(error).__name__} (its text could not be made: {broken!r})\n" + "".join(
            traceback.format_tb(trace)
        )
    return Failure(
        type_name=type(error).__qualname__,
        message=_text_of(error)[:TEXT_LIMIT],
        traceback=text[-TEXT_LIMIT:],
        pickled=_pickle_checked(error),
    )


def load_exception(failure: Failure) -> BaseException | None:
    """The exception itself, or None where only its text came through."""
    if failure.pickled is None:
        return None
    try:
        error = loads_value(failure.pickled)
    except Exception:  # its class is not importable here; the text says what it was
        return None
    return error if isinstance(error, BaseException) else None


def _format_traceback(error: BaseException, trace: TracebackType | None) -> str:
    described = traceback.TracebackException(type(error), error, trace)
    if isinstance(error, PipeliteError) and _is_raised_here(trace):
        # The sentence says what went wrong, and the user's own lines where; how we found it out is of no use to them.
        described.stack = traceback.StackSummary.from_list(
            [frame for frame in described.stack if not frame.filename.startswith(_OWN_FOLDER)]
        )
        if not _leads_through_own_code(error.__cause__ or error.__context__):
            described.__cause__ = described.__context__ = None
    return "".join(described.format())


def _is_raised_here(trace: TracebackType | None) -> bool:
    """Whether an exception was raised by this library, and not by a line of the user's."""
    frames = list(traceback.walk_tb(trace))
    return bool(frames) and frames[-1][0].f_code.co_filename.startswith(_OWN_FOLDER)


def _leads_through_own_code(error: BaseException | None) -> bool:
    """Whether a line of the user's stands in the traceback of an exception, or of one that it was raised from."""
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            file, module = frame.f_code.co_filename, frame.f_globals["__name__"]
            # Compiled modules name their sources, wherever those were.
            if is_own_path(file) and not module.startswith("pipelite.") and not file.endswith((".pyx", ".pxi")):
                return True
        error = error.__cause__ or error.__context__
    return False


def _skip_outer_frames(trace: TracebackType | None, files: tuple[str, ...]) -> TracebackType | None:
    inner = trace
    while inner is not None and inner.tb_frame.f_code.co_filename in files:
        inner = inner.tb_next
    return inner


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:
        return f"(its message could not be made: {broken!r})"


def _pickle_checked(error: BaseException) -> bytes | None:
    """Pickle an exception only if it comes back: many with a second required argument do not."""
    try:
        pickled = dumps_value(error)
        loads_value(pickled)
    except (Exception, RecursionError):
        return None
    return pickled if len(pickled) <= 10 * TEXT_LIMIT else None
