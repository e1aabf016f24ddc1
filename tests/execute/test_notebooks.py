"""Steps of a notebook: they travel by value, count by the cell that was run last, and share results between kernels."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient

SETUP = """
from pipelite import pipeline, step
SCALE = {scale}

class Box:
    def __init__(self, value):
        self.value = value

def helper(x):
    return x * SCALE
"""
STEPS = """
@step
def make(x):
    return Box(helper(x))

@step
def add(box):
    assert isinstance(box, Box), type(box)
    return box.value + {offset}

@pipeline
def flow(x: int = 1):
    box = make(x)
    return {{"box": box, "sum": add(box)}}
"""
SHOW = """
run = flow.with_options(quiet=True).run()
print(run.outputs["sum"], isinstance(run.outputs["box"], Box), [s.status for s in run.steps.values()])
"""


@pytest.fixture
def run_cells(workspace):
    """Runs cells in one fresh kernel; gives what each printed."""

    def run(*cells: str) -> list[str]:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
        return ["".join(output.get("text", "") for output in cell.outputs).strip() for cell in notebook.cells]

    return run


def test_a_redefined_cell_recomputes_what_it_changed_and_another_kernel_finds_the_results(run_cells):
    first = STEPS.format(offset=0)
    second = STEPS.format(offset=5)

    shown = run_cells(SETUP.format(scale=10), first, SHOW, SHOW, second, SHOW, SETUP.format(scale=20) + second, SHOW)
    again = run_cells(SETUP.format(scale=10), first, "", "", SHOW)

    assert shown[2] == "10 True ['completed', 'completed']"
    assert shown[3] == "10 True ['reused', 'reused']"
    assert shown[5] == "15 True ['reused', 'completed']"
    assert shown[7] == "25 True ['completed', 'completed']"
    assert "['reused', 'reused']" in again[4]
