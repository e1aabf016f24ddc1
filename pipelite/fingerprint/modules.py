"""Whose code a module is: the user's own, an installed package's or Python's; and where it is, without importing it."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator
from functools import lru_cache
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

#: The names under which the running script is loaded, here and in worker processes.
MAIN_NAMES = ("__main__", "__mp_main__")

_INSTALLED_FOLDERS = frozenset({"site-packages", "dist-packages"})
_STANDARD_LIBRARY = os.path.dirname(os.path.realpath(os.__file__))


def main_name() -> str | None:
    """Name under which the running script would be imported; None for a notebook, a prompt, ``-c`` or standard input."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        # A folder or archive run as a script is "__main__" to itself: nobody can import it by that name.
        return None if spec.name in MAIN_NAMES else str(spec.name)
    file = getattr(main, "__file__", None)
    if not isinstance(file, str) or file.startswith("<"):
        return None
    return os.path.splitext(os.path.basename(file))[0]


def module_name(name: str) -> str:
    """The name that a module has for everybody: that of the script's file for ``__main__``, else unchanged."""
    if name in MAIN_NAMES:
        return main_name() or "__main__"
    return name


def qualified_name(obj: Any) -> str:
    """Return "module.qualname" of a function or class, the same whether its file is run or imported."""
    name = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None) or type(obj).__qualname__
    module = getattr(obj, "__module__", None)
    return f"{module_name(module)}.{name}" if isinstance(module, str) else str(name)


def is_own(module: str | ModuleType, track: Collection[str] = ()) -> bool:
    """Whether a module is the user's own code: outside the standard library and site-packages, or tracked."""
    name = module if isinstance(module, str) else module.__name__
    if name in MAIN_NAMES:
        return True
    if track and any(name == tracked or name.startswith(f"{tracked}.") for tracked in track):
        return True
    top = name.partition(".")[0]
    if top == "pipelite" or name in sys.builtin_module_names:
        return False
    path = module_path(module)
    if path is not None:
        return is_own_path(path)
    spec = find_spec(name) if isinstance(module, str) else module.__spec__
    if spec is not None and spec.origin in ("built-in", "frozen"):
        return False
    if spec is not None and spec.submodule_search_locations:
        return all(is_own_path(folder) for folder in spec.submodule_search_locations)
    # Loaded but from no file: made by hand, so what Python does not ship belongs to the user.
    return top not in sys.stdlib_module_names and (isinstance(module, ModuleType) or loaded_module(name) is not None)


@lru_cache(maxsize=4096)
def is_own_path(path: str) -> bool:
    """Whether a file lies outside the standard library and site-packages."""
    if not _INSTALLED_FOLDERS.isdisjoint(path.replace("\\", "/").split("/")):
        return False
    return not (path.startswith(_STANDARD_LIBRARY + os.sep) or _is_below_standard_library(path))


def _is_below_standard_library(path: str) -> bool:
    return os.path.realpath(path).startswith(_STANDARD_LIBRARY + os.sep)


def module_path(module: str | ModuleType) -> str | None:
    """Absolute path of the file that a module is, or would be, loaded from; None where there is none."""
    if isinstance(module, str):
        loaded = loaded_module(module)
        if loaded is None:
            spec = find_spec(module)
            return spec.origin if spec is not None and spec.has_location else None
        module = loaded
    file = getattr(module, "__file__", None)
    return os.path.abspath(file) if isinstance(file, str) else None


def loaded_module(name: str) -> ModuleType | None:
    """The module of that name if this process has it, the running script under its own name too."""
    module = sys.modules.get(name)
    if module is None and name == main_name():
        module = sys.modules.get("__main__")
    # Some packages put objects of their own there; those are not modules to look into.
    return module if isinstance(module, ModuleType) else None


def find_spec(name: str) -> ModuleSpec | None:
    """Find a module by its absolute name without running any of its packages, as `importlib.util` would."""
    return _find_spec(name, tuple(sys.path))


@lru_cache(maxsize=4096)
def _find_found(name: str, search: tuple[str, ...]) -> ModuleSpec:
    path: list[str] | None = None
    if parent := name.rpartition(".")[0]:
        path = _search_path(parent)
        if path is None:
            raise ModuleNotFoundError(name)
    for finder in tuple(sys.meta_path):
        find = getattr(finder, "find_spec", None)
        try:
            spec = find(name, path) if find is not None else None
        except KeyError:
            # A folder without __init__.py asks for the loaded package around it, to follow changes of its path.
            spec = _folder_spec(name, path or [])
        if isinstance(spec, ModuleSpec):
            return spec
    raise ModuleNotFoundError(name)


