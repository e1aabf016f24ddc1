"""Fingerprints of code: what counts as a whole; the table of single edits is in test_code_edits."""

from __future__ import annotations

import functools
import importlib
import logging
import math
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from pipelite import step
from pipelite.errors import SourceChangedError, UnhashableError
from pipelite.fingerprint import Fingerprinter


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Writes modules into a folder and imports them; forgets them after the test."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield Project(tmp_path)
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in sys.modules[name].__file__:
            del sys.modules[name]


class Project:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name, text):
        path = self.folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        importlib.invalidate_caches()

    def load(self, name, text):
        self.write(name, text)
        return importlib.import_module(name)


def digest(func, **options):
    return Fingerprinter().code(func, **options).digest


def parts(func, **options):
    return Fingerprinter().code(func, **options).parts


def not_tracked(func):
    return " | ".join(Fingerprinter().code(func).not_tracked)


# The code that runs


def test_a_function_edited_on_disk_after_it_was_loaded_is_an_error_that_says_what_to_do(project):
    flow = project.load("edited", "def f(x):\n    return x + 1\n")
    project.write("edited", "def f(x):\n    return x + 2\n")

    with pytest.raises(
        SourceChangedError, match=r"edited\.py was edited after function 'edited\.f'.*[Rr]estart.*reload"
    ):
        digest(flow.f)


def test_a_helper_edited_on_disk_after_it_was_loaded_is_an_error_too(project):
    project.load("tools", "def clean(x):\n    return x + 1\n")
    flow = project.load("uses_tools", "import tools\n\ndef f(x):\n    return tools.clean(x)\n")
    project.write("tools", "def clean(x):\n    return x + 2\n")

    with pytest.raises(SourceChangedError, match=r"tools\.clean"):
        digest(flow.f)


def test_a_helper_imported_inside_a_function_may_not_differ_from_the_loaded_one(project):
    project.load("late_tools", "def clean(x):\n    return x + 1\n")
    flow = project.load("uses_late", "def f(x):\n    import late_tools\n    return late_tools.clean(x)\n")
    project.write("late_tools", "def clean(x):\n    return x + 2\n")

    with pytest.raises(SourceChangedError, match=r"late_tools\.clean"):
        digest(flow.f)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("class C:\n    def m(self):\n        return 1\n", "class C:\n    def m(self):\n        return 2\n"),
        ("class C:\n    def m(self):\n        return 1\n", "class C:\n    def n(self):\n        return 1\n"),
        ("class C:\n    x: int = 1\n", "class C:\n    x: int = 1\n    y: int = 2\n"),
    ],
)
def test_a_class_edited_on_disk_after_it_was_loaded_is_an_error(project, before, after):
    use = "\n\ndef f():\n    return C()\n"
    flow = project.load("edited_class", before + use)
    project.write("edited_class", after + use)

    with pytest.raises(SourceChangedError, match=r"class 'edited_class\.C'"):
        digest(flow.f)


def test_comments_docstrings_and_moved_lines_on_disk_are_no_error(project):
    flow = project.load("moved_lines", "def f(x):\n    return [x + 1, (lambda y: y * 2)(x), None]\n")
    before = digest(flow.f)
    project.write(
        "moved_lines",
        '# New.\n\n\ndef f(x):\n    """Doc."""\n    return [x + 1, (lambda y: y * 2)(x), None]  # Same.\n',
    )

    assert digest(flow.f) == before


def test_a_reloaded_module_has_the_fingerprint_of_its_new_code(project):
    flow = project.load("reloaded", "def f(x):\n    return x + 1\n")
    old = digest(flow.f)
    project.write("reloaded", "def f(x):\n    return x + 2222\n")

    importlib.reload(flow)
    new = digest(flow.f)

    assert new != old
    assert new == digest(project.load("fresh", "def f(x):\n    return x + 2222\n").f)


def test_a_function_kept_from_before_a_reload_is_an_error(project):
    flow = project.load("kept", "def f(x):\n    return x + 1\n")
    kept = flow.f
    project.write("kept", "def f(x):\n    return x + 2222\n")
    importlib.reload(flow)

    with pytest.raises(SourceChangedError, match=r"'kept\.f'"):
        digest(kept)


