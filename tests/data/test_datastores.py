"""Datastores: what is kept of them, what goes in and out, and what is refused."""

import contextlib
import os
import pickle
import resource
import traceback
from pathlib import Path

import pytest

from pipelite import Workspace
from pipelite.data import retries
from pipelite.data.retries import is_passing, retrying
from pipelite.errors import DatastoreError, NotFoundError

#: Bytes; the workspace's own files stay below it.
LIMIT = 4 << 20


@pytest.fixture
def file_limit():
    """While it lasts, no file gets larger than the limit: as on a disk that is full."""

    @contextlib.contextmanager
    def limited():
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited()


@pytest.fixture(params=["file", "memory"])
def lake(request, stores, tmp_path):
    """A datastore of each kind that needs no server."""
    url = tmp_path / "lake" if request.param == "file" else f"memory://lake-{tmp_path.name}-{os.getpid()}"
    return stores.register("lake", url)


@pytest.fixture
def source(tmp_path):
    """A folder with a few files."""
    folder = tmp_path / "source"
    for name, text in {"a.csv": "x\n1\n", "deep/b.csv": "x\n2\n", "deep/c.txt": "c"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def paths(entries):
    return [entry.path for entry in entries]


class TestWhatIsKept:
    def test_the_local_one_is_always_there_and_lies_in_the_workspace(self, stores, workspace):
        assert list(stores) == ["local"]
        assert stores["local"].url == f"file://{workspace}/data"

    def test_one_is_there_for_the_next_process_until_it_is_removed(self, stores, tmp_path):
        stores.register("lake", tmp_path / "lake", options={"auto_mkdir": True})

        assert Workspace().datastores["lake"].describe() == {
            "name": "lake",
            "url": f"file://{tmp_path}/lake",
            "protocol": "file",
            "options": {"auto_mkdir": True},
            "credentials": {},
        }
        stores.remove("lake")
        assert list(stores) == ["local"]

    def test_an_unknown_one_is_an_error_that_names_those_that_there_are(self, stores, tmp_path):
        stores.register("lake", tmp_path)

        with pytest.raises(NotFoundError, match="no datastore 'lak'; there are local, lake"):
            stores["lak"]
        assert stores.get("lak") is None

    @pytest.mark.parametrize("name", ["", "a b", "../x", "local", "9x"])
    def test_a_name_that_cannot_be_one_is_refused(self, stores, tmp_path, name):
        with pytest.raises(DatastoreError):
            stores.register(name, tmp_path)

    @pytest.mark.parametrize("url", ["s3://", "nothing://bucket"])
    def test_a_url_that_names_nothing_is_refused(self, stores, url):
        with pytest.raises(DatastoreError, match=r"names no bucket|nothing is known"):
            stores.register("lake", url)


class TestCredentials:
    @pytest.mark.parametrize(
        "options",
        [
            {"key": "AKIA"},
            {"client_kwargs": {"aws_secret_access_key": "s3cr3t"}},
            {"account_key": "s3cr3t"},
            {"password": "x"},
            {"token": "ya29.s3cr3t"},
        ],
    )
    def test_a_secret_among_the_options_is_refused(self, stores, workspace, options):
        with pytest.raises(DatastoreError, match="looks like a secret") as caught:
            stores.register("lake", "s3://bucket", options=options)

        assert "s3cr3t" not in str(caught.value)

    def test_a_way_to_sign_in_is_no_secret(self, stores):
        store = stores.register("lake", "gcs://bucket", options={"token": "google_default"})

        assert store.protocol == "gcs"

    def test_a_password_in_the_url_is_refused_and_not_repeated(self, stores):
        with pytest.raises(DatastoreError, match="the URL holds a password") as caught:
            stores.register("lake", "sftp://me:s3cr3t@host/folder")

        assert "s3cr3t" not in str(caught.value)

    def test_a_credential_given_as_itself_is_refused_and_not_repeated(self, stores):
        with pytest.raises(DatastoreError, match="where it is") as caught:
            stores.register("lake", "s3://bucket", credentials={"key": "s3cr3t"})

        assert "s3cr3t" not in str(caught.value)

    def test_they_come_from_the_environment_and_from_private_files(self, stores, workspace, monkeypatch):
        monkeypatch.setenv("LAKE_KEY", "the-key")
        file = workspace / "lake.secret"
        file.write_text("the-secret\n")
        file.chmod(0o600)
        lake = stores.register(
            "lake",
            "s3://bucket",
            options={"client_kwargs": {"region_name": "x"}},
            credentials={"key": "env:LAKE_KEY", "client_kwargs.secret": "file:lake.secret"},
        )

        assert lake._full_options() == {
            "key": "the-key",
            "client_kwargs": {"region_name": "x", "secret": "the-secret"},
        }
        database = b"".join(path.read_bytes() for path in workspace.glob("pipelite.db*"))
        for secret in ("the-key", "the-secret"):
            assert secret.encode() not in database
            assert secret not in f"{lake!r} {lake.describe()}"
        with pytest.raises(TypeError, match="does not travel"):
            pickle.dumps(lake)

    def test_a_private_file_may_lie_at_home(self, stores, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "key").write_text("the-key")
        (tmp_path / "key").chmod(0o600)

        lake = stores.register("lake", "s3://bucket", credentials={"key": "file:~/key"})
        assert lake._full_options() == {"key": "the-key"}

    def test_a_variable_that_is_not_set_is_named(self, stores):
        lake = stores.register("lake", "memory://x", credentials={"key": "env:NOT_SET_ANYWHERE"})

        with pytest.raises(DatastoreError, match="NOT_SET_ANYWHERE, which is not set"):
            lake.list()

    def test_a_file_that_others_may_read_is_refused(self, stores, tmp_path):
        file = tmp_path / "secret"
        file.write_text("s3cr3t")
        file.chmod(0o644)
        lake = stores.register("lake", "memory://x", credentials={"key": f"file:{file}"})

        with pytest.raises(DatastoreError, match=f"mode 0644.*chmod 600 {file}"):
            lake.list()

    def test_what_a_library_says_is_shown_without_them(self, stores, monkeypatch):
        monkeypatch.setenv("LAKE_KEY", "s3cr3t/with+signs")
        lake = stores.register("lake", "memory://x", credentials={"key": "env:LAKE_KEY"})
        lake.location.files

        def fail():
            raise PermissionError("no such key: s3cr3t/with+signs, s3cr3t%2Fwith%2Bsigns")

        with pytest.raises(DatastoreError, match=r"refuses to look.*key from env:LAKE_KEY") as caught:
            lake.ask(fail, "look")
        assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


class TestTransfers:
    def test_a_folder_goes_there_and_comes_back(self, lake, source, tmp_path):
        assert lake.upload(source, "raw") == ["raw/a.csv", "raw/deep/b.csv", "raw/deep/c.txt"]

        assert paths(lake.list()) == ["raw/a.csv", "raw/deep/b.csv", "raw/deep/c.txt"]
        assert paths(lake.list("raw/deep")) == ["raw/deep/b.csv", "raw/deep/c.txt"]
        copies = lake.download("raw", tmp_path / "back")
        assert [path.relative_to(tmp_path / "back").as_posix() for path in copies] == [
            "a.csv",
            "deep/b.csv",
            "deep/c.txt",
        ]
        assert (tmp_path / "back/deep/b.csv").read_text() == "x\n2\n"

    @pytest.mark.parametrize(
        ("pattern", "found"),
        [
            ("*.csv", []),
            ("raw/*.csv", ["raw/a.csv"]),
            ("raw/**/*.csv", ["raw/a.csv", "raw/deep/b.csv"]),
            ("**/*.[ct]*", ["raw/a.csv", "raw/deep/b.csv", "raw/deep/c.txt"]),
            ("raw/deep/?.txt", ["raw/deep/c.txt"]),
            ("**", ["raw/a.csv", "raw/deep/b.csv", "raw/deep/c.txt"]),
        ],
    )
    def test_patterns_find_files(self, lake, source, pattern, found):
        lake.upload(source, "raw")

        assert paths(lake.list(pattern)) == found

    def test_a_file_can_be_given_another_name(self, lake, source):
        assert lake.upload(source / "a.csv", "raw/new.csv") == ["raw/new.csv"]
        assert lake.upload(source / "a.csv", "2026.csv/") == ["2026.csv/a.csv"]

    def test_what_is_there_stays_unless_it_is_to_be_replaced(self, lake, source, tmp_path):
        lake.upload(source / "a.csv")
        (source / "a.csv").write_text("x\n9\n")

        lake.upload(source / "a.csv")
        (first,) = lake.download("a.csv", tmp_path / "back")
        assert first.read_text() == "x\n1\n"
        lake.upload(source / "a.csv", overwrite=True)
        lake.download("a.csv", tmp_path / "back")
        assert first.read_text() == "x\n1\n"
        lake.download("a.csv", tmp_path / "back", overwrite=True)
        assert first.read_text() == "x\n9\n"

    def test_progress_tells_files_and_bytes(self, lake, source, capsys):
        lake.upload(source, show_progress=True)

        assert capsys.readouterr().err == "uploaded 3 of 3 files, 9 bytes\n"

    def test_a_missing_source_and_a_missing_file_are_named(self, lake, tmp_path):
        with pytest.raises(DatastoreError, match="no file or folder 'nothing' to upload to datastore 'lake'"):
            lake.upload("nothing")
        with pytest.raises(DatastoreError, match=r"no file or folder 'raw/x.csv' on datastore 'lake'"):
            lake.download("raw/x.csv", tmp_path)
        with pytest.raises(DatastoreError, match=r"no file matches 'raw/\*.csv' on datastore 'lake'"):
            lake.download("raw/*.csv", tmp_path)

    def test_a_disk_that_takes_no_more_leaves_no_part_and_keeps_what_was_there(self, lake, tmp_path, file_limit):
        (tmp_path / "a.bin").write_bytes(b"old")
        (tmp_path / "back").mkdir()
        (tmp_path / "back/a.bin").write_bytes(b"older")
        (tmp_path / "new").mkdir()
        (tmp_path / "new/a.bin").write_bytes(b"x" * 2 * LIMIT)
        lake.upload(tmp_path / "new")

        with (
            file_limit,
            pytest.raises(DatastoreError, match=r"failed to (read|write) 'a.bin' \(OSError: .*File too large"),
        ):
            lake.download("a.bin", tmp_path / "back", overwrite=True)
        assert [path.read_bytes() for path in (tmp_path / "back").iterdir()] == [b"older"]

    def test_a_disk_that_takes_no_more_leaves_a_datastore_as_it_was(self, stores, tmp_path, file_limit):
        lake = stores.register("lake", tmp_path / "lake")
        (tmp_path / "a.bin").write_bytes(b"old")
        lake.upload(tmp_path / "a.bin")
        (tmp_path / "a.bin").write_bytes(b"x" * 2 * LIMIT)

        with file_limit, pytest.raises(DatastoreError, match=r"failed to write 'a.bin' \(OSError: .*File too large"):
            lake.upload(tmp_path / "a.bin", overwrite=True)
        assert [path.read_bytes() for path in (tmp_path / "lake").iterdir()] == [b"old"]

    @pytest.mark.parametrize("lake", ["memory"], indirect=True)
    def test_a_copy_that_arrives_cut_off_is_refused(self, lake, source, monkeypatch, tmp_path):
        lake.upload(source / "a.csv")
        monkeypatch.setattr(type(lake.location), "get", lambda self, path, target: Path(target).write_bytes(b"x"))
        monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.0)

        with pytest.raises(DatastoreError, match="cut off or changed while it was read: 1 of 4 bytes"):
            lake.download("a.csv", tmp_path / "back")
        assert list((tmp_path / "back").iterdir()) == []

    def test_a_large_file_is_copied_as_it_is(self, lake, tmp_path):
        content = os.urandom(1 << 20) * 9 + b"and the rest"
        (tmp_path / "large.bin").write_bytes(content)

        lake.upload(tmp_path / "large.bin")
        (copy,) = lake.download("large.bin", tmp_path / "back")
        assert copy.read_bytes() == content

    def test_a_folder_with_a_link_that_leads_out_is_refused(self, lake, source, tmp_path):
        (source / "out").symlink_to(tmp_path)

        with pytest.raises(DatastoreError, match="leads out of its root"):
            lake.upload(source)
        assert lake.list() == []

    def test_a_file_whose_name_is_that_of_the_target_is_put_there(self, lake, tmp_path):
        (tmp_path / "LICENSE").write_text("free")

        assert lake.upload(tmp_path / "LICENSE", "docs/LICENSE") == ["docs/LICENSE"]
        assert lake.upload(tmp_path / "LICENSE", "docs/terms") == ["docs/terms/LICENSE"]


