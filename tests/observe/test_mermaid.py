"""Drawings of graphs and of runs."""

from __future__ import annotations

from pipelite import step
from pipelite.define import trace
from pipelite.observe import to_mermaid
from pipelite.store import get_step_runs


@step
def load(n):
    return n


@step
def fit(x):
    return x


def draw(body):
    return to_mermaid(trace(body, {}, name="train")).splitlines()


def test_arrows_follow_the_data_and_dotted_ones_the_order():
    def body():
        first = load(1)
        fit(first)
        load(2).after(first)

    assert draw(body) == [
        "flowchart TD",
        '    n0["load"]',
        '    n1["fit"]',
        '    n2["load-2"]',
        "    n0 --> n1",
        "    n0 -.-> n2",
    ]


def test_a_short_fan_out_has_a_frame():
    def body():
        fit.map([load(1), 2])

    assert draw(body) == [
        "flowchart TD",
        '    n0["load"]',
        '    subgraph sn1["fit"]',
        '        n1["fit[0]"]',
        '        n2["fit[1]"]',
        "    end",
        "    n0 --> n1",
    ]


def test_a_long_fan_out_is_one_box_and_has_each_arrow_once():
    def body():
        fit.map(fit.with_options(name="prepare").map(range(1000)))

    assert draw(body) == [
        "flowchart TD",
        '    n0[["prepare (1,000 steps)"]]',
        '    n1000[["fit (1,000 steps)"]]',
        "    n0 --> n1000",
    ]


def test_a_map_over_an_output_is_a_box_for_steps_that_are_not_known_yet():
    def body():
        fit(fit.map(load(1)))

    assert draw(body) == [
        "flowchart TD",
        '    n0["load"]',
        '    n1[["fit (one step per element)"]]',
        '    n2["fit-2"]',
        "    n0 --> n1",
        "    n1 --> n2",
    ]


def test_names_cannot_break_out_of_their_label():
    def body():
        load.with_options(name='a"; --> <b> #`')(1)

    assert draw(body)[1] == '    n0["a#34;; --#62; #60;b#62; #35;#96;"]'


def test_a_stored_run_is_drawn_with_its_states(records):
    origin = {"x": {"id": "int:1", "from": [["load", "result"]]}}
    run = records.run(
        records.step("load", status="reused"),
        records.step("fit", key="k2", inputs=origin),
        records.step("report", key="k3", after=["fit", "load"], inputs=origin),
    )

    lines = to_mermaid(get_step_runs(records.store, run.id)).splitlines()

    assert "    n0 --> n1" in lines
    assert "    n0 --> n2" in lines
    assert "    n1 -.-> n2" in lines
    assert "    class n0 reused" in lines
    assert "    class n1,n2 completed" in lines
    assert sum(line.startswith("    classDef ") for line in lines) == 2


def test_a_box_of_many_steps_shows_the_state_that_matters_most(records):
    steps = [records.step(f"fit[{number}]", key=f"k{number}") for number in range(20)]
    steps[7]["status"] = "failed"
    run = records.run(*steps)

    lines = to_mermaid(get_step_runs(records.store, run.id)).splitlines()

    assert lines[1] == '    n0[["fit (20 steps)"]]'
    assert lines[-1] == "    class n0 failed"
