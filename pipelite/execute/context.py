"""What a step can say while it runs: `current_run()`."""

from __future__ import annotations

import math
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipelite.clock import CLOCK
from pipelite.errors import SerializationError, UnknownNameError
from pipelite.execute.inherited import inherited, inherited_datasets, read_variables

if TYPE_CHECKING:
    from pipelite.data import Dataset


class Sink(Protocol):
    """Where the records of a step go."""

    def append(self, record: dict[str, Any]) -> None: ...

    def store_file(self, path: Path) -> dict[str, Any]:
        """Keep a copy of a file; gives its reference as plain JSON."""

    def address(self) -> dict[str, str]:
        """Where the records go, for processes that the step starts."""


class StepContext:
    """The step run that this code is part of, as seen from inside.

    Everything logged is durable when the call returns, and visible to others within a second. Outside of a run, for
    example when a step's function is called directly, the same calls check their arguments and log to nothing.
    """

    def __init__(
        self,
        *,
        run_id: str | None = None,
        pipeline: str | None = None,
        step: str | None = None,
        position: int = 0,
        attempt: int = 0,
        sink: Sink | None = None,
        scratch_stem: Path | None = None,
        datasets_file: Path | None = None,
    ) -> None:
        self._run_id = run_id
        self._pipeline = pipeline
        self._step = step
        self._position = position
        self._attempt = attempt
        self._sink = sink
        self._scratch_stem = scratch_stem
        self._scratch: Path | None = None
        #: What a process that the step's function starts is to run in; None is the interpreter that runs it.
        self._interpreter: Any = None
        self._datasets_file = datasets_file
        self._datasets: _InputDatasets | None = None
        #: In a thread, which nothing can end from outside: whether the step is asked to end, by raising `StepEnded`.
        self._is_asked_to_end: Callable[[], bool] = lambda: False

    @property
    def id(self) -> str | None:
        """ "RUN/STEP"; None outside of a run."""
        return None if self._run_id is None else f"{self._run_id}/{self._step}"

    @property
    def name(self) -> str | None:
        """Name of the step run; None outside of a run."""
        return self._step

    @property
    def attempt(self) -> int:
        """1 for the first execution, 2 for the first retry; 0 outside of a run."""
        return self._attempt

    @property
    def parent(self) -> ParentRun:
        """The run of the pipeline that this step is part of."""
        return ParentRun(self._run_id, self._pipeline, self)

    @property
    def scratch(self) -> Path:
        """A folder of this step run's own, made on first use and removed after it.

        A `Path` below it that the step returns is moved into the store instead of copied.
        """
        if self._scratch is None:
            if self._scratch_stem is None:
                self._scratch = Path(tempfile.mkdtemp(prefix="pipelite-"))
            else:
                folder, prefix = self._scratch_stem.parent, self._scratch_stem.name
                folder.mkdir(parents=True, exist_ok=True)
                self._scratch = Path(tempfile.mkdtemp(dir=folder, prefix=prefix))
        return self._scratch

    @property
    def input_datasets(self) -> Mapping[str, Dataset]:
        """In a script, another program or a notebook: the datasets that its step was called with, by name.

        They read just the bytes that count in the step's key. A function has its datasets as arguments.
        """
        if self._datasets is None:
            file = self._datasets_file
            self._datasets = _InputDatasets({} if file is None else pickle.loads(file.read_bytes()))
        return self._datasets

    def log(self, name: str, value: float | str, step: int | None = None) -> None:
        """Log a number (or a short text) under a name; `step` is its place in a series, such as the epoch."""
        self._append("scalar", name, _plain(value, name), step)

    def log_row(self, name: str, **columns: Any) -> None:
        """Log one row of a table that grows: ``log_row("loss", epoch=1, train=0.3, test=0.4)``."""
        self._append("row", name, {column: _plain(value, name) for column, value in columns.items()})

    def log_list(self, name: str, values: Iterable[Any]) -> None:
        """Log a list of numbers or texts."""
        self._append("list", name, [_plain(value, name) for value in values])

    def log_table(self, name: str, table: Any) -> None:
        """Log a table: a dict of column name to values, a list of rows as dicts, or a DataFrame."""
        self._append("table", name, _columns_of(table, name))

    def log_confusion_matrix(self, name: str, matrix: Any, labels: Sequence[Any] | None = None) -> None:
        """Log a confusion matrix: counts of shape (n_classes, n_classes), true classes in rows, predicted in columns."""
        rows = [[_plain(value, name) for value in row] for row in matrix]
        if any(len(row) != len(rows) for row in rows):
            raise ValueError(f"confusion matrix {name!r} has {len(rows)} rows, but not as many columns")
        if labels is not None and len(labels) != len(rows):
            raise ValueError(f"confusion matrix {name!r} has {len(rows)} classes, but {len(labels)} labels")
        names = [str(label) for label in labels] if labels is not None else [str(i) for i in range(len(rows))]
        self._append("confusion_matrix", name, {"labels": names, "matrix": rows})

    def log_image(self, name: str, image: Any) -> None:
        """Log a picture: the path of an image file, or anything with `savefig` (a matplotlib figure)."""
        if hasattr(image, "savefig"):
            path = self.scratch / f"{_file_name(name)}.png"
            image.savefig(path)
        else:
            path = Path(image)
        self._append_file("image", name, path)

    def upload_file(self, name: str, path: str | Path) -> None:
        """Keep a copy of a file with the run, under a name."""
        self._append_file("file", name, Path(path))

    def tag(self, name: str, value: str = "") -> None:
        """Tag the whole run."""
        if self._sink is not None:
            self._sink.append(
                {
                    "position": self._position,
                    "of": self._step,
                    "kind": "tag",
                    "name": str(name),
                    "value": str(value),
                    "at": CLOCK.now().isoformat(timespec="microseconds"),
                }
            )

    def _append(self, kind: str, name: str, value: Any, step: int | None = None) -> None:
        if not name:
            raise ValueError(f"what is logged as a {kind} needs a name")
        if self._sink is not None:
            self._sink.append(
                {
                    "position": self._position,
                    "of": self._step,
                    "kind": kind,
                    "name": str(name),
                    "step": None if step is None else int(step),
                    "value": value,
                    "at": CLOCK.now().isoformat(timespec="microseconds"),
                }
            )

    def _append_file(self, kind: str, name: str, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"{kind} {name!r} cannot be kept: there is no file {str(path)!r}")
        if self._sink is not None:
            self._append(kind, name, self._sink.store_file(path))

    def _finish(self) -> None:
        """Remove the scratch folder, and let go of the interpreter."""
        if self._interpreter is not None:
            self._interpreter.release()
            self._interpreter = None
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None


