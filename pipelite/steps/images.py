"""Container images as environments: what Python one has, and whether this library can be lent to it."""

from __future__ import annotations

import json
import os
import sysconfig
from pathlib import Path

from pipelite.execute import LIBRARY, LIBRARY_VARIABLE, Container, Engine, Interpreter, find_engine
from pipelite.steps.installing import PATH_LINE, library_links

#: What compiled modules are made for: minor version, machine and C library.
_OWN_KIND = sysconfig.get_config_var("SOABI")
_TELL_KIND = "import sysconfig; print(sysconfig.get_config_var('SOABI'))"
_PROGRAMS = ("python3", "python")


def prepare_image(folder: Path, image: str, *, has_network: bool, variables: dict[str, str]) -> Interpreter:
    """What runs commands in an image; `folder` is where the workspace keeps its environments.

    Raises
    ------
    EnvironmentFailed
        If there is no container engine that works, or it cannot get the image.
    """
    engine = find_engine()
    found = engine.image_id(image)
    program, kind = _look_into(engine, found, folder)
    if program is None:
        misfit = f"{image!r} has no Python"
    elif kind != _OWN_KIND:
        misfit = (
            f"Python in {image!r} is {kind}, and that of the pipeline {_OWN_KIND}, so pipelite cannot be lent to it; take "
            "an image with this minor version of Python and C library, or make it a script, which can do without pipelite"
        )
    else:
        misfit = ""
        variables = {LIBRARY_VARIABLE: LIBRARY, "PYTHONPATH": _starting_folder(folder), **variables}
    container = Container(
        engine=engine,
        image=found,
        has_network=has_network,
        library=() if misfit else tuple(sorted(library_links().items())),
        misfit=misfit,
    )
    return Interpreter(python=program or _PROGRAMS[0], variables=variables, container=container)


def _look_into(engine: Engine, image: str, folder: Path) -> tuple[str | None, str]:
    """The Python of an image, and what its compiled modules are made for; looked up once for each image."""
    note = folder / f"image-{image[:32]}.json"
    try:
        program, kind = json.loads(note.read_text())
        return program, kind
    except FileNotFoundError:
        pass
    said = {name: engine.probe(image, name, "-c", _TELL_KIND) for name in _PROGRAMS}
    program, kind = next(((name, text.strip()) for name, text in said.items() if text is not None), (None, ""))
    _write(note, json.dumps([program, kind]))
    return program, kind


def _starting_folder(folder: Path) -> str:
    """A folder whose only module Python runs at its start: the library then comes last on the import path."""
    start = folder / "start"
    if not (start / "sitecustomize.py").exists():
        _write(start / "sitecustomize.py", PATH_LINE)
    return str(start)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}-{os.urandom(4).hex()}")
    temporary.write_text(text)
    os.replace(temporary, path)
