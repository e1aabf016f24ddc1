"""What runs in the worker for a script or another program: its process, from its private folder to its outputs."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from pipelite.errors import CommandError
from pipelite.execute import DATASETS_VARIABLE, StepContext, current_run, log_file_of, shared_variables
from pipelite.fingerprint import is_own_path
from pipelite.fingerprint.tracked import READS_VARIABLE, TrackedData, announce_noted
from pipelite.store import WORKSPACE_VARIABLE, SourceFolder, find_workspace, take_snapshot

if TYPE_CHECKING:
    from pipelite.data import Dataset

#: Inputs that are the same for all calls of one step. No argument of a call has such a name.
SOURCE, COMMAND, STDOUT = "source directory", "command line", "standard output"
DATASETS = "datasets without an argument"
#: The copy of the source directory that a command runs in, seen from a folder of its own.
FOLDER = "run"
#: Where a command puts files that are kept with its run, seen from the folder that it runs in.
KEPT = "outputs"
#: What data the command read beside its inputs, seen from the folder around that.
READS = "reads.jsonl"

#: How much of what a failed command printed is looked through for its traceback, and shown where there is none.
_TAIL_BYTES = 64 * 1024
_TAIL_LINES = 20

_TRACEBACK = "Traceback (most recent call last):"
_CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)


def run_script(**inputs: Any) -> Any:
    """Run a Python script; gives the paths of its outputs."""
    return run_with(inputs, interpreter=(chosen_python(),))


def run_command(**inputs: Any) -> Any:
    """Run a program; gives the paths of its outputs."""
    return run_with(inputs, interpreter=())


def chosen_python() -> str:
    """The interpreter that a process of this step is to run in."""
    chosen = current_run()._interpreter
    return sys.executable if chosen is None else chosen.python


def plain_text(value: Any) -> str | None:
    """A plain value as a command is given it; None if it is no such value."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, str | int | float) else None


class Surroundings:
    """What a process finds around it; another front end gives scripts what they know from elsewhere."""

    #: Folders of files that are kept with its run, seen from the folder that it runs in.
    kept: tuple[str, ...] = (KEPT,)
    #: Whether it may leave an output unwritten: that is an empty folder then.
    may_leave_empty: bool = False
    #: Outputs that do not stand in the command, encoded.
    more_outputs: Sequence[Any] = ()

    def path_of(self, dataset: Dataset, name: str, work: Path) -> Path:
        """A path to read a dataset from."""
        return path_of_dataset(dataset, name, work)

    def variables(
        self, here: StepContext, inputs: Mapping[str, Any], outputs: Mapping[str, Path], work: Path
    ) -> dict[str, str]:
        """Environment variables besides those of every process of a step."""
        return {}

    def argument(self, text: str, variables: Mapping[str, str]) -> str:
        """An argument as the process is given it."""
        return text


def run_with(inputs: dict[str, Any], interpreter: Sequence[str], around: Surroundings | None = None) -> Any:
    """Run a program, or a script by what stands before it; gives the paths of its outputs."""
    around = around or Surroundings()
    here = current_run()
    command, source, stdout, named = (inputs.pop(name) for name in (COMMAND, SOURCE, STDOUT, DATASETS))
    work = Path(tempfile.mkdtemp(prefix="command-", dir=here.scratch))
    folder = work / FOLDER
    copy_source(source, folder)
    for kept in around.kept:
        (folder / kept).mkdir(exist_ok=True)
    outputs = {
        each["output"]: output_path(work, each) for each in iter_outputs([*command, stdout, *around.more_outputs])
    }
    for each in named:
        if not is_dataset(inputs[each["input"]]):
            kind = type(inputs[each["input"]]).__qualname__
            raise CommandError(f"input {each['input']!r} is among the datasets, and is a value of type {kind!r}")
    variables = around.variables(here, inputs, outputs, work)
    arguments = [
        around.argument(text, variables) for text in _iter_texts(command, inputs, outputs, work, around.path_of)
    ]
    written_to = None if stdout is None else outputs[stdout["output"]]
    log = _Log(here)
    try:
        seen = [str(path.absolute()) for path in _iter_paths([command, *inputs.values()])]
        variables = {**process_variables(here, work, inputs), **variables}
        code = _wait([*interpreter, *arguments], folder, here, variables, written_to, seen)
    finally:
        keep_files(here, folder, around.kept)
        announce_noted(work / READS)
    if code:
        raise CommandError(_describe_failure(arguments[0], code, log.read(folder), is_script=bool(interpreter)))
    for name, path in outputs.items():
        if not around.may_leave_empty:
            check_written(arguments[0], name, path, outputs)
        elif not path.exists():
            sys.stdout.write(f"nothing was written to output {name!r}: for what reads it, it is an empty folder\n")
            path.mkdir()
    return tuple(outputs.values()) or None


