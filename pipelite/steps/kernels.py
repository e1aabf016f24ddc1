"""What runs in the worker for a notebook: its kernel, its parameters, and what is kept of it."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from pipelite._optional import require
from pipelite.errors import CommandError
from pipelite.execute import current_run
from pipelite.fingerprint.tracked import announce_noted
from pipelite.steps.running import (
    COMMAND,
    KEPT,
    READS,
    SOURCE,
    check_written,
    chosen_python,
    copy_source,
    is_dataset,
    keep_files,
    output_path,
    process_variables,
)

PARAMETERS = "notebook parameters"
#: Outputs that every notebook has.
NOTEBOOK, HTML, SCRAPS = "notebook", "html", "scraps"
#: What a scrap is displayed as.
SCRAP_TYPE = "application/scrapbook.scrap.json+json"

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def run_notebook(**inputs: Any) -> Any:
    """Run a notebook; gives the paths of its outputs, of the executed notebook and of its HTML, and the scraps."""
    here = current_run()
    file, source, pairs = (inputs.pop(name) for name in (COMMAND, SOURCE, PARAMETERS))
    work = Path(tempfile.mkdtemp(prefix="notebook-", dir=here.scratch))
    folder = work / "run"
    copy_source(source, folder)
    (folder / KEPT).mkdir(exist_ok=True)
    outputs = {each["output"]: output_path(work, each) for _, each in pairs if "output" in each}
    values = {name: _value_of(each, inputs, outputs) for name, each in pairs}
    book = _read(folder / file, file)
    _insert_parameters(book, values)
    try:
        _execute(book, file, work, process_variables(here, work, values))
    except BaseException:
        # What there is of it says more than any message.
        for path in _write(book, file, work / "executed"):
            here.upload_file(path.name, path)
        raise
    finally:
        keep_files(here, folder)
        announce_noted(work / READS)
    for name, path in outputs.items():
        check_written(file, name, path, outputs)
    return (*outputs.values(), *_write(book, file, work / "executed"), _find_scraps(book))


def _value_of(encoded: dict[str, Any], inputs: dict[str, Any], outputs: dict[str, Path]) -> Any:
    if "output" in encoded:
        return outputs[encoded["output"]]
    value = inputs[encoded["input"]] if "input" in encoded else encoded["value"]
    return value.absolute() if isinstance(value, Path) else value


def _read(path: Path, file: str) -> Any:
    nbformat = require("nbformat", extra="notebook")
    try:
        return nbformat.read(path, as_version=4)
    except Exception as exc:  # Whatever the parser meets in a file that is no notebook.
        raise CommandError(f"{file} is no notebook that can be read: {exc}") from exc


def _insert_parameters(book: Any, values: dict[str, Any]) -> None:
    """A cell that assigns the parameters, behind the one that has their defaults."""
    if not values:
        return
    nbformat = require("nbformat", extra="notebook")
    given = "__import__('pipelite').current_run().input_datasets"
    lines = [
        f"{name} = {f'{given}[{name!r}]' if is_dataset(value) else _source_of(name, value)}"
        for name, value in values.items()
    ]
    cell = nbformat.v4.new_code_cell("\n".join(lines), metadata={"tags": ["injected-parameters"]})
    if book.nbformat_minor < 5:
        cell.pop("id", None)
    place = next(
        (place + 1 for place, each in enumerate(book.cells) if "parameters" in each.metadata.get("tags", ())), 0
    )
    book.cells.insert(place, cell)


def _source_of(name: str, value: Any) -> str:
    """A value as an expression of Python."""
    if isinstance(value, Path):
        return f"__import__('pathlib').Path({str(value)!r})"
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and repr(value) in ("inf", "-inf", "nan"):
        return f"float({repr(value)!r})"
    if value is None or type(value) in (bool, int, float, str):
        return repr(value)
    if type(value) is dict:
        items = (f"{_source_of(name, key)}: {_source_of(name, each)}" for key, each in value.items())
        return f"{{{', '.join(items)}}}"
    if type(value) in (list, tuple):
        return f"[{', '.join(_source_of(name, each) for each in value)}]"
    raise CommandError(
        f"parameter {name!r} is or holds a value of type {type(value).__qualname__!r}; a notebook takes plain values, lists "
        "and dicts of them, and paths: have the step that makes it write a file and return its Path"
    )


def _execute(book: Any, file: str, work: Path, variables: dict[str, str]) -> None:
    require("nbclient", extra="notebook")
    require("ipykernel", extra="notebook")
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    class Client(NotebookClient):
        """Passes on what cells print, as they print it."""

        def output(self, outs: Any, msg: Any, display_id: str | None, cell_index: int) -> Any:
            if msg["header"]["msg_type"] == "stream":
                stream = sys.stderr if msg["content"]["name"] == "stderr" else sys.stdout
                stream.write(msg["content"]["text"])
                stream.flush()
            return super().output(outs, msg, display_id, cell_index)

    chosen = current_run()._interpreter
    if chosen is not None and chosen.container is not None:
        raise CommandError(
            f"{file} is a notebook, and those do not run in an image: give its environment packages, or none"
        )
    if chosen is not None:
        variables.update(chosen.variables)
        variables["PATH"] = f"{os.path.dirname(chosen.python)}{os.pathsep}{variables.get('PATH', '')}"
    manager = AsyncKernelManager()
    # Not the kernel that happens to be registered as "python3" for the user.
    manager._kernel_spec = KernelSpec(
        # Its warning about connections without encryption is of no use here: they do not leave the machine.
        argv=[chosen_python(), "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"],
        display_name="Python",
        language="python",
    )
    at = (work / "run" / file).parent
    client = Client(book, km=manager, timeout=None, resources={"metadata": {"path": str(at)}})
    # It ends the kernel then, as one that it has made itself.
    client.owns_km = True
    try:
        client.execute(env=variables)
    except CellExecutionError as exc:
        trace = _ANSI.sub("", str(exc.traceback)).strip()
        raise CommandError(f"{trace}\n\n{file} failed in the cell that this is from") from exc
    except (DeadKernelError, RuntimeError) as exc:
        raise CommandError(f"the kernel of {file} died: {exc}") from exc


def _write(book: Any, file: str, folder: Path) -> tuple[Path, Path]:
    """The executed notebook, and its HTML."""
    nbformat = require("nbformat", extra="notebook")
    nbconvert = require("nbconvert", extra="notebook")
    folder.mkdir()
    name = os.path.splitext(os.path.basename(file))[0]
    written, shown = folder / f"{name}.ipynb", folder / f"{name}.html"
    nbformat.write(book, written)
    with warnings.catch_warnings():
        # Scraps are not for display.
        warnings.simplefilter("ignore")
        text, _ = nbconvert.HTMLExporter().from_notebook_node(book)
    shown.write_text(text, encoding="utf-8")
    return written, shown


def _find_scraps(book: Any) -> dict[str, Any]:
    """What the notebook recorded, by name; the last of each."""
    found = [
        output.data[SCRAP_TYPE]
        for cell in book.cells
        for output in cell.get("outputs", ())
        if output.output_type in ("display_data", "execute_result") and SCRAP_TYPE in output.data
    ]
    return {str(each["name"]): each["data"] for each in found}