def test_a_replaced_global_counts_at_the_next_look(project):
    flow = project.load("replaced", "RATE = 1\n\ndef g(x):\n    return x\n\ndef f(x):\n    return g(x) * RATE\n")
    before = digest(flow.f)

    flow.RATE = 2
    with_rate = digest(flow.f)
    flow.RATE = 1
    flow.g = lambda x: x + 5

    assert len({before, with_rate, digest(flow.f)}) == 3


def test_a_method_set_from_outside_counts(project):
    text = "class C:\n    rate = 1\n    def m(self):\n        return 1\n\ndef other(self):\n    return 2\n\ndef f():\n    C()\n"
    flow = project.load("set_outside", text)
    before = digest(flow.f)

    flow.C.rate = 2
    with_rate = digest(flow.f)
    flow.C.rate = 1
    flow.C.extra = flow.other

    assert len({before, with_rate, digest(flow.f)}) == 3


def test_functions_of_a_script_have_one_fingerprint_however_it_is_started(project):
    import subprocess

    project.write(
        "back",
        """
        import flow

        def twice(x):
            return flow.once(flow.once(x)) + flow.SETTINGS.rate
        """,
    )
    project.write(
        "flow",
        """
        from pipelite.fingerprint import Fingerprinter
        import back

        class Settings:
            rate = 3

            def half(self):
                return self.rate / 2

        SETTINGS = Settings()

        def once(x):
            return x + SETTINGS.half()

        def f(x):
            return back.twice(x) + once(x)

        found = Fingerprinter().code(f)

        if __name__ == "__main__":
            print(found.digest, sorted(found.parts.items()), found.not_tracked)
        """,
    )
    root = Path(__file__).parents[2]
    answers = set()
    for command in (
        ["flow.py"],
        ["-m", "flow"],
        ["-c", "import flow; found = flow.found; print(found.digest, sorted(found.parts.items()), found.not_tracked)"],
    ):
        environment = {"PYTHONPATH": f"{root}:{project.folder}", "PATH": ""}
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, env=environment, cwd=project.folder, check=True
        )
        answers.add(done.stdout)

    assert len(answers) == 1


# What a function is


def test_the_name_of_a_function_does_not_count(project):
    flow = project.load("names", "def f(x):\n    return x + 1\n\ndef g(x):\n    return x + 1\n")

    assert digest(flow.f) == digest(flow.g)


def test_lambdas_that_share_a_line_differ(project):
    flow = project.load(
        "lambdas", "F = [lambda x: x + 1, lambda x: x + 2, lambda x, y=3: x + y, lambda x, y=4: x + y]\n"
    )

    assert len({digest(func) for func in flow.F}) == 4


def test_equal_lambdas_agree_wherever_they_stand(project):
    flow = project.load("equal", "f, g = lambda x: x + 1, lambda x: x + 1\n\nh = (\n    lambda x: (x + 1)\n)\n")

    assert len({digest(flow.f), digest(flow.g), digest(flow.h)}) == 1


def test_nested_lambdas_are_told_apart(project):
    flow = project.load("nested", "f = lambda x: lambda y: x + y\ng = f(1)\nh = f(2)\n")

    assert len({digest(flow.f), digest(flow.g), digest(flow.h)}) == 3


def test_the_variable_of_a_loop_is_not_the_global_of_that_name(project):
    text = """
        j = {}

        def f(xs):
            total = sum(j for j in xs)
            for j in xs:
                total += j
            return total
    """
    flow = project.load("loops", text.format(1))
    before = digest(flow.f)
    flow.j = 2

    assert digest(flow.f) == before
    assert not any("loops.j" in label for label in parts(flow.f))


def test_names_are_resolved_by_scope(project):
    flow = project.load(
        "scopes",
        """
        x = 1

        def reads_outer_iterable(n):
            return [x for x in range(x)]

        def reads_global_in_class():
            class Inner:
                x = x
            return Inner

        def class_names_stay_in_the_class():
            class Inner:
                x = 5
                def method(self):
                    return x
            return Inner

        def declares():
            global x
            x = 3

        def shadows(x):
            return x
        """,
    )

    assert "constant scopes.x" in parts(flow.reads_outer_iterable)
    assert "constant scopes.x" in parts(flow.class_names_stay_in_the_class)
    assert "constant scopes.x" not in parts(flow.declares)
    assert "constant scopes.x" not in parts(flow.shadows)


