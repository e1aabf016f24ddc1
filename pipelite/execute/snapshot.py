"""Which own source files a run was made from: what `rerun` and publishing use later, never today's files."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from types import ModuleType

from pipelite.fingerprint import FileCache, digest_file, is_own, main_name, module_path
from pipelite.records import CodeFingerprint

_LIBRARY = Path(__file__).resolve().parents[1]

#: Whose code a module is does not change while it is loaded: name to the module and its own source file, if it has one.
_known: dict[str, tuple[object, Path | None]] = {}


def collect_sources(
    codes: Iterable[CodeFingerprint], files: FileCache | None = None
) -> tuple[dict[str, str], dict[str, Path]]:
    """The own source files of a run.

    Those of all own modules that are loaded, since the pipeline's module imports them, and those that steps reach by
    imports inside functions.

    Returns
    -------
    tuple of dicts: place below an import root to digest, and digest to file
    """
    places: dict[str, str] = {}
    contents: dict[str, Path] = {}
    # Not a list of its items: while that is made, garbage may be collected, and finalizers import.
    for name, module in sys.modules.copy().items():
        known = _known.get(name)
        if known is None or known[0] is not module:
            known = _known[name] = (module, _source_of(name, module))
        path = known[1]
        if path is None:
            continue
        try:
            digest = digest_file(path, files)
        except OSError:
            continue
        places[_place_of(name, module, path)] = digest
        contents[digest] = path
    reached: Mapping[str, str] = {path: digest for code in codes for path, digest in code.sources.items()}
    for file, digest in reached.items():
        if digest not in contents and not _is_library(Path(file)):
            contents[digest] = Path(file)
            places[_place_below_import_root(Path(file))] = digest
    return places, contents


def _source_of(name: str, module: object) -> Path | None:
    # What stands among the modules need not be one.
    if not isinstance(module, ModuleType):
        return None
    if name.startswith("pipelite.") or not is_own(module):
        return None
    file = module_path(module)
    if file is None or not file.endswith(".py") or _is_library(Path(file)):
        return None
    return Path(file)


def _is_library(file: Path) -> bool:
    """Whether a file is one of this library, also its `__main__`, that runs as the script of each command.

    Kept with the user's source, it would hide the whole library from a rerun where that is installed editable.
    """
    return _LIBRARY in file.resolve().parents


def _place_of(name: str, module: ModuleType, path: Path) -> str:
    if name == "__main__":
        name = main_name() or path.stem
    parts = name.split(".")
    if hasattr(module, "__path__"):
        return str(PurePosixPath(*parts, "__init__.py"))
    # A script need not be called as a module may be: its file name counts.
    return str(PurePosixPath(*parts[:-1], path.name))


def _place_below_import_root(path: Path) -> str:
    for root in sorted((place for place in sys.path if place), key=len, reverse=True):
        try:
            return path.relative_to(Path(root).resolve()).as_posix()
        except ValueError:
            continue
    return path.name
