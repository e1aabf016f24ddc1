"""The workspace folder: finding it, making it, refusing what cannot work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelite.errors import WorkspaceError
from pipelite.store import Store, find_workspace
from pipelite.store.filesystems import find_network_file_system

MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
40 27 0:44 / /home rw,relatime - nfs4 server:/home rw,vers=4.2
41 40 0:45 / /home/ada/local\\040disk rw,relatime - ext4 /dev/vdb rw
42 27 0:46 / /mnt/share rw,relatime - cifs //server/share rw
43 27 0:47 / /mnt/remote rw,relatime - fuse.sshfs ada@server: rw
44 27 0:48 / /mnt/c rw,noatime - 9p C:\\134 rw,aname=drvfs;path=C:\\
45 27 0:49 / /mnt/host rw,noatime - 9p host rw,trans=virtio
"""


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv("PIPELITE_WORKSPACE", raising=False)


def test_the_given_path_comes_before_the_environment_and_the_folders_above(tmp_path, monkeypatch):
    (tmp_path / ".pipelite").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIPELITE_WORKSPACE", str(tmp_path / "elsewhere"))

    assert find_workspace(tmp_path / "given") == tmp_path / "given"
    assert find_workspace() == tmp_path / "elsewhere"


def test_the_nearest_workspace_upwards_is_found(tmp_path, monkeypatch):
    below = tmp_path / "project" / "steps"
    below.mkdir(parents=True)
    (tmp_path / ".pipelite").mkdir()
    (tmp_path / "project" / ".pipelite").mkdir()
    monkeypatch.chdir(below)

    assert find_workspace() == tmp_path / "project" / ".pipelite"


def test_without_any_workspace_upwards_a_new_one_is_made_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert find_workspace() == tmp_path / ".pipelite"
    with Store.open() as store:
        assert store.path == tmp_path / ".pipelite"


def test_a_new_workspace_has_its_areas_and_is_ignored_by_git(tmp_path):
    with Store.open(tmp_path / "ws") as store:
        names = {path.name for path in store.path.iterdir()}

        assert {"pipelite.db", "artifacts", "logs", "spool", "owners", "tmp"} <= names
        assert (store.path / ".gitignore").read_text() == "*\n"


def test_a_workspace_can_be_opened_again_and_keeps_what_was_stored(tmp_path):
    with Store.open(tmp_path / "ws") as store, store.database.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('colour', '\"blue\"')")

    with Store.open(tmp_path / "ws") as store:
        assert store.database.read("SELECT value FROM settings")[0]["value"] == '"blue"'


def test_a_missing_workspace_is_not_made_for_one_that_only_looks(tmp_path):
    with pytest.raises(WorkspaceError, match=r"no workspace at .*ws; run a pipeline first"):
        Store.open(tmp_path / "ws", create=False)

    assert not (tmp_path / "ws").exists()


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "ws").write_text("not a folder")

    with pytest.raises(WorkspaceError, match="ws is not a folder; move it away"):
        Store.open(tmp_path / "ws")


def test_a_file_among_the_folders_above_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(WorkspaceError, match=r"made: .*/file is not a folder; move it away"):
        Store.open(tmp_path / "file" / "ws")


def test_a_folder_that_cannot_be_written_is_an_error_that_says_what_to_do():
    with pytest.raises(WorkspaceError, match=r"cannot be written: .*; point PIPELITE_WORKSPACE at"):
        Store.open("/proc/pipelite-workspace")


def test_a_file_that_is_no_database_is_an_error_that_says_so(tmp_path):
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "pipelite.db").write_bytes(b"this is no database at all" * 100)

    with pytest.raises(WorkspaceError, match="is not a database of pipelite; move it away"):
        Store.open(tmp_path / "ws")


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/srv/project/.pipelite", None),
        ("/home", "nfs4"),
        ("/home/ada/project", "nfs4"),
        ("/home/ada/local disk/project", None),
        ("/homes/ada", None),
        ("/mnt/share/x", "cifs"),
        ("/mnt/remote/x", "fuse.sshfs"),
        ("/mnt/c/Users", "drvfs"),
        ("/mnt/host/x", None),
    ],
)
def test_network_file_systems_are_told_by_the_longest_mount_above(folder, kind):
    assert find_network_file_system(Path(folder), MOUNTS) == kind


def test_of_two_mounts_on_one_point_the_later_counts():
    mounts = "1 0 0:1 / / rw - nfs server:/ rw\n2 1 0:2 / / rw - ext4 /dev/vda rw\n"

    assert find_network_file_system(Path("/project"), mounts) is None


def test_this_machine_is_not_taken_for_a_network_file_system(tmp_path):
    assert find_network_file_system(tmp_path) is None


def test_a_workspace_on_a_network_file_system_is_refused_before_anything_is_made(tmp_path, monkeypatch):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 0:1 / {tmp_path} rw - nfs4 server:/export rw\n")
    monkeypatch.setattr("pipelite.store.filesystems._MOUNTS", mounts)

    with pytest.raises(
        WorkspaceError, match=r"network file system \(nfs4\).*point PIPELITE_WORKSPACE at a folder on a lo"
    ):
        Store.open(tmp_path / "ws")

    assert not (tmp_path / "ws").exists()


def test_digests_of_files_are_remembered_while_the_file_is_the_same(tmp_path):
    with Store.open(tmp_path / "ws") as store:
        store.file_cache.put("/data/a.csv", 10, 20, 30, "digest")
        assert store.file_cache.get("/data/a.csv", 10, 20, 30) == "digest"
        assert store.file_cache.get("/data/a.csv", 10, 21, 30) is None

    with Store.open(tmp_path / "ws") as store:
        assert store.file_cache.get("/data/a.csv", 10, 20, 30) == "digest"
        assert store.file_cache.get("/data/a.csv", 11, 20, 30) is None
        store.file_cache.put("/data/a.csv", 11, 20, 30, "another")
        store.flush()
        assert store.file_cache.get("/data/a.csv", 11, 20, 30) == "another"


def test_a_file_whose_name_is_no_text_can_be_remembered(tmp_path):
    path = os.fsdecode(b"/data/\xff.csv")

    with Store.open(tmp_path / "ws") as store:
        store.file_cache.put(path, 1, 2, 3, "digest")
        store.flush()

        assert store.file_cache.get(path, 1, 2, 3) == "digest"


def test_identities_of_items_are_remembered(tmp_path):
    with Store.open(tmp_path / "ws") as store:
        store.keep_item_identity("dict#1", "['a']", "int:1")
        assert store.find_item_identity("dict#1", "['a']") == "int:1"

    with Store.open(tmp_path / "ws") as store:
        assert store.find_item_identity("dict#1", "['a']") == "int:1"
        assert store.find_item_identity("dict#1", "['b']") is None


def test_opening_a_workspace_does_not_import_what_only_migrations_need(tmp_path):
    code = (
        "import sys; from pipelite.store import Store; Store.open(sys.argv[1]).close(); "
        "print([name for name in ('sqlite_utils', 'joblib', 'numpy', 'pandas', 'click') if name in sys.modules])"
    )

    for _ in range(2):
        found = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "ws")], capture_output=True, text=True, check=True
        )
        assert found.stdout.strip() == "[]"
