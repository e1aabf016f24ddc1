"""Versions that never change, and the names that lead to them."""

import subprocess
import sys
from datetime import date
from enum import Enum
from pathlib import Path

import pytest

from pipelite import Dataset, Workspace, pipeline, step
from pipelite.errors import ParameterError, PublishError, UnknownNameError


def test_a_published_version_does_what_it_did_whatever_becomes_of_the_files(flow, serve, workspace):
    published = flow().train.publish("Adding", version="1.0")
    Path("helpers.py").write_text("def twice(x):\n    raise RuntimeError('edited')\n")
    serve()

    run = published.submit(n=5).wait(60)

    assert run.outputs["total"] == 20.0
    assert run.record.options["published"]["version"] == "1.0"


def test_a_step_of_a_published_version_that_is_equal_to_an_earlier_one_is_reused(flow, serve):
    train = flow().train
    train.with_options(quiet=True).run(n=5)
    serve()

    run = train.publish("Adding").submit(n=5).wait(60)

    assert {step.status for step in run.steps.values()} == {"reused"}


def test_a_version_never_changes_and_the_same_content_is_the_same_version(flow):
    first = flow().train.publish("Adding", version="1.0")

    assert flow().train.publish("Adding", version="1.0").id == first.id

    Path("helpers.py").write_text("def twice(x):\n    return x + x\n")
    with pytest.raises(PublishError, match=r"Adding 1\.0 is published already, with other content"):
        flow().train.publish("Adding", version="1.0")
    assert flow().train.publish("Adding", version="1.1").id != first.id


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("flow.py", "n: int = 4", "n: int = 5"),
        ("flow.py", "n: int = 4", "n: int = 4, more: str = ''"),
        ("flow.py", 'return {"total"', 'return {"sum"'),
        ("flow.py", "twice(sum(numbers)) * scale", "twice(sum(numbers)) / scale"),
        ("helpers.py", "2 * x", "3 * x"),
    ],
)
def test_what_was_edited_since_it_was_imported_is_not_published(flow, file, old, new):
    module = flow()
    module.train.publish("Adding", version="1.0")
    Path(file).write_text(Path(file).read_text().replace(old, new))

    with pytest.raises(PublishError, match=r"'train' cannot be published from here: .* edited"):
        module.train.publish("Adding", version="1.1")

    assert [each.version for each in Workspace().published.versions("Adding")] == ["1.0"]
    assert flow().train.publish("Adding", version="1.1").version == "1.1"


def test_an_endpoint_leads_to_its_first_version_until_another_becomes_the_default(flow, serve):
    serve()
    flow().train.publish("Adding", version="1.0")
    Path("helpers.py").write_text("def twice(x):\n    return 3 * x\n")
    flow().train.publish("Adding", version="1.1")
    endpoint = Workspace().endpoints["Adding"]
    assert endpoint.default.version == "1.0"
    assert [each.version for each in endpoint.versions] == ["1.0", "1.1"]
    assert endpoint.submit(n=3).wait(60).outputs["total"] == 6

    endpoint.set_default("1.1")
    assert endpoint.submit(n=3).wait(60).outputs["total"] == 9
    assert Workspace().published.version("Adding", "1.0").submit(n=3).wait(60).outputs["total"] == 6

    # Rolled back.
    endpoint.set_default("1.0")
    assert endpoint.default.version == "1.0"
    assert flow().train.publish("Adding", version="1.2", default=True).version == endpoint.default.version


def test_a_version_that_is_disabled_or_archived_takes_no_calls(flow):
    published = flow().train.publish("Adding", version="1.0")

    published.disable()
    with pytest.raises(PublishError, match=r"Adding 1\.0 is disabled"):
        published.submit()
    published.enable()
    with pytest.warns(UserWarning, match="nothing serves the workspace"):
        assert published.submit().status == "queued"
    published.archive()
    assert published.status == "archived"
    with pytest.raises(PublishError, match=r"is archived; enable it"):
        published.make_default()


def test_a_run_of_another_process_is_published_as_it_was_with_its_parameters(flow, serve):
    subprocess.run(
        [sys.executable, "-m", "pipelite", "run", "flow.py:train", "-p", "n=6", "-p", "scale=0.5", "--quiet"],
        check=True,
    )
    Path("helpers.py").write_text("def twice(x):\n    raise RuntimeError('edited')\n")
    Path("flow.py").unlink()
    serve()

    published = Workspace().run().publish("Earlier", version="2")

    assert {each["name"]: each["default"] for each in published.parameters} == {"n": 6, "scale": 0.5}
    assert published.submit().wait(60).outputs["total"] == 15.0
    assert published.submit(scale=2).wait(60).outputs["total"] == 60.0


def test_what_is_wrong_with_a_call_is_told_before_there_is_a_run(flow):
    published = flow().train.publish("Adding")
    for wrong, message in (
        ({"m": 3}, "has no parameter 'm'"),
        ({"n": "many"}, "parameter 'n' takes a whole number, but got 'many'"),
        ({"n": 1.5}, "takes a whole number"),
    ):
        with pytest.raises(ParameterError, match=message):
            published.submit(**wrong)
    assert Workspace().runs() == []


