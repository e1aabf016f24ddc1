"""A pipeline whose graph is drawn from a seed; its steps tell a ledger outside of the workspace what was acknowledged."""

from __future__ import annotations

import hashlib
import json
import os
import random
import time
from pathlib import Path

from pipelite import current_run, pipeline, step


def tell(what: str, value: object) -> None:
    """Add a line to the ledger, in one write, so that it is there whatever happens to this process next."""
    here = current_run()
    who = {"step": here.name, "attempt": here.attempt, "process": os.getpid()}
    line = json.dumps({**who, "what": what, "value": value})
    descriptor = os.open(os.environ["CHAOS_LEDGER"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, line.encode() + b"\n")
    os.close(descriptor)


def work(number: int, pause_s: float) -> None:
    if "CHAOS_LEDGER" not in os.environ:
        # Called directly, for nothing but what it makes.
        return
    tell("started", number)
    for part in range(3):
        value = number * 1000 + part
        current_run().log("part", value, step=part)
        tell("logged", value)
        text = f"line {value}"
        print(text, flush=True)
        tell("printed", text)
        time.sleep(pause_s / 3)
    current_run().tag(f"tag-{number}", str(number))
    tell("tagged", number)


def mix(number: int, inputs: list[object]) -> str:
    return hashlib.sha256(repr((number, inputs)).encode()).hexdigest()


@step
def value(number: int, pause_s: float, inputs: list):
    work(number, pause_s)
    return mix(number, inputs)


@step(cache=False)
def never_cached(number: int, pause_s: float, inputs: list):
    work(number, pause_s)
    return mix(number, inputs)


@step
def effect(number: int, pause_s: float, inputs: list):
    work(number, pause_s)


@step(retries=1)
def large(number: int, pause_s: float, inputs: list):
    work(number, pause_s)
    return [mix(number, inputs)] * 5000


@step
def report(number: int, pause_s: float, inputs: list):
    work(number, pause_s)
    path = current_run().scratch / f"report-{number}.txt"
    path.write_text(mix(number, inputs) * 1000)
    return path


@step
def combine(inputs: list):
    return mix(0, [part.read_text() if isinstance(part, Path) else part for part in inputs])


KINDS = (value, value, never_cached, effect, large, report)


@pipeline
def flow(seed: int, n_steps: int, salt: int = 0):
    """Steps of all kinds, each of which takes what some earlier ones made."""
    draw = random.Random(seed)
    made: list = []
    for number in range(n_steps - 1):
        kind = draw.choice(KINDS)
        # A report arrives as a path, which is another one in every workspace: only `combine` looks into it.
        usable = [output for kind, output in made if kind is not report]
        inputs = draw.sample(usable, min(len(usable), draw.randint(0, 3)))
        pause_s = draw.choice((0.0, 0.0, 0.02, 0.1))
        made.append((kind, kind(salt * 100 + number, pause_s, inputs)))
    return {"digest": combine([output for _, output in made])}
