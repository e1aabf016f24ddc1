"""Whose code a module is, and what it is called."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

from pipelite.fingerprint.modules import (
    distribution_of,
    find_spec,
    is_own,
    is_own_path,
    loaded_module,
    main_name,
    module_name,
    module_path,
    qualified_name,
)

ROOT = Path(__file__).parents[2]
PRINT_NAMES = """
from pipelite.fingerprint.modules import main_name, module_name, qualified_name
def f(): pass
print(main_name(), module_name("__main__"), module_name("json"), qualified_name(f))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    importlib.invalidate_caches()


def start(folder, *command, text=None):
    environment = {"PYTHONPATH": f"{ROOT}:{folder}", "PATH": ""}
    done = subprocess.run(
        [sys.executable, *command], input=text, capture_output=True, text=True, env=environment, cwd=folder, check=True
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["flow.py"], "flow"),
        (["./flow.py"], "flow"),
        (["-m", "flow"], "flow"),
        (["-m", "package.flow"], "package.flow"),
        (["package/flow.py"], "flow"),
        (["-m", "package"], "package.__main__"),
    ],
)
def test_a_script_has_the_name_under_which_it_would_be_imported(folder, command, name):
    write(folder / "flow.py", PRINT_NAMES)
    write(folder / "package" / "__init__.py")
    write(folder / "package" / "flow.py", PRINT_NAMES)
    write(folder / "package" / "__main__.py", PRINT_NAMES)

    assert start(folder, *command) == [name, name, "json", f"{name}.f"]


def test_what_cannot_be_imported_has_no_name(folder):
    write(folder / "app" / "__main__.py", PRINT_NAMES)
    nameless = ["None", "__main__", "json", "__main__.f"]

    assert start(folder, "-c", PRINT_NAMES) == nameless
    assert start(folder, "-", text=PRINT_NAMES) == nameless
    assert start(folder, "app") == nameless


def test_the_standard_library_is_not_own():
    for name in (
        "json",
        "os",
        "os.path",
        "sys",
        "builtins",
        "_thread",
        "importlib.machinery",
        "xml.dom.minidom",
        "zipimport",
    ):
        assert not is_own(name), name


def test_installed_packages_are_not_own():
    for name in ("attr", "attrs", "blake3", "blake3.blake3", "pytest", "_pytest.mark"):
        assert not is_own(name), name


def test_modules_that_nobody_has_are_not_own():
    assert not is_own("no_such_module_anywhere")
    assert find_spec("no_such_module_anywhere.below") is None


def test_pipelite_is_not_own_code_of_its_users():
    assert not is_own("pipelite.fingerprint.modules")


def test_modules_outside_of_python_are_own(folder):
    write(folder / "mine" / "__init__.py")
    write(folder / "mine" / "part.py")
    write(folder / "bare" / "part.py")

    assert all(is_own(name) for name in ("mine", "mine.part", "bare", "bare.part", "__main__"))
    assert not any(name in sys.modules for name in ("mine", "bare"))


def test_a_module_that_hides_one_of_python_s_is_own(folder, monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    write(folder / "colorsys.py")

    assert is_own("colorsys")


def test_a_module_made_by_hand_is_own(monkeypatch):
    module = types.ModuleType("made_by_hand")
    monkeypatch.setitem(sys.modules, "made_by_hand", module)

    assert is_own(module)
    assert is_own("made_by_hand")
    assert module_path(module) is None


def test_tracked_packages_are_own():
    assert is_own("attr", track=("attr",))
    assert is_own("attr.filters", track=("attr",))
    assert not is_own("attr", track=("att",))


def test_packages_in_a_virtual_environment_below_the_project_are_not_own(folder):
    assert not is_own_path(str(folder / ".venv" / "lib" / "python3.11" / "site-packages" / "x" / "__init__.py"))
    assert is_own_path(str(folder / "src" / "x.py"))


def test_an_editable_install_is_own(folder, monkeypatch):
    write(folder / "checkout" / "edited_package" / "__init__.py")
    write(folder / "site-packages" / "edited_package-1.0.dist-info" / "METADATA", "Name: edited\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(folder / "checkout"))

    assert is_own("edited_package")


def test_modules_are_found_without_running_their_packages(folder):
    write(folder / "heavy" / "__init__.py", "raise RuntimeError('imported')")
    write(folder / "heavy" / "sub" / "__init__.py", "raise RuntimeError('imported')")
    write(folder / "heavy" / "sub" / "leaf.py", "raise RuntimeError('imported')")

    assert module_path("heavy.sub.leaf") == str(folder / "heavy" / "sub" / "leaf.py")
    assert "heavy" not in sys.modules


def test_a_module_that_is_written_later_is_found(folder):
    assert find_spec("written_later") is None
    write(folder / "written_later.py")

    assert find_spec("written_later") is not None


def test_versions_are_those_of_the_installed_metadata():
    for module, name in (("attr", "attrs"), ("attrs", "attrs"), ("_pytest.mark", "pytest"), ("blake3", "blake3")):
        assert distribution_of(module) == (name, importlib.metadata.version(name))


def test_modules_of_python_and_of_the_user_have_no_version(folder):
    write(folder / "mine_too.py")

    assert [distribution_of(name) for name in ("json", "sys", "mine_too", "no_such_module")] == [None] * 4


def test_distributions_are_found_whatever_their_modules_are_called(folder, monkeypatch):
    site = folder / "site-packages"
    monkeypatch.syspath_prepend(str(site))
    write(site / "sk" / "__init__.py")
    write(site / "sk" / "deep" / "leaf.py")
    write(site / "single.py")
    write(site / "space" / "one" / "__init__.py")
    write(site / "space" / "two" / "__init__.py")
    write(site / "old" / "__init__.py")
    for name, version, files in (
        ("scikit-sk", "1.0", ["sk/__init__.py", "sk/deep/leaf.py"]),
        ("Single.Module", "2.0rc1", ["single.py"]),
        ("space-one", "3.0", ["space/one/__init__.py"]),
        ("space-two", "4.0", ["space/two/__init__.py"]),
    ):
        metadata = site / f"{name.replace('-', '_')}-{version}.dist-info"
        write(metadata / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: no\n")
        write(metadata / "RECORD", "".join(f"{file},sha256=x,1\n" for file in files))
    write(site / "old-5.0.egg-info" / "PKG-INFO", "Metadata-Version: 1.0\nName: old\nVersion: 5.0\n")
    write(site / "old-5.0.egg-info" / "top_level.txt", "old\n")

    found = {name: distribution_of(name) for name in ("sk", "sk.deep.leaf", "single", "space.one", "space.two", "old")}

    assert found == {
        "sk": ("scikit-sk", "1.0"),
        "sk.deep.leaf": ("scikit-sk", "1.0"),
        "single": ("Single.Module", "2.0rc1"),
        "space.one": ("space-one", "3.0"),
        "space.two": ("space-two", "4.0"),
        "old": ("old", "5.0"),
    }


def test_names_are_qualified():
    class Inner:
        def method(self):
            pass

    assert qualified_name(json.JSONDecoder) == "json.decoder.JSONDecoder"
    assert qualified_name(Inner.method).endswith("test_modules.test_names_are_qualified.<locals>.Inner.method")
    assert qualified_name(print) == "builtins.print"
    assert qualified_name(3) == "int"
    assert module_name("json") == "json"


def test_the_script_is_loaded_under_its_own_name_too():
    assert loaded_module("json") is sys.modules["json"]
    assert loaded_module("no_such_module") is None
    if main_name() is not None:
        assert loaded_module(main_name()) is not None
