"""Whose turn it is to act on what a run hears."""

import threading
import time

import pytest

from pipelite.execute.inbox import Inbox

N_THREADS = 6
N_EVENTS = 2_000


def test_every_event_is_called_once_and_never_two_at_a_time():
    inbox = Inbox()
    called: list[tuple[int, int]] = []
    within = 0
    most_within = 0
    callers = set()

    def event(thread: int, number: int) -> None:
        nonlocal within, most_within
        within += 1
        most_within = max(most_within, within)
        callers.add(threading.get_ident())
        called.append((thread, number))
        within -= 1

    def bring(thread: int) -> None:
        for number in range(N_EVENTS):
            if thread % 2:
                inbox.put(lambda number=number: event(thread, number))
            else:
                inbox.put_here(lambda number=number: event(thread, number), inbox.take_in)

    threads = [threading.Thread(target=bring, args=(thread,)) for thread in range(N_THREADS)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 60
    while len(called) < N_THREADS * N_EVENTS and time.monotonic() < until:
        inbox.wait(1.0)
        inbox.take_in()
    for thread in threads:
        thread.join()

    assert sorted(called) == [(thread, number) for thread in range(N_THREADS) for number in range(N_EVENTS)]
    assert most_within == 1


def test_while_its_own_thread_waits_the_one_that_brings_an_event_acts_on_it():
    inbox = Inbox()
    acted_in = []

    def bring() -> None:
        # The first may come before the other thread waits.
        while threading.get_ident() not in acted_in:
            inbox.put_here(lambda: acted_in.append(threading.get_ident()), inbox.take_in)
            time.sleep(0.001)

    other = threading.Thread(target=bring)
    other.start()
    until = time.monotonic() + 60
    while other.is_alive() and time.monotonic() < until:
        inbox.wait(0.05)
    other.join(1.0)

    assert set(acted_in) == {other.ident}


def test_while_its_own_thread_is_at_work_an_event_waits_for_it():
    inbox = Inbox()
    acted_in = []
    other = threading.Thread(
        target=inbox.put_here, args=(lambda: acted_in.append(threading.get_ident()), inbox.take_in)
    )

    other.start()
    other.join()
    assert acted_in == []
    inbox.wait(30.0)

    assert inbox.take_in()
    assert acted_in == [threading.get_ident()]


def test_what_an_event_raises_reaches_the_thread_that_called_it_and_the_others_wait():
    inbox = Inbox()

    def fail() -> None:
        raise OSError("the disk is full")

    inbox.put(fail)
    inbox.put(lambda: None)

    with pytest.raises(OSError, match="the disk is full"):
        inbox.take_in()
    assert not inbox.is_empty()