def test_storing_into_a_global_is_not_storing_into_a_local_variable(project):
    flow = project.load("stores", "def f():\n    global x\n    x = 3\n\ndef g():\n    x = 3\n")

    assert digest(flow.f) != digest(flow.g)


def test_values_of_a_closure_count(project):
    flow = project.load("closures", "def make(n):\n    def f(x):\n        return x + n\n    return f\n")

    assert digest(flow.make(1)) == digest(flow.make(1))
    assert len({digest(flow.make(n)) for n in (1, 1.0, True, "1", None)}) == 5


def test_recursion_in_a_closure_ends(project):
    flow = project.load("recursion", "def make():\n    def f(n):\n        return n and f(n - 1)\n    return f\n")

    assert digest(flow.make()) == digest(flow.make())


def test_callables_of_all_kinds_have_fingerprints(project):
    flow = project.load(
        "kinds",
        """
        import functools

        class C:
            def __init__(self, n):
                self.n = n

            def __call__(self, x):
                return x + self.n

            def method(self, x):
                return x - self.n

            @classmethod
            def make(cls, x):
                return cls(x)

            @staticmethod
            def plain(x):
                return x

        def f(x, y=1, *, z=2):
            return x + y + z

        cached = functools.lru_cache(f)
        """,
    )
    kinds = [
        flow.f,
        functools.partial(flow.f, 1),
        functools.partial(flow.f, 2),
        functools.partial(flow.f, y=1),
        flow.C,
        flow.C(1),
        flow.C(2),
        flow.C(1).method,
        flow.C(2).method,
        flow.C.make,
        flow.C.plain,
        flow.cached,
        math.sqrt,
        math.sin,
        "text".join,
        "other".join,
        print,
        int,
        textwrap.dedent,
    ]

    assert len({digest(kind) for kind in kinds}) == len(kinds)


def test_a_step_reached_as_a_global_counts_as_its_function(project):
    flow = project.load(
        "stepping",
        """
        from pipelite import step

        def plain(x):
            return x + 1

        @step(retries=1)
        def inner(x):
            return x + 1

        def f(x):
            return inner(x)
        """,
    )
    before = digest(flow.f)
    flow.inner = flow.inner.with_options(retries=5)
    same = digest(flow.f)
    flow.inner = flow.inner.with_options(version="2")

    assert same == before
    assert digest(flow.f) != before
    assert digest(flow.inner.func) == digest(flow.plain)


def test_options_of_the_decorator_do_not_count():
    def make(**options):
        @step(**options)
        def f(x):
            assert x
            return x + 1

        return f.func

    assert digest(make()) == digest(make(retries=3, timeout=5, name="other"))


def test_a_function_without_source_counts_by_its_bytecode():
    def make(text):
        names = {}
        exec(text, names)
        return names["f"]

    one, same, other = (make(f"def f(x):\n    return g(x) + {n}\ndef g(x):\n    return x") for n in (1, 1, 2))

    assert digest(one) == digest(same) != digest(other)
    assert "it has no source" in not_tracked(one)


def test_helpers_of_a_function_without_source_count():
    names = {}
    exec("def g(x):\n    return x\ndef f(x):\n    return g(x)", names)
    before = digest(names["f"])
    exec("def g(x):\n    return x + 1", names)

    assert digest(names["f"]) != before


def test_an_expression_that_is_nested_very_deeply_has_a_fingerprint(project):
    flow = project.load("deep", "def f(x):\n    return " + " + ".join(["x"] * 900) + "\n")
    other = project.load("deeper", "def f(x):\n    return " + " + ".join(["x"] * 901) + "\n")

    assert digest(flow.f) != digest(other.f)


def test_functions_whose_asserts_pytest_rewrote_have_fingerprints():
    def f(x):
        assert x > 1, "small"
        return x

    assert "function test_code.test_functions" in next(iter(parts(f))).replace("tests.fingerprint.", "")


# What people read


def test_parts_are_named_for_people(project):
    flow = project.load(
        "named_parts",
        """
        import attrs

        RATE = 0.5

        class Cleaner:
            pass

        def add_features(x):
            return attrs.asdict(Cleaner()), RATE

        def f(x):
            return add_features(x)
        """,
    )

    found = parts(flow.f, version="3")

    assert list(found) == [
        "function named_parts.f",
        "function named_parts.add_features",
        "package attrs",
        "constant named_parts.RATE",
        "class named_parts.Cleaner",
        "version",
    ]
    assert found["constant named_parts.RATE"] == "float:0.5"
    assert found["package attrs"] == importlib.import_module("importlib.metadata").version("attrs")