def _folder_spec(name: str, path: list[str]) -> ModuleSpec:
    spec = ModuleSpec(name, None, is_package=True)
    folders = (os.path.join(entry, name.rpartition(".")[2]) for entry in path)
    spec.submodule_search_locations = [folder for folder in folders if os.path.isdir(folder)]
    return spec


def _find_spec(name: str, search: tuple[str, ...]) -> ModuleSpec | None:
    try:
        # A raise is not remembered: a module that is missing now may be written in a moment.
        return _find_found(name, search)
    except (ImportError, AttributeError, ValueError):
        return None


def _search_path(package: str) -> list[str] | None:
    loaded = loaded_module(package)
    if loaded is not None:
        found = getattr(loaded, "__path__", None)
    else:
        spec = find_spec(package)
        found = spec.submodule_search_locations if spec is not None else None
    return list(found) if found is not None else None


def distribution_of(module: str) -> tuple[str, str] | None:
    """Name and version of the installed distribution that a module came with; None where no metadata tells.

    `importlib.metadata.packages_distributions` reads the file lists of everything that is installed. Here one list is
    read where the distribution has the module's name, all lists of one folder otherwise, each folder once.
    """
    path = module_path(module)
    if path is None:
        return None
    root, relative = _split_at_site(path)
    if root is None:
        return None
    top = relative.partition("/")[0]
    regular = top == relative or os.path.exists(os.path.join(root, top, "__init__.py"))
    return _distribution_at(root, top if regular else relative, relative)


def _split_at_site(path: str) -> tuple[str | None, str]:
    parts = path.replace("\\", "/").split("/")
    for place in range(len(parts) - 1, 0, -1):
        if parts[place - 1] in _INSTALLED_FOLDERS:
            return "/".join(parts[:place]), "/".join(parts[place:])
    return None, path


def _distribution_at(root: str, key: str, relative: str) -> tuple[str, str] | None:
    try:
        stamp = os.stat(root).st_mtime_ns
    except OSError:
        return None
    return _distribution_found(root, stamp, key, relative if key != relative.partition("/")[0] else key)


@lru_cache(maxsize=1024)
def _distribution_found(root: str, stamp: int, key: str, wanted: str) -> tuple[str, str] | None:
    """`stamp` is the folder's time: an upgrade replaces the metadata folder in it, and so is seen."""
    top = key.partition("/")[0]
    needle = wanted.encode() + (b"," if "." in wanted.rpartition("/")[2] else b"/")
    for folder in sorted(_metadata_folders(root, stamp), key=lambda name: not _is_named(name, top)):
        if _lists(os.path.join(root, folder), needle, wanted):
            return _name_and_version(os.path.join(root, folder))
    return None


@lru_cache(maxsize=64)
def _metadata_folders(root: str, stamp: int) -> tuple[str, ...]:
    return tuple(sorted(name for name in os.listdir(root) if name.endswith((".dist-info", ".egg-info"))))


def _is_named(folder: str, top: str) -> bool:
    return folder.partition("-")[0].lower().replace("-", "_") == top.partition(".")[0].lower()


def _lists(metadata: str, needle: bytes, wanted: str) -> bool:
    """Whether the distribution installed the file, by its list of files or of top-level names."""
    record = _read(os.path.join(metadata, "RECORD"))
    if record is not None:
        return record.startswith(needle) or b"\n" + needle in record
    names = _read(os.path.join(metadata, "top_level.txt"))
    if names is not None:
        return wanted.partition("/")[0].partition(".")[0].encode() in names.split()
    return _is_named(os.path.basename(metadata), wanted.partition("/")[0])


def _name_and_version(metadata: str) -> tuple[str, str] | None:
    text = _read(os.path.join(metadata, "METADATA")) or _read(os.path.join(metadata, "PKG-INFO")) or _read(metadata)
    fields = dict(_headers(text or b""))
    if "name" in fields and "version" in fields:
        return fields["name"], fields["version"]
    stem = os.path.basename(metadata).rpartition(".")[0].split("-")
    return (stem[0], stem[1]) if len(stem) > 1 else None


def _headers(text: bytes) -> Iterator[tuple[str, str]]:
    for line in text.decode("utf-8", "replace").splitlines():
        if not line.strip():
            return
        name, _, value = line.partition(":")
        yield name.strip().lower(), value.strip()


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None
