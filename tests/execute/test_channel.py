"""The way to a worker and back, with a thread in the worker's place."""

import os
import pickle
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor

import pytest

from pipelite.execute.channel import Channel
from pipelite.execute.framing import frame, is_readable, receive, send
from pipelite.execute.messages import Batch, Returned
from pipelite.execute.slots import Slot

LARGE = 20 * 2**20


class FarEnd:
    """What a worker's process would hold."""

    def __init__(self, channel: Channel) -> None:
        self.socket = socket.socket(fileno=os.dup(channel.worker_end.fileno()))
        channel.open()

    def receive(self) -> bytes | None:
        return receive(self.socket.fileno())

    def send(self, payload: bytes) -> None:
        send(self.socket.fileno(), payload)


@pytest.fixture
def channel() -> Channel:
    return Channel()


@pytest.fixture
def far(channel: Channel) -> Iterator[FarEnd]:
    far = FarEnd(channel)
    yield far
    channel.close()
    far.socket.close()


def test_answers_belong_to_what_was_asked_in_that_order(channel, far):
    futures = [channel.submit(f"{number}".encode()) for number in range(100)]
    for _ in futures:
        asked = far.receive()
        assert asked is not None
        far.send(b"answer to " + asked)

    assert [future.result(10) for future in futures] == [f"answer to {number}".encode() for number in range(100)]


def test_sending_does_not_wait_for_a_worker_that_reads_later(channel, far):
    sent = [os.urandom(LARGE), b"small", os.urandom(LARGE)]

    futures = [channel.submit(payload) for payload in sent]

    assert not any(future.done() for future in futures)
    assert [far.receive() for _ in sent] == sent
    # The way is free again.
    channel.submit(b"next")
    assert far.receive() == b"next"


def test_a_large_answer_arrives_whole(channel, far):
    answer = os.urandom(LARGE)
    future = channel.submit(b"?")
    far.receive()

    threading.Thread(target=far.send, args=(answer,)).start()

    assert future.result(30) == answer


def test_what_a_worker_answered_before_it_died_counts_and_the_rest_is_lost(channel, far):
    futures = [channel.submit(b"?") for _ in range(3)]
    far.send(b"first")
    far.send(b"second")
    # It died in the middle of a message.
    os.write(far.socket.fileno(), frame(b"third")[:-1])
    far.socket.close()

    assert [future.result(10) for future in futures[:2]] == [b"first", b"second"]
    with pytest.raises(BrokenExecutor, match="the connection to its worker is closed"):
        futures[2].result(10)
    with pytest.raises(RuntimeError, match="the connection to its worker is closed"):
        channel.submit(b"?")


def test_a_worker_that_is_dismissed_finds_the_end_behind_what_it_was_sent(channel, far):
    future = channel.submit(b"last")

    channel.close()

    assert far.receive() == b"last"
    assert is_readable(far.socket.fileno(), 10)
    assert far.receive() is None
    with pytest.raises(BrokenExecutor):
        future.result(10)


def test_a_worker_that_dies_with_much_unread_leaves_no_thread_behind():
    before = set(threading.enumerate())
    channel = Channel()
    far = FarEnd(channel)
    future = channel.submit(os.urandom(LARGE))
    started = set(threading.enumerate()) - before
    assert {thread.name for thread in started} == {"pipelite-batches", "pipelite-results"}

    far.socket.close()

    with pytest.raises(BrokenExecutor):
        future.result(10)
    for thread in started:
        thread.join(10)
        assert not thread.is_alive()


class Unreadable:
    """Can be sent, but not received."""

    def __reduce__(self):
        return int, ("no number",)


def test_a_batch_that_a_worker_cannot_read_comes_back_with_the_reason():
    slot = Slot(0)
    try:
        returned: Returned = pickle.loads(slot.submit(Batch(Unreadable(), (), (), 1.0)).result(30))
    finally:
        slot.replace()

    assert returned.outcomes == ()
    assert returned.is_spent
    assert returned.loss is not None
    assert "could not go on: ValueError" in returned.loss