def test_what_cannot_be_seen_through_is_said(project):
    flow = project.load(
        "opaque",
        """
        import importlib, logging, sqlite3, threading

        client = sqlite3.connect(":memory:")
        log = logging.getLogger("x")
        lock = threading.Lock()

        def f(x, name):
            log.info("x")
            with lock:
                client.execute("select 1")
            importlib.import_module(name)
            eval("1 + 1")
            return getattr(x, name)
        """,
    )

    assert Fingerprinter().code(flow.f).not_tracked == (
        "function opaque.f: modules imported by a computed name cannot be followed",
        "function opaque.f: code given to eval() cannot be followed",
        "function opaque.f: attributes looked up by a computed name cannot be followed",
        "global 'opaque.client' (type sqlite3.Connection): only its type counts",
    )
    flow.client.close()


def test_an_object_of_an_own_class_that_holds_a_lock_counts_by_its_other_attributes(project):
    flow = project.load(
        "holds_lock",
        """
        import threading

        class Counter:
            def __init__(self, rate):
                self.rate = rate
                self.lock = threading.Lock()

        counter = Counter(1)

        def f():
            return counter.rate
        """,
    )
    before = digest(flow.f)
    same = flow.counter
    flow.counter = flow.Counter(1)
    assert digest(flow.f) == before
    flow.counter.rate = 2

    assert same.rate == 1
    assert digest(flow.f) != before


LOG, LOCK = logging.getLogger("a"), threading.Lock()


def test_loggers_and_locks_count_by_type_without_a_word():
    def f():
        LOG.info("x")
        return LOCK

    assert not_tracked(f) == ""


def test_a_path_in_a_global_counts_as_it_is_written(project):
    text = "from pathlib import Path\n\nHERE = Path(__file__).parent\nOUT = Path('out/{}')\n\ndef f():\n    return {}\n"
    flow = project.load("paths", text.format(1, "HERE"))
    before = digest(flow.f)
    (project.folder / "new").write_text("content")
    project.write("sub/paths2", text.format(1, "HERE"))
    monkey = importlib.import_module("sub.paths2")
    outs = [project.load(f"outs{n}", text.format(n, "OUT")) for n in (1, 2)]

    assert digest(flow.f) == before == digest(monkey.f)
    assert digest(outs[0].f) != digest(outs[1].f)


def test_paths_in_settings_count_as_they_are_written(project):
    text = """
        from dataclasses import dataclass
        from pathlib import Path

        @dataclass
        class Settings:
            data: Path
            rate: float = 0.5

        SETTINGS = Settings(Path("missing/{0}.csv"))
        TABLE = {{"here": Path(__file__).parent, "files": [Path("{0}")], "rate": 1}}

        def f():
            return SETTINGS

        def g():
            return TABLE
    """
    one, other = project.load("settings_one", text.format("a")), project.load("settings_two", text.format("b"))
    before = digest(one.f), digest(one.g)
    (project.folder / "new").write_text("content")

    assert (digest(one.f), digest(one.g)) == before
    assert digest(other.f) != digest(one.f)
    assert digest(other.g) != digest(one.g)
    one.SETTINGS.rate = 2
    assert digest(one.f) != before[0]


def test_functions_that_draw_from_the_common_generator_do_not_count_its_state(project):
    import random

    flow = project.load("draws", "from random import gauss, random\n\ndef f():\n    return random() + gauss(0, 1)\n")
    before = digest(flow.f)
    random.random()

    assert digest(flow.f) == before


def test_it_does_not_matter_whether_a_lazy_module_is_loaded_by_now(project):
    project.write(
        "lazy_part", "A, B = 1, 2\nTABLE = {}\nTABLE['x'] = A\n\ndef g(x):\n    return x + A + B + TABLE['x']\n"
    )
    flow = project.load("lazy_whole", "def f(x):\n    from lazy_part import g\n    return g(x)\n")
    before = digest(flow.f)
    loaded = importlib.import_module("lazy_part")
    loaded.TABLE["y"] = 2

    assert digest(flow.f) == before