class TestPathsThatClimbOut:
    @pytest.mark.parametrize("path", ["../x", "raw/../../x", "/etc/passwd", "~/x", "a\\..\\b"])
    def test_they_are_refused(self, lake, source, tmp_path, path):
        for action in (
            lambda: lake.list(path),
            lambda: lake.path(path),
            lambda: lake.upload(source, path),
            lambda: lake.download(path, tmp_path / "back"),
        ):
            with pytest.raises(DatastoreError, match="lake"):
                action()

    def test_a_link_that_leads_out_is_refused(self, stores, tmp_path, source):
        lake = stores.register("lake", tmp_path / "lake")
        (tmp_path / "lake").mkdir()
        (tmp_path / "lake" / "out").symlink_to(source)
        (tmp_path / "lake" / "inner").mkdir()
        (tmp_path / "lake" / "in").symlink_to(tmp_path / "lake" / "inner")

        for action in (
            lambda: lake.list(),
            lambda: lake.list("out"),
            lambda: lake.download("out/a.csv", tmp_path / "back"),
            lambda: lake.upload(source / "a.csv", "out"),
        ):
            with pytest.raises(DatastoreError, match="is a link that leads out of its root"):
                action()
        assert lake.upload(source / "a.csv", "in") == ["in/a.csv"]

    def test_a_link_in_the_folder_of_a_download_is_not_followed_out(self, lake, source, tmp_path):
        lake.upload(source)
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "back").mkdir()
        (tmp_path / "back/deep").symlink_to(tmp_path / "elsewhere")

        with pytest.raises(DatastoreError, match="leads out"):
            lake.download("**", tmp_path / "back")
        assert list((tmp_path / "elsewhere").iterdir()) == []


