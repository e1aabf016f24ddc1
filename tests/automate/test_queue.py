"""Runs wait in line, are executed once, and survive whatever dies."""

import os
import signal
import subprocess
import sys
import time

import pytest

from pipelite import Workspace
from pipelite.api.starting import resume_run
from pipelite.automate import queue
from pipelite.errors import PublishError, ResumeError

pytestmark = pytest.mark.filterwarnings("ignore:run .* waits in the queue")


def wait_until(holds, timeout_s: float = 60.0):
    until = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def runs_in_order():
    return sorted((run for run in Workspace().runs() if run.started_at), key=lambda run: run.started_at)


def test_runs_start_in_the_order_of_their_priority_and_then_of_their_calls(flow, serve):
    published = flow().lasting.publish("Lasting")
    for tag, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5)):
        published.submit(tag=tag, count=1, seconds=0.05, priority=priority)

    serve(total=1)

    wait_until(lambda: len([run for run in Workspace().runs() if run.status == "completed"]) == 4)
    assert [run.parameters["tag"] for run in runs_in_order()] == ["b", "d", "a", "c"]


def test_no_more_run_at_once_than_is_allowed_for_the_box_and_for_a_name(flow, serve):
    first, second = flow().lasting.publish("First"), flow().lasting.publish("Second")
    runs = [
        each.submit(tag=f"{each.name}{number}", count=1, seconds=0.3) for number in range(3) for each in (first, second)
    ]

    serve(total=2, per_name=1)

    seen = set()

    def look():
        at_work = [run.record.options["published"]["name"] for run in runs if run.status == "running"]
        assert len(at_work) == len(set(at_work)) <= 2
        seen.add(tuple(sorted(at_work)))
        return all(run.status == "completed" for run in runs)

    wait_until(look)
    assert ("First", "Second") in seen


def test_a_runner_is_kept_for_the_next_run_of_its_version(flow, serve):
    published = flow().train.publish("Adding")
    dispatcher = serve()
    published.submit(n=1).wait(60)
    [(process, _, _)] = dispatcher.runners()

    run = published.submit(n=2).wait(60)

    assert [found for found, _, _ in dispatcher.runners()] == [process]
    assert run.started_at - run.record.created_at < (run.ended_at - run.record.created_at)


def test_a_run_whose_runner_is_killed_goes_on_by_itself_and_repeats_no_finished_step(flow, serve, ledger):
    published = flow().lasting.publish("Lasting")
    dispatcher = serve()
    run = published.submit(tag="s", count=4, seconds=0.4)
    wait_until(lambda: "s2" in ledger())
    [(process, _, _)] = dispatcher.runners()

    os.kill(process, signal.SIGKILL)

    wait_until(lambda: run.status == "completed")
    assert [ledger().count(f"s{number}") for number in range(4)] == [1, 1, 2, 1]


def test_a_run_that_kills_its_runners_is_given_up_in_words(flow, serve):
    serve()

    run = flow().deadly.publish("Deadly").submit()

    wait_until(lambda: run.status == "failed")
    assert run.error == (
        f"its runner ended 3 times in the middle of the run; `pipelite runs resume {run.id}` tries once more"
    )


def test_a_canceled_run_leaves_the_queue_or_its_runner(flow, serve, ledger):
    published = flow().lasting.publish("Lasting")
    waiting = published.submit(tag="w")
    waiting.cancel()
    serve(total=1)
    running = published.submit(tag="r", count=100)
    wait_until(lambda: "r1" in ledger())

    running.cancel()

    wait_until(lambda: running.status == "canceled")
    assert waiting.status == "canceled"
    assert published.submit(tag="n", count=1).wait(60).status == "completed"
    assert "w0" not in ledger()


def test_a_run_that_is_canceled_while_a_runner_prepares_to_go_on_with_it_stays_so(flow):
    lasting = flow().lasting
    run = lasting.publish("Lasting").submit(tag="t")
    with Workspace().store.database.write() as connection:
        connection.execute("UPDATE runs SET status = 'interrupted' WHERE id = ?", (run.id,))
    seen = run.record
    run.cancel()

    with pytest.raises(ResumeError, match="was canceled just now"):
        resume_run(lasting, {"tag": "t"}, seen)

    assert run.status == "canceled"
    # Who sees that it was canceled, and wants to, may.
    assert resume_run(lasting.with_options(quiet=True), {"tag": "t"}, run.record).wait(60).status == "completed"


def test_what_ends_goes_back_into_the_queue_and_is_resumed_by_who_serves_next(flow, serve, ledger):
    published = flow().lasting.publish("Lasting")
    first = serve()
    run = published.submit(tag="s", count=4, seconds=0.3)
    wait_until(lambda: "s1" in ledger())

    first.stop(grace_s=10)

    assert run.status == "interrupted"
    assert first.runners() == []
    serve()
    wait_until(lambda: run.status == "completed")
    assert sorted(ledger()) == ["s0", "s1", "s2", "s3"]


def test_equal_idempotency_keys_are_one_run(flow):
    published = flow().train.publish("Adding")
    store = Workspace().store
    version = published._version

    first, is_new = queue.submit(store, version, {"n": 3}, idempotency_key="k")
    again, is_new_again = queue.submit(store, version, {"n": 3}, idempotency_key="k")

    assert (is_new, is_new_again) == (True, False)
    assert first.id == again.id
    with pytest.raises(PublishError, match="the idempotency key 'k' was used for another request"):
        queue.submit(store, version, {"n": 4}, idempotency_key="k")


SERVER = """
import signal, sys, time
from pipelite import Workspace
from pipelite.automate import Dispatcher, Limits

dispatcher = Dispatcher(Workspace().store, Limits(total=2))
dispatcher.start()
print("ready", flush=True)
sys.stdin.read()
dispatcher.stop(grace_s=0.1)
"""


@pytest.fixture
def server():
    started = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.stdin.close()
        process.stdout.close()
        process.wait(30)


def test_two_servers_share_the_queue_and_execute_each_run_once(flow, server, ledger):
    published = flow().lasting.publish("Lasting")
    runs = [published.submit(tag=f"{number}-", count=1, seconds=0.05) for number in range(12)]

    server(), server()

    wait_until(lambda: all(run.status == "completed" for run in runs))
    assert sorted(ledger()) == sorted(f"{number}-0" for number in range(12))


def test_a_run_outlives_the_server_that_took_it_and_is_not_begun_again(flow, server, ledger):
    published = flow().lasting.publish("Lasting")
    run = published.submit(tag="s", count=4, seconds=0.4)
    first = server()
    wait_until(lambda: "s1" in ledger())

    first.kill()
    server()

    wait_until(lambda: run.status == "completed")
    assert sorted(ledger()) == ["s0", "s1", "s2", "s3"]