def test_a_lazy_module_that_is_no_python_counts_by_its_bytes(project):
    project.write("broken", "def g(:\n")
    flow = project.load("uses_broken", "def f(x):\n    from broken import g\n    return g(x)\n")
    before = digest(flow.f)
    project.write("broken", "def g(::\n")

    assert digest(flow.f) != before


def test_a_constant_that_was_set_in_a_lazy_module_counts(project):
    project.write("lazy_rate", "RATE = 1\n\ndef g(x):\n    return x * RATE\n")
    flow = project.load("uses_rate", "def f(x):\n    from lazy_rate import g\n    return g(x)\n")
    before = digest(flow.f)
    importlib.import_module("lazy_rate").RATE = 2

    assert digest(flow.f) != before


def test_sources_are_the_own_files_that_were_reached(project):
    project.write("config", "RATE = 0.5\n")
    project.write("config_all", "from config import RATE\n")
    project.write("unreached", "X = 1\n")
    flow = project.load("reaches", "import unreached\nfrom config_all import RATE\n\ndef f(x):\n    return x * RATE\n")

    found = Fingerprinter().code(flow.f).sources

    assert {Path(path).name for path in found} == {"reaches.py", "config.py", "config_all.py"}
    assert all(Path(path).is_absolute() and len(value) == 64 for path, value in found.items())


# Options


def test_the_version_counts(project):
    flow = project.load("versions", "def f():\n    pass\n")

    assert len({digest(flow.f), digest(flow.f, version="1"), digest(flow.f, version="2")}) == 3


def test_the_content_of_depends_on_counts(project):
    flow = project.load("depends", "def f():\n    pass\n")
    schema = project.folder / "schema.json"
    schema.write_text("{}")
    before = digest(flow.f, depends_on=[schema])
    schema.write_text("[1]")

    assert digest(flow.f, depends_on=[schema]) != before
    assert any(
        label.startswith("depends_on ") and label.endswith("schema.json")
        for label in parts(flow.f, depends_on=[schema])
    )


def test_a_missing_path_in_depends_on_is_an_error(project):
    flow = project.load("missing_path", "def f():\n    pass\n")

    with pytest.raises(UnhashableError, match=r"nowhere\.json"):
        digest(flow.f, depends_on=[project.folder / "nowhere.json"])


def test_a_tracked_package_counts_by_its_source(project):
    installed = project.folder / "site-packages"
    (installed / "tracked").mkdir(parents=True)
    (installed / "tracked" / "__init__.py").write_text("def run(x):\n    return x + 1\n")
    sys.path.insert(0, str(installed))
    try:
        flow = project.load("tracks", "import tracked\n\ndef f(x):\n    return tracked.run(x)\n")

        plain, followed = parts(flow.f), parts(flow.f, track=("tracked",))
    finally:
        sys.path.remove(str(installed))

    assert "package tracked" in plain
    assert "function tracked.run" in followed
    assert "package tracked" not in followed


# Values


def test_an_instance_of_an_own_class_counts_with_the_code_of_the_class(project):
    text = "class C:\n    def __init__(self):\n        self.x = 1\n    def m(self):\n        return {}\n"
    one, same, other = (project.load(f"values{i}", text.format(n)) for i, n in enumerate((1, 1, 2)))

    identities = [Fingerprinter().value([module.C()]) for module in (one, same, other)]

    assert identities[0] == identities[1] != identities[2]


def test_functions_are_values_too(project):
    flow = project.load("as_values", "RATE = 1\n\ndef f(x):\n    return x + RATE\n\ndef g(x):\n    return x + 2\n")
    one = Fingerprinter().value({"a": flow.f})
    flow.RATE = 3

    assert len({one, Fingerprinter().value({"a": flow.f}), Fingerprinter().value({"a": flow.g})}) == 3


def test_one_fingerprinter_gives_one_answer_whatever_it_saw_before(project):
    flow = project.load(
        "order",
        """
        class C:
            def m(self):
                return DEFAULT

        DEFAULT = C()
        TABLE = {"c": C, "f": lambda: DEFAULT}

        def f():
            return C()

        def g():
            return DEFAULT

        def h():
            return TABLE
        """,
    )
    forward, backward = Fingerprinter(), Fingerprinter()
    functions = [flow.f, flow.g, flow.h]

    there = [forward.code(func).digest for func in functions]
    back = [backward.code(func).digest for func in reversed(functions)]

    assert there == back[::-1] == [digest(func) for func in functions]