class _InputDatasets(dict[str, "Dataset"]):
    """By name; an unknown one is an error that says which there are."""

    def __missing__(self, name: str) -> Dataset:
        raise UnknownNameError(
            f"the step was given no dataset {name!r}; it was given: {', '.join(self) or 'none'}. A script names one by "
            f"Input({name!r}), among its arguments or inputs"
        )


class ParentRun:
    """The run that a step is part of, as far as the step needs it."""

    def __init__(self, run_id: str | None, pipeline: str | None, step: StepContext) -> None:
        #: Id of the run; None outside of a run.
        self.id = run_id
        #: Name of the pipeline; None outside of a run.
        self.pipeline = pipeline
        self._step = step

    def tag(self, name: str, value: str = "") -> None:
        """Tag the run."""
        self._step.tag(name, value)


#: The step run of a process in which there is one at a time: also what threads that the step starts find.
_current: StepContext | None = None
#: The step run of this thread, in a process where several go on at once.
_here: ContextVar[StepContext | None] = ContextVar("pipelite_step_run", default=None)
#: That of a process which runs no steps: the one that started it, such as that of a script; else one outside of a run.
_outside: StepContext | None = None


def current_run() -> StepContext:
    """The step run that this code is part of; outside of a run, one that logs to nothing."""
    global _outside
    here = _here.get()
    if here is not None:
        return here
    if _current is not None:
        return _current
    if _outside is None:
        import atexit

        told = inherited()
        known = {} if told is None else read_variables(told)
        _outside = StepContext(**known, datasets_file=inherited_datasets())
        atexit.register(_outside._finish)
    return _outside


def enter(context: StepContext) -> None:
    """Make a step run the current one of this process."""
    global _current
    _current = context


def leave() -> None:
    """End the current step run."""
    global _current
    if _current is not None:
        _current._finish()
    _current = None


@contextmanager
def entered_here(context: StepContext) -> Iterator[None]:
    """Make a step run the current one of this thread, for a while."""
    token = _here.set(context)
    try:
        yield
    finally:
        _here.reset(token)
        context._finish()


def _plain(value: Any, name: str) -> Any:
    """A number, text or None as JSON has it; numpy's scalars become Python's."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        # JSON has no infinities; text keeps what was logged.
        return value if math.isfinite(value) else str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise SerializationError(
        f"metric {name!r} cannot be logged: a number or a text is expected, not {type(value).__qualname__}; "
        "use log_list, log_table or log_row for more than one"
    )


def _columns_of(table: Any, name: str) -> dict[str, list[Any]]:
    """A table as column name to values."""
    if hasattr(table, "to_dict") and hasattr(table, "columns"):
        table = table.to_dict(orient="list")
    if isinstance(table, Mapping):
        columns = {str(column): [_plain(value, name) for value in values] for column, values in table.items()}
        if len({len(values) for values in columns.values()}) > 1:
            raise ValueError(f"the columns of table {name!r} have different lengths")
        return columns
    rows = list(table)
    if not all(isinstance(row, Mapping) for row in rows):
        raise TypeError(f"table {name!r} is a dict of columns, a list of dicts or a DataFrame")
    names = list(dict.fromkeys(str(column) for row in rows for column in row))
    return {column: [_plain(row.get(column), name) for row in rows] for column in names}


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
