"""What cannot be stored fails its step within five seconds, says why, and leaves nothing behind."""

import signal
import socket
import threading
import time

import numpy as np
import pytest

from pipelite.errors import SerializationError
from pipelite.fingerprint.modules import qualified_name
from pipelite.fingerprint.values import identify_value
from pipelite.store.artifacts import ArtifactStore


def identify(value):
    return identify_value(value, own_class=qualified_name)


class Raising:
    def __reduce__(self):
        raise ValueError("no way")


class Sleeping:
    def __reduce__(self):
        time.sleep(60)


class Waiting:
    def __reduce__(self):
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()


class Polling:
    def __reduce__(self):
        while True:
            try:
                time.sleep(0.01)
            except Exception:
                continue


class SlowButWorking:
    """Computes for longer than the limit."""

    def __reduce__(self):
        end = time.thread_time() + 4.5
        while time.thread_time() < end:
            pass
        return SlowButWorking, ()


class Model:
    def __init__(self, part):
        self.part = part


def nest():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.fixture
def root(tmp_path):
    return tmp_path / "workspace"


def fail_to_put(root, value):
    began = time.monotonic()
    with pytest.raises(SerializationError) as caught:
        ArtifactStore(root).put(value, output="model", step="fit", identify=identify)

    assert time.monotonic() - began < 5
    assert [path for path in root.rglob("*") if path.is_file()] == []
    assert (caught.value.step, caught.value.output) == ("fit", "model")
    message = str(caught.value)
    assert "step 'fit', output 'model'" in message
    return message


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: lambda: 1, "function", "nothing can import"),
        (lambda: (number for number in [1]), "generator", "return list(...)"),
        (threading.Lock, "_thread.lock", "create it in the step"),
        (socket.socket, "socket.socket", "connect in the step"),
        (nest, "list", "nested too deeply"),
        (Raising, f"{__name__}.Raising", "ValueError: no way"),
        (Sleeping, f"{__name__}.Sleeping", "waits for something"),
        (Waiting, f"{__name__}.Waiting", "waits for something"),
        (Polling, f"{__name__}.Polling", "waits for something"),
    ],
)
def test_an_output_that_cannot_be_stored_is_an_error_with_step_output_and_type(root, make, kind, words):
    value = make()

    message = fail_to_put(root, value)

    assert f"type {kind!r}" in message
    assert words in message
    if isinstance(value, socket.socket):
        value.close()


def test_an_open_file_cannot_be_stored(root, tmp_path):
    with open(tmp_path / "x", "w") as file:
        message = fail_to_put(root, file)

    assert "type '_io.TextIOWrapper'" in message
    assert "return its pathlib.Path" in message


def test_a_local_function_and_an_instance_of_a_local_class_cannot_be_stored(root):
    class Local:
        pass

    def local():
        pass

    assert "type 'function'" in fail_to_put(root, local)
    assert "Local'" in fail_to_put(root, Local())


def test_the_part_to_blame_is_named(root):
    message = fail_to_put(root, {"models": [Model(1), Model({"lock": threading.Lock()})]})

    assert "the part at ['models'][1].part['lock'] is of type '_thread.lock'" in message
    assert "type 'dict'" in message


def test_nothing_is_left_of_a_large_value_with_an_unstorable_end(root):
    fail_to_put(root, [np.zeros(1_000_000), b"x" * 1_000_000, threading.Lock()])


def test_a_slow_but_working_reduction_is_stored(root):
    ref = ArtifactStore(root).put(SlowButWorking(), output="model", step="fit", identify=lambda value: "slow")

    assert ref.kind == "pickle"


def test_a_timer_of_the_step_itself_still_fires(root):
    rings = []
    before = signal.signal(signal.SIGALRM, lambda *_: rings.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        ArtifactStore(root).put((1,), output="model", step="fit", identify=identify)

        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 0.2
        signal.sigtimedwait([signal.SIGUSR1], 2)
        assert rings == [1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_value_is_stored_from_a_thread_too(root):
    refs = []

    def put():
        refs.append(ArtifactStore(root).put((1,), output="model", step="fit", identify=identify))

    thread = threading.Thread(target=put)
    thread.start()
    thread.join()

    assert refs[0].kind == "pickle"