class TestRetries:
    @pytest.mark.parametrize(
        "error", [ConnectionResetError(), TimeoutError(), BrokenPipeError(), OSError(113, "no route"), EOFError()]
    )
    def test_what_may_pass_is_tried_again(self, error):
        answers = [error, error, "there"]
        pauses = []

        def ask():
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        assert retrying(ask, sleep=pauses.append) == "there"
        assert len(pauses) == 2
        assert 0.1 <= pauses[0] <= 0.3
        assert 0.2 <= pauses[1] <= 0.6

    @pytest.mark.parametrize("error", [FileNotFoundError(), PermissionError(), ValueError(), OSError(28, "full")])
    def test_what_stays_is_not(self, error):
        calls = []

        def ask():
            calls.append(1)
            raise error

        with pytest.raises(type(error)):
            retrying(ask, sleep=calls.append)
        assert calls == [1]

    def test_it_ends_with_the_error_itself(self):
        def ask():
            raise ConnectionRefusedError

        pauses = []
        with pytest.raises(ConnectionRefusedError):
            retrying(ask, sleep=pauses.append)
        assert len(pauses) == 4

    def test_a_status_of_http_decides(self):
        error = OSError("it said so")
        error.status = 503
        assert is_passing(error)
        error.status = 403
        assert not is_passing(error)