def _wait(
    command: Sequence[str],
    folder: Path,
    here: StepContext,
    variables: dict[str, str],
    written_to: Path | None,
    reads: Sequence[str],
) -> int:
    """Run a process to its end; gives its exit code, or the signal that ended it as a negative number."""
    # What Python prints goes to a file here, where it would hold it back until the end.
    variables = {**variables, "PYTHONUNBUFFERED": "1"}
    chosen = here._interpreter
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    printed = None if written_to is None else open(written_to, "wb")  # noqa: SIM115 - closed below
    try:
        if chosen is None:
            process = subprocess.Popen(command, cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=printed)
        else:
            process = chosen.start(
                command,
                folder=str(folder),
                variables=variables,
                writes=(str(here.scratch), *_places_of_records(here)),
                reads=reads,
                stdin=subprocess.DEVNULL,
                stdout=printed,
            )
    except FileNotFoundError:
        raise CommandError(
            f"there is no program {command[0]!r}: it is neither on the PATH nor, where it is given with a folder, there"
        ) from None
    except (OSError, ValueError) as exc:
        raise CommandError(f"{command[0]!r} cannot be started: {exc}") from exc
    finally:
        if printed is not None:
            printed.close()
    return process.wait()


def _places_of_records(here: StepContext) -> list[str]:
    """Where what a script logs goes."""
    address = {} if here._sink is None else here._sink.address()
    return [*filter(None, (address.get("root"), os.path.dirname(address.get("spool", ""))))]


def process_variables(here: StepContext, work: Path, inputs: Mapping[str, Any]) -> dict[str, str]:
    """The variables around a process that a step starts: it finds this library, its workspace, its step run, and the
    datasets among the inputs. Those of its environment come on top.
    """
    datasets = {name: value for name, value in inputs.items() if is_dataset(value)}
    file = work / "datasets.pickle"
    if datasets:
        file.write_bytes(pickle.dumps(datasets))
    return {
        **os.environ,
        **library_variables(),
        **shared_variables(here),
        # It runs in another folder, from where another one might be found.
        WORKSPACE_VARIABLE: str(find_workspace().resolve()),
        READS_VARIABLE: str(work / READS),
        # Also without any: this process may itself have been given some.
        DATASETS_VARIABLE: str(file) if datasets else "",
    }


def is_dataset(value: Any) -> TypeGuard[Dataset]:
    """Whether a value is a dataset, which is all that there is of its kind; without an import for those that are not."""
    return isinstance(value, TrackedData)


def path_of_dataset(dataset: Dataset, name: str, work: Path) -> Path:
    """Its files as they are, or its rows as one Parquet file where there are none."""
    if dataset.is_files:
        return dataset.as_path()
    path = work / "rows" / f"{name}.parquet"
    return path if path.exists() else dataset.to_parquet(path)


def library_variables() -> dict[str, str]:
    """What a script needs to import this library where it is not installed, but lies in a folder of its own."""
    root = str(Path(__file__).resolve().parents[2])
    known = os.environ.get("PYTHONPATH", "")
    if not is_own_path(__file__) or root in known.split(os.pathsep):
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, (known, root)))}


def copy_source(source: SourceFolder | Path | None, folder: Path) -> None:
    """A copy that the command may change as it likes."""
    folder.mkdir()
    if source is None:
        return
    if isinstance(source, SourceFolder):
        # Outside of a run nothing is kept.
        taken = take_snapshot(source).files or {}
        root, names = Path(source.path), list(taken)
    else:
        root = source
        names = [os.path.relpath(os.path.join(top, name), root) for top, _, files in os.walk(root) for name in files]
    for parent in sorted({os.path.dirname(name) for name in names} - {""}):
        os.makedirs(folder / parent, exist_ok=True)
    for name in names:
        target = folder / name
        shutil.copyfile(root / name, target)
        if os.stat(root / name).st_mode & 0o100:
            target.chmod(0o755)


