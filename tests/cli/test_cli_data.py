"""`pipelite datastores` and `pipelite datasets`."""

import json

import pytest


@pytest.fixture
def rows(folder):
    """Two files of rows."""
    (folder / "raw").mkdir()
    (folder / "raw/a.csv").write_text("x,kind\n1,odd\n2,even\n")
    (folder / "raw/b.csv").write_text("x,kind\n3,odd\n")
    (folder / "total.py").write_text(
        "from pipelite import Dataset, pipeline, step\n\n"
        "@step\ndef add(data):\n    return int(data.to_pandas()['x'].sum())\n\n"
        "@pipeline\ndef total(data: Dataset):\n    return add(data)\n"
    )
    return folder


class TestDatastores:
    def test_one_is_added_listed_shown_and_removed(self, command, read_json, rows):
        command("doctor", exit_code=2)
        assert command("datastores", "add", "lake", "lake", "--option", "auto_mkdir=true").stdout.startswith(
            "lake  file://"
        )

        assert [each["name"] for each in read_json("datastores", "list")] == ["local", "lake"]
        assert read_json("datastores", "list")[1]["options"] == {"auto_mkdir": True}
        command("datastores", "upload", "lake", "raw", "2026")
        assert [each["path"] for each in read_json("datastores", "show", "lake")["files"]] == [
            "2026/a.csv",
            "2026/b.csv",
        ]
        assert "2 files, 33 bytes" in command("datastores", "show", "lake").stdout
        assert len(read_json("datastores", "show", "lake", "2026/a*")["files"]) == 1
        done = command("datastores", "download", "lake", "2026", "back")
        assert done.stderr == "downloaded 2 of 2 files, 33 bytes\n"
        assert (rows / "back/b.csv").read_text() == "x,kind\n3,odd\n"
        command("datastores", "remove", "lake")
        assert "no datastore 'lake'" in command("datastores", "show", "lake", exit_code=2).stderr

    def test_credentials_are_shown_as_where_they_are(self, command, folder):
        command("datastores", "add", "lake", "s3://bucket", "--credential", "key=env:LAKE_KEY", LAKE_KEY="s3cr3t")

        listed = command("datastores", "list", LAKE_KEY="s3cr3t").stdout
        assert "env:LAKE_KEY" in listed
        assert "s3cr3t" not in listed
        refused = command("datastores", "add", "lake", "s3://bucket", "--option", "secret=s3cr3t", exit_code=2)
        assert "looks like a secret" in refused.stderr
        assert "s3cr3t" not in refused.stderr


class TestDatasets:
    def test_one_is_registered_listed_shown_and_previewed(self, command, read_json, rows):
        registered = command("datasets", "register", "numbers", "raw/*.csv", "--description", "some", "--tag", "a=b")
        assert registered.stdout == "numbers:1\n"

        (listed,) = read_json("datasets", "list")
        assert (listed["name"], listed["version"], listed["format"]) == ("numbers", 1, "delimited")
        assert (listed["files"], listed["description"], listed["tags"]) == (2, "some", {"a": "b"})
        assert "numbers:1  delimited" in command("datasets", "list").stdout
        assert command("datasets", "preview", "numbers", "--rows", "3").stdout == "x  kind\n1  odd\n2  even\n3  odd\n"
        assert read_json("datasets", "preview", "numbers:1")[1] == {"x": 2, "kind": "even"}

    def test_the_data_on_a_datastore_and_just_files(self, command, rows):
        command("datastores", "add", "raw", "raw")

        command("datasets", "register", "files", "*.csv", "--datastore", "raw", "--format", "files")
        assert command("datasets", "preview", "files").stdout == "a.csv\nb.csv\n"
        refused = command("datasets", "register", "f", "raw", "--separator", ";", exit_code=2)
        assert "--separator does not go with the format files" in refused.stderr

    def test_lineage_is_shown_both_ways_and_a_change_is_told(self, command, read_json, rows):
        command("datasets", "register", "numbers", "raw/*.csv")
        run = read_json("run", "total.py:total", "-p", "data=numbers")

        shown = read_json("datasets", "show", "numbers:1")
        assert [(use["run_id"], use["step_run"]) for use in shown["used_by"]] == [(run["id"], "add")]
        assert shown["state"] == "as registered"
        (rows / "raw/c.csv").write_text("x,kind\n9,odd\n")
        text = command("datasets", "show", "numbers").stdout
        assert "state        changed since it was registered" in text
        assert f"used by      run {run['id']} of total, step add" in text
        (rows / "raw").rename(rows / "moved")
        assert (
            "state        cannot be read: dataset 'numbers:1': no file matches"
            in command("datasets", "show", "numbers").stdout
        )

    def test_a_dataset_that_is_not_there_is_wrong_usage(self, command, rows):
        command("datastores", "add", "raw", "raw")

        assert "no dataset 'nothing'" in command("datasets", "show", "nothing", exit_code=2).stderr
        assert "not of the form NAME or NAME:VERSION" in command("datasets", "show", "a:b", exit_code=2).stderr
        assert json.loads(command("datasets", "list", "--json").stdout) == []