def test_what_is_not_there_is_told_with_what_is(flow):
    flow().train.publish("Adding", version="1.0")
    published = Workspace().published

    assert list(published) == ["Adding"]
    assert len(Workspace().endpoints) == 1
    with pytest.raises(UnknownNameError, match="no pipeline is published as 'Subtracting'"):
        published["Subtracting"]
    with pytest.raises(UnknownNameError, match=r"has no version '2'; there are: 1\.0"):
        published.version("Adding", "2")
    with pytest.raises(UnknownNameError, match="no endpoint 'Subtracting'"):
        Workspace().endpoints["Subtracting"]


@pytest.mark.parametrize(("name", "version"), [("../up", "1"), ("", "1"), ("a/b", "1"), ("good", ""), ("good", "../1")])
def test_names_that_are_none_are_refused(flow, name, version):
    with pytest.raises(PublishError):
        flow().train.publish(name, version=version)


def test_what_no_import_finds_cannot_be_published(workspace):
    @step
    def one():
        return 1

    @pipeline
    def here():
        return one()

    with pytest.raises(PublishError, match="inside of a function, where no import finds it"):
        here.publish("Here")


def test_a_module_that_cannot_be_imported_on_its_own_is_told_with_the_reason(flow):
    Path("settings.txt").write_text("7")
    text = Path("flow.py").read_text()
    Path("flow.py").write_text(text + '\nSETTING = int((Path(__file__).parent / "settings.txt").read_text())\n')

    with pytest.raises(PublishError, match=r"cannot be imported on its own(.|\n)*settings\.txt"):
        flow().train.publish("Adding")


def test_every_type_of_parameter_that_has_a_form_as_json_arrives_as_what_it_is(workspace, serve, monkeypatch):
    Path("typed.py").write_text(
        """
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Literal

from pipelite import pipeline, step


class Color(Enum):
    RED = 1
    BLUE = 2


@step
def show(**values):
    return {name: repr(value) for name, value in values.items()}


@pipeline
def typed(
    day: date, color: Color, mode: Literal["fast", 3], numbers: list[int], options: dict[str, float], maybe: int | None = 3,
    default: Color = Color.BLUE,
):
    return show(day=day, color=color, mode=mode, numbers=numbers, options=options, maybe=maybe, default=default)
"""
    )
    monkeypatch.syspath_prepend(str(Path.cwd()))
    serve()
    import typed

    run = (
        typed.typed.publish("Typed")
        .submit(day="2026-11-22", color="RED", mode=3, numbers=[1, 2], options={"a": 1}, maybe=None)
        .wait(60)
    )

    assert run.outputs["result"] == {
        "day": repr(date(2026, 11, 22)),
        "color": "<Color.RED: 1>",
        "mode": "3",
        "numbers": "[1, 2]",
        "options": "{'a': 1.0}",
        "maybe": "None",
        "default": "<Color.BLUE: 2>",
    }
    assert issubclass(typed.Color, Enum)


def test_scripts_and_their_folders_are_part_of_a_version(workspace, serve, monkeypatch):
    Path("jobs").mkdir()
    Path("jobs/say.py").write_text("import sys; open(sys.argv[1], 'w').write('as published')")
    Path("scripted.py").write_text(
        """
from pathlib import Path

from pipelite import pipeline
from pipelite.steps import Output, script

say = script("say.py", source_directory=Path(__file__).parent / "jobs", arguments=[Output("text")])


@pipeline
def scripted(needed: int):
    return say()
"""
    )
    monkeypatch.syspath_prepend(str(Path.cwd()))
    serve()
    import scripted

    published = scripted.scripted.publish("Scripted")
    Path("jobs/say.py").write_text("raise SystemExit('edited')")

    run = published.submit(needed=1).wait(60)

    assert Path(run.outputs["result"]).read_text() == "as published"


DATA = """
from pipelite import Dataset, pipeline, step


@step
def count(rows):
    return len(rows.to_pandas())


@pipeline
def counting(rows: Dataset):
    return count(rows)
"""


def test_a_dataset_is_looked_for_in_the_workspace_of_the_run(workspace, serve, monkeypatch):
    Path("counting.py").write_text(DATA)
    Path("here.csv").write_text("x\n1\n2\n")
    monkeypatch.syspath_prepend(str(workspace.parent))
    import counting

    Dataset.from_delimited_files("here.csv").register("numbers")
    published = counting.counting.publish("Counting")
    mine = Workspace()
    serve()
    monkeypatch.setenv("PIPELITE_WORKSPACE", str(workspace.parent / "another"))

    run = mine.published["Counting"].submit(rows="numbers").wait(60)

    assert published.id == run.record.options["published"]["id"]
    assert run.outputs["result"] == 2
    sys.modules.pop("counting")