def iter_outputs(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for each in value:
            yield from iter_outputs(each)
    elif isinstance(value, dict) and "output" in value:
        yield value


def output_path(work: Path, output: Mapping[str, Any]) -> Path:
    # Each in a folder of its own: two may have the same file name.
    path: Path = work / "written" / output["output"] / output["file_name"]
    (path if output["is_folder"] else path.parent).mkdir(parents=True)
    return path


def _iter_texts(
    value: Any,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Path],
    work: Path,
    path_of: Callable[[Dataset, str, Path], Path],
    what: str = "",
    name: str = "",
) -> Iterator[str]:
    """The texts that an argument stands for; `name` is what a file is called that has to be written for it."""
    if isinstance(value, dict) and "output" in value:
        yield str(outputs[value["output"]])
    elif isinstance(value, dict) and "input" in value:
        of = value["input"]
        yield from _iter_texts(inputs[of], {}, {}, work, path_of, f"input {of!r}", of)
    elif is_dataset(value):
        yield str(path_of(value, name, work))
    elif isinstance(value, list | tuple):
        for place, each in enumerate(value):
            found, called = (f"{what}[{place}]", f"{name}-{place}") if what else (f"argument {place}", f"rows-{place}")
            yield from _iter_texts(each, inputs, outputs, work, path_of, found, called)
    elif isinstance(value, Path):
        if not value.exists():
            raise CommandError(f"{what} is the path {str(value)!r}, and nothing is there (seen from {os.getcwd()})")
        yield str(value.absolute())
    else:
        text = plain_text(value)
        if text is None:
            raise CommandError(
                f"{what} is a value of type {type(value).__qualname__!r}; a command takes texts, numbers and paths: have "
                "the step that makes it write a file and return its Path"
            )
        yield text


def _iter_paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif is_dataset(value):
        if value.is_files:
            yield value.as_path()
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _iter_paths(each)


def keep_files(here: StepContext, folder: Path, kept: Sequence[str] = (KEPT,)) -> None:
    """Keep what the command left in the folders for that with its run, also if it failed."""
    for top, _, names in (each for where in kept for each in os.walk(folder / where)):
        for name in sorted(names):
            path = Path(top, name)
            if path.is_file():
                here.upload_file(path.relative_to(folder).as_posix(), path)


def check_written(command: str, name: str, path: Path, outputs: Mapping[str, Path]) -> None:
    if path.is_dir() and any(path.iterdir()):
        return
    if path.is_file():
        return
    others = [other for other in outputs if other != name and outputs[other].exists()]
    wrote = f"; it wrote {', '.join(map(repr, others))}" if others else ""
    raise CommandError(
        f"{command} ended without an error, but wrote nothing to its output {name!r}{wrote}: what it is given for "
        f"Output({name!r}) is the path of a file or folder that it has to write"
    )


class _Log:
    """What a command prints, as far as it is kept."""

    def __init__(self, here: StepContext) -> None:
        self._path = log_file_of(here)
        self._start = self._path.stat().st_size if self._path is not None else 0

    def read(self, folder: Path) -> str:
        """The last of it, with files of the command named as it names them itself."""
        if self._path is None:
            return ""
        with self._path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._start, size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
        for place in {str(folder), os.path.realpath(folder)}:
            text = text.replace(f"{place}{os.sep}", "")
        return text


def _describe_failure(command: str, code: int, printed: str, *, is_script: bool) -> str:
    if code < 0:
        try:
            how = f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            how = f"was ended by signal {-code}"
    else:
        how = f"exited with code {code}"
    found = _find_traceback(printed) if is_script else ""
    if found:
        return f"{found}\n\n{command} {how}"
    lines = printed.strip().splitlines()[-_TAIL_LINES:]
    return f"{command} {how}; it printed last:\n" + "\n".join(lines) if lines else f"{command} {how}"


def _find_traceback(printed: str) -> str:
    """The last traceback, with those of the errors that led to it; empty if there is none."""
    start = printed.rfind(_TRACEBACK)
    while start > 0 and printed[:start].rstrip().endswith(_CHAINED):
        earlier = printed.rfind(_TRACEBACK, 0, start)
        if earlier < 0:
            break
        start = earlier
    return printed[start:].strip() if start >= 0 else ""
