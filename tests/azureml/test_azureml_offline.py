"""`Run.get_context()` outside of a run."""

from __future__ import annotations

import pytest

from pipelite.azureml.core import Run, script_run
from pipelite.azureml.exceptions import RunEnvironmentException, UserErrorException


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(script_run, "_context", None)
    return Run.get_context()


def test_it_is_the_same_each_time_and_may_be_refused(offline):
    assert Run.get_context() is offline
    assert offline.id.startswith("OfflineRun_")
    with pytest.raises(RunEnvironmentException, match="not part of a run"):
        Run.get_context(allow_offline=False)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda run: run.log("accuracy", 0.5), "Attempted to log 'accuracy', 0.5"),
        (lambda run: run.log("accuracy", 0.5, step=3), "Attempted to log 'accuracy', 0.5, step=3"),
        (lambda run: run.log_list("all", [1, 2]), "Attempted to log_list 'all', [1, 2]"),
        (lambda run: run.log_row("row", x=1), "Attempted to log_row 'row', x=1"),
        (lambda run: run.log_table("table", {"x": 1}), "Attempted to log_table 'table', {'x': [1]}"),
        (lambda run: run.log_image("image", path="a.png"), "Attempted to log_image 'image', 'a.png'"),
        (
            lambda run: run.log_confusion_matrix("m", {"data": {"matrix": [[1]], "class_labels": ["a"]}}),
            "Attempted to log_confusion_matrix 'm', [[1]], ['a']",
        ),
        (lambda run: run.log_predictions("p", '{"data": {"x": 1}}'), "Attempted to log_table 'p'"),
        (lambda run: run.log_residuals("p", {"data": {"x": 1}}), "Attempted to log_table 'p'"),
        (lambda run: run.log_accuracy_table("p", {"data": {"x": 1}}), "Attempted to log_table 'p'"),
        (lambda run: run.upload_file("name", "path"), "Attempted to upload_file 'name', 'path'"),
        (lambda run: run.upload_files(["name"], ["path"]), "Attempted to upload_file 'name', 'path'"),
        (lambda run: run.tag("a", "b"), "Attempted to tag 'a', 'b'"),
        (lambda run: run.set_tags({"a": 1}), "Attempted to tag 'a', '1'"),
        (lambda run: run.remove_tags(["a"]), "Attempted to remove tag 'a'"),
        (lambda run: run.add_properties({"a": 1}), "Attempted to add property 'a', '1'"),
        (lambda run: run.child_run("part").log("x", 1), "Attempted to log 'part/x', 1"),
        (lambda run: run.complete(), "Attempted to complete the run"),
        (lambda run: run.fail(), "Attempted to fail the run"),
    ],
)
def test_it_prints_every_call(offline, capsys, call, said):
    call(offline)
    assert capsys.readouterr().out.startswith(said)


def test_it_remembers_what_it_was_told(offline, capsys):
    for value in (1, 2):
        offline.log("x", value)
    with offline as same:
        same.log("y", 3)
    offline.set_tags({"a": 1, "b": 2})
    offline.remove_tags(["b"])
    offline.add_properties({"c": 3})
    assert offline.get_metrics() == {"x": [1, 2], "y": 3}
    assert offline.get_metrics("y") == {"y": 3}
    assert (offline.get_tags(), offline.get_properties()) == ({"a": "1"}, {"c": "3"})
    assert [child.name for child in offline.create_children(tag_key="k", tag_values=["p", "q"])] == ["p", "q"]
    assert len(offline.create_children(count=2)) == 2
    assert offline.get_status() == "Running"


@pytest.mark.parametrize("name", ["experiment", "input_datasets", "output_datasets"])
def test_what_only_a_step_has_is_missing(offline, name):
    with pytest.raises(AttributeError, match=f"an offline run has no {name}: this script does not run as a step"):
        getattr(offline, name)


def test_what_cannot_be_logged_is_refused(offline):
    with pytest.raises(UserErrorException, match="log_list, log_row and log_table"):
        offline.log("x", [1])
    with pytest.raises(UserErrorException, match="path= or plot="):
        offline.log_image("x", path="a.png", plot=object())
    with pytest.raises(UserErrorException, match="schema_type"):
        offline.log_predictions("x", {"nothing": 1})
