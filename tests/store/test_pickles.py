"""Values of the classes of a script or a notebook load wherever they are needed."""

import functools
import os
import subprocess
import sys
import threading

import pytest

from pipelite.store.pickles import dumps_value, loads_value

COMMON = """
import sys
from pathlib import Path
from pipelite.fingerprint import Fingerprinter
from pipelite.records import ArtifactRef
from pipelite.store.artifacts import ArtifactStore

store = ArtifactStore(Path("workspace"))

def put(value):
    return store.put(value, output="result", step="make", identify=Fingerprinter().value)
"""

SCRIPT = (
    COMMON
    + """
import enum, functools, json, attrs

class Kind(enum.Enum):
    SMALL = 1

class Model:
    class Part:
        pass
    def __init__(self, n):
        self.n, self.kind, self.parts = n, Kind.SMALL, [Model.Part()]
    def predict(self):
        return helper(self.n)

def helper(n):
    return n + 1

def give():
    return Model(4)

def check(value):
    model, cls, function, method, partial = value
    assert isinstance(model, Model) and cls is Model and function is helper
    assert model.predict() == method() == 5 and partial() == 10
    assert model.kind is Kind.SMALL and isinstance(model.parts[0], Model.Part)

def save(name):
    model = Model(4)
    ref = put([model, Model, helper, model.predict, functools.partial(helper, 9)])
    Path(name).write_text(json.dumps(attrs.asdict(ref)))

def load(name):
    check(store.load(ArtifactRef(**json.loads(Path(name).read_text()))))

if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
"""
)


def run(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "flow.py").write_text(SCRIPT)
    return tmp_path


AS_SCRIPT = ("flow.py",)
AS_MODULE = ("-m", "flow")
IMPORTED = ("-c", "import flow, sys; getattr(flow, sys.argv[1])(sys.argv[2])")


@pytest.mark.parametrize("load", [AS_SCRIPT, AS_MODULE, IMPORTED])
@pytest.mark.parametrize("save", [AS_SCRIPT, AS_MODULE, IMPORTED])
def test_what_a_script_stores_loads_however_it_is_started(folder, save, load):
    run(folder, *save, "save", "ref.json")
    run(folder, *load, "load", "ref.json")


def test_a_spawned_worker_of_a_script_exchanges_its_classes_with_it(folder):
    (folder / "spawning.py").write_text(
        SCRIPT.partition("if __name__")[0]
        + """
import multiprocessing
from pipelite.store.pickles import dumps_value, loads_value

def work(data):
    check(loads_value(data))
    return dumps_value(Model(4)), put([Model(4)])

if __name__ == "__main__":
    model = Model(4)
    sent = dumps_value([model, Model, helper, model.predict, functools.partial(helper, 9)])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        received, ref = pool.apply(work, (sent,))
    assert isinstance(loads_value(received), Model)
    assert isinstance(store.load(ref)[0], Model)
    assert ref == put([Model(4)])
"""
    )

    run(folder, "spawning.py")


NOTEBOOK = (
    COMMON
    + """
OFFSET = 10

class Model:
    def __init__(self, n):
        self.n = n
    def predict(self):
        return helper(self.n)
    def again(self):
        return Model(self.n)

def helper(n):
    return n + OFFSET
"""
)


def notebook(folder, name, *lines):
    """Run lines in a process in which nothing but `__main__` holds what is defined, as in a kernel."""
    (folder / name).write_text(NOTEBOOK + "\n".join(lines))
    return run(folder, "-c", f"exec(compile(open({name!r}).read(), '<ipython-input-1>', 'exec'))")


def test_what_a_notebook_stores_comes_back_to_its_own_class(folder):
    notebook(
        folder,
        "cell",
        "ref = put([Model(1), Model, helper])",
        "model, cls, function = store.load(ref)",
        "assert isinstance(model, Model) and cls is Model and model.predict() == 11 and function(2) == 12",
    )


def test_what_a_notebook_stored_loads_in_a_later_session_and_where_its_class_is_unknown(folder):
    path = notebook(folder, "first", "print(store.path(put([Model(1), helper])))")
    load = f"from pipelite.store.containers import load_pickle; model, function = load_pickle(Path({path!r}))"

    notebook(folder, "second", load, "assert isinstance(model, Model) and type(model.again()) is Model")
    (folder / "elsewhere.py").write_text(
        f"from pathlib import Path\n{load}\nassert (model.predict(), function(1), type(model).__name__) == (11, 11, 'Model')\n"
        "assert type(model.again()) is type(model)\n"
        "from pipelite.store.pickles import dumps_value\n"
        "class Own: pass\n"
        "assert b'elsewhere' in dumps_value(Own()) and b'cloudpickle' not in dumps_value(Own())\n"
    )
    run(folder, "elsewhere.py")


def test_a_worker_gives_back_an_instance_of_the_class_of_the_notebook(folder):
    (folder / "worker.py").write_text(
        COMMON
        + """
import json, attrs
from pipelite.store.pickles import dumps_value, loads_value

model, function = loads_value(Path("sent").read_bytes())
Path("received").write_bytes(dumps_value([model.again(), function]))
Path("ref.json").write_text(json.dumps(attrs.asdict(store.put(model.again(), output="o", step="s", identify=str))))
"""
    )

    notebook(
        folder,
        "cell",
        "import json, subprocess",
        "from pipelite.store.pickles import dumps_value, loads_value",
        "Path('sent').write_bytes(dumps_value([Model(1), lambda n: helper(n)]))",
        "subprocess.run([sys.executable, 'worker.py'], check=True)",
        "model, function = loads_value(Path('received').read_bytes())",
        "assert isinstance(model, Model) and function(2) == 12",
        "assert isinstance(store.load(ArtifactRef(**json.loads(Path('ref.json').read_text()))), Model)",
    )


def test_an_open_file_and_a_lock_of_a_notebook_cannot_be_stored(folder):
    notebook(
        folder,
        "cell",
        "import threading",
        "from pipelite.errors import SerializationError",
        "for value in [open('flow.py'), threading.Lock(), (n for n in [])]:",
        "    try: put([value, Model])",
        "    except SerializationError as exc: assert type(value).__name__ in str(exc), exc",
        "    else: raise AssertionError(value)",
    )


def test_a_lambda_of_a_script_travels_to_a_worker_but_is_not_stored(folder):
    (folder / "lambdas.py").write_text(
        SCRIPT.partition("if __name__")[0]
        + """
from pipelite.errors import SerializationError
from pipelite.store.pickles import dumps_value, loads_value

assert loads_value(dumps_value({"key": lambda n: isinstance(Model(n), Model) and helper(n)}))["key"](4) == 5
try:
    put(lambda n: n)
except SerializationError:
    print("refused")
"""
    )

    assert run(folder, "lambdas.py") == "refused"


def local_function(n):
    def inner(m):
        return n + m

    return inner


@pytest.mark.parametrize(
    "value",
    [None, 1, "a", [1, {"a": (2,)}], len, os.path.join, threading.Lock, functools.partial(int, base=2), "__main__"],
)
def test_a_value_comes_back_from_its_bytes(value):
    found = loads_value(dumps_value(value))

    assert getattr(found, "args", found) == getattr(value, "args", value)


def test_functions_without_a_name_travel_by_value():
    assert loads_value(dumps_value(local_function(2)))(3) == 5
    assert loads_value(dumps_value([lambda: 7]))[0]() == 7


def test_what_cannot_travel_is_an_error():
    with pytest.raises(TypeError, match="lock"):
        dumps_value([threading.Lock()])
