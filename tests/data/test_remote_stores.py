"""Datastores and datasets on real servers: S3 (moto), Azure Blob (Azurite), Google Cloud Storage
(fake-gcs-server), SFTP (OpenSSH), HTTP (Python's own)."""

import sys
import threading
import traceback
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from data import servers
from data.real_stores import make_sftp, register_s3
from pipelite import Dataset, Workspace, pipeline, step
from pipelite.errors import DatasetError, DatastoreError

#: Said by aiohttp of how adlfs sends a file; Python shows it to nobody who does not ask.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")


@pytest.fixture
def source(write, tmp_path):
    write("source/a.csv", "x,kind\n1,odd\n2,even\n")
    write("source/deep/b.csv", "x,kind\n3,odd\n")
    return tmp_path / "source"


@step
def total(data):
    return int(data.to_pandas()["x"].sum())


@pipeline
def sum_of(data: Dataset):
    return total(data)


def lines_of(lake):
    return Dataset.from_delimited_files(lake.path("**/*.csv"))


class TestStores:
    def test_a_folder_goes_there_and_comes_back(self, lake, source, tmp_path):
        assert lake.upload(source, "2026") == ["2026/a.csv", "2026/deep/b.csv"]

        assert [(entry.path, entry.size_bytes) for entry in lake.list()] == [
            ("2026/a.csv", 20),
            ("2026/deep/b.csv", 13),
        ]
        assert [entry.path for entry in lake.list("*/*.csv")] == ["2026/a.csv"]
        lake.download("2026", tmp_path / "back")
        assert (tmp_path / "back/deep/b.csv").read_bytes() == (source / "deep/b.csv").read_bytes()

    def test_a_large_file_arrives_whole_and_leaves_nothing_beside_it(self, lake, tmp_path):
        content = bytes(range(256)) * 50_000
        (tmp_path / "large.bin").write_bytes(content)

        lake.upload(tmp_path / "large.bin")
        assert [entry.path for entry in lake.location.iter_files("")] == ["large.bin"]
        (copy,) = lake.download("large.bin", tmp_path / "back")
        assert copy.read_bytes() == content
        assert list((tmp_path / "back").iterdir()) == [copy]

    def test_what_is_there_is_replaced_only_when_asked(self, lake, source, tmp_path):
        lake.upload(source / "a.csv")
        (source / "a.csv").write_text("x\n9\n")

        lake.upload(source / "a.csv")
        assert lake.find("a.csv").size_bytes == 20
        lake.upload(source / "a.csv", overwrite=True)
        assert lake.find("a.csv").size_bytes == 4
        lake.remove("a.csv")
        assert lake.find("a.csv") is None
        lake.remove("a.csv")

    def test_what_is_not_there_is_named(self, lake, tmp_path):
        with pytest.raises(DatastoreError, match=r"no file or folder 'nothing' on datastore 'lake'"):
            lake.download("nothing", tmp_path)
        with pytest.raises(DatasetError, match=r"no file matches 'lake/\*\*/\*.csv'"):
            lines_of(lake).to_pandas()


class TestManyFiles:
    @pytest.fixture
    def many(self, tmp_path):
        for number in range(40):
            path = tmp_path / f"many/{number % 7}/{number % 3}/{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"file {number}")
        return tmp_path / "many"

    def test_they_go_there_and_back_several_at_once(self, lake, many, tmp_path):
        assert len(lake.upload(many, "in/new/folders")) == 40

        copies = lake.download("in/new/folders", tmp_path / "back")
        assert [path.relative_to(tmp_path / "back") for path in copies] == sorted(
            path.relative_to(many) for path in many.rglob("*.txt")
        )
        assert all(path.read_text() == f"file {path.stem}" for path in copies)

    @pytest.mark.usefixtures("impatient")
    @pytest.mark.usefixtures("soon_discouraged")
    def test_what_a_lost_network_interrupted_goes_on_where_it_was(self, lake_behind_proxy, many, tmp_path):
        lake, proxy = lake_behind_proxy
        passes = iter(range(15))

        def lose(method, path):
            if method in ("PUT", "GET") and next(passes, None) is None:
                raise ConnectionError

        def sent():
            return [path for method, path in proxy.passed if method in ("PUT", "GET")]

        for transfer in (lambda: lake.upload(many), lambda: lake.download("", tmp_path / "back")):
            proxy.passed.clear()
            passes = iter(range(15))
            proxy.before = lose
            with pytest.raises(DatastoreError, match="cannot be reached"):
                transfer()
            first = sent()
            proxy.before = lambda method, path: None
            proxy.passed.clear()
            transfer()
            assert len(first) == 15
            assert len(first) + len(sent()) == 40
        assert sorted(path.read_text() for path in (tmp_path / "back").rglob("*") if path.is_file()) == sorted(
            path.read_text() for path in many.rglob("*.txt")
        )

    def test_what_has_the_same_content_is_not_sent_to_be_replaced(self, lake_behind_proxy, many, tmp_path):
        lake, proxy = lake_behind_proxy
        lake.upload(many)
        lake.download("", tmp_path / "back")
        proxy.passed.clear()

        (many / "0/0/0.txt").write_text("changed")
        lake.upload(many, overwrite=True)
        assert proxy.sent() == ["raw/0/0/0.txt"]
        lake.download("", tmp_path / "back", overwrite=True)
        assert proxy.fetched() == ["raw/0/0/0.txt"]
        assert (tmp_path / "back/0/0/0.txt").read_text() == "changed"


class TestDatasets:
    def test_an_object_is_fetched_once_and_counts_by_content(self, lake, source, workspace, monkeypatch):
        lake.upload(source)
        make_settled(lake)
        data = lines_of(lake)
        assert sum_of.run(data=data).outputs["result"] == 6
        fetched = []
        real = type(lake)._fetch
        monkeypatch.setattr(type(lake), "_fetch", lambda *given: fetched.append(given[1].path) or real(*given))

        assert sum_of.run(data=data).steps["total"].reused
        assert fetched == []
        (source / "a.csv").write_text("x,kind\n1,odd\n4,even\n")
        lake.upload(source / "a.csv", overwrite=True)
        assert sum_of.run(data=data).outputs["result"] == 8
        assert set(fetched) == {"a.csv"}
        (source / "a.csv").write_text("x,kind\n1,odd\n2,even\n")
        lake.upload(source / "a.csv", overwrite=True)
        assert sum_of.run(data=data).steps["total"].reused

    def test_the_same_bytes_on_this_machine_are_the_same(self, lake, source):
        lake.upload(source)

        sum_of.run(data=lines_of(lake))
        assert sum_of.run(data=Dataset.from_delimited_files("source/**/*.csv")).steps["total"].reused

    def test_a_damaged_copy_is_fetched_again(self, lake, source, workspace):
        lake.upload(source / "a.csv")
        make_settled(lake)
        data = lines_of(lake)
        assert data.to_pandas()["x"].tolist() == [1, 2]
        (copy,) = [path for path in (workspace / "cache").rglob("*") if path.is_file()]
        copy.chmod(0o600)
        copy.write_text("x,kind\n7,odd\n")

        assert data.to_pandas()["x"].tolist() == [1, 2]

    def test_it_is_registered_and_read_inside_of_a_step(self, lake, source):
        lake.upload(source)
        lines_of(lake).register("numbers")

        @step
        def read():
            return int(Dataset.get("numbers").to_pandas()["x"].sum())

        @pipeline
        def reading():
            return read()

        assert reading.run().outputs["result"] == 6
        assert reading.run().steps["read"].reused
        (source / "a.csv").write_text("x,kind\n1,odd\n4,even\n")
        lake.upload(source / "a.csv", overwrite=True)
        assert reading.run().outputs["result"] == 8

    def test_rows_are_written_there_in_partitions(self, lake, source):
        parts = Dataset.from_delimited_files("source/**/*.csv").partition_by("kind", ("lake", "parts"))

        assert parts.files == ["kind=even/part-0.parquet", "kind=odd/part-0.parquet"]
        assert sorted(parts.to_pandas()["x"]) == [1, 2, 3]


def make_settled(lake):
    """Have an SFTP server's files be of some time ago: before that their time tells nothing."""
    if lake.protocol == "sftp":
        for entry in lake.list():
            lake.location.files.ftp.utime(lake.location._full(entry.path), (10**9, 10**9))


def test_one_connection_serves_every_look(request, stores, monkeypatch, tmp_path, source):
    lake = make_sftp(request, stores, monkeypatch, "", tmp_path)
    lake.upload(source)
    client = lake.location.files

    for _ in range(3):
        lines_of(lake).look()
    assert Workspace().datastores["lake"].location.files is client
    lake.location.reconnect()


class TestRefusals:
    def test_wrong_credentials_are_told_without_showing_them(
        self, stores, s3_server, sftp_server, azure_server, monkeypatch
    ):
        port, _ = sftp_server
        monkeypatch.setenv("LAKE_PASSWORD", "s3cr3t")
        options = {"port": port, "username": "nobody", "look_for_keys": False, "allow_agent": False}
        sftp = stores.register(
            "lake", "sftp://127.0.0.1/tmp", options=options, credentials={"password": "env:LAKE_PASSWORD"}
        )
        with pytest.raises(DatastoreError, match=r"refuses to list .*password from env:LAKE_PASSWORD") as caught:
            sftp.list()
        assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))

        wrong = "d3Jvbmcgd3Jvbmcgd3Jvbmc="
        monkeypatch.setenv(
            "LAKE_CONNECTION",
            f"DefaultEndpointsProtocol=http;AccountName={servers.AZURITE_ACCOUNT};AccountKey={wrong};"
            f"BlobEndpoint={azure_server};",
        )
        azure = stores.register("azure", "abfs://container", credentials={"connection_string": "env:LAKE_CONNECTION"})
        with pytest.raises(DatastoreError, match=r"refuses to .*connection_string from env:LAKE_CONNECTION") as caught:
            azure.find("x.csv")
        assert wrong not in "".join(traceback.format_exception(caught.value))

    def test_a_store_that_is_not_there_is_told_after_several_tries(self, stores, monkeypatch, impatient):
        lake = register_s3(stores, f"http://127.0.0.1:{servers.free_port()}", monkeypatch, "bucket")

        with pytest.raises(DatastoreError, match=r"cannot be reached to list .*after several tries") as caught:
            lake.list()
        assert "s3cr3t" not in str(caught.value)

    def test_a_run_on_a_store_that_is_not_there_names_step_and_argument(self, stores, monkeypatch, impatient):
        lake = register_s3(stores, f"http://127.0.0.1:{servers.free_port()}", monkeypatch, "bucket")

        with pytest.raises(
            DatastoreError, match=r"step 'total', argument 'data': datastore 'lake' .* cannot be reached"
        ):
            sum_of.run(data=lines_of(lake))
        assert Workspace().runs() == []

    def test_a_store_that_goes_away_midway_leaves_nothing_half_written(
        self, stores, tmp_path, tmp_path_factory, monkeypatch, soon_discouraged
    ):
        port = servers.free_port()
        with servers.running(servers.s3_command(port), port, tmp_path / "log") as process:
            lake = register_s3(stores, f"http://127.0.0.1:{port}", monkeypatch, "bucket")
            lake.location.files.mkdir("bucket")
            for number in range(3):
                (tmp_path / f"{number}.bin").write_bytes(b"x" * 1000)
                lake.upload(tmp_path / f"{number}.bin")
            real = type(lake)._fetch

            def fetch(self, entry, target):
                if entry.path == "1.bin":
                    process.terminate()
                    process.wait(10)
                real(self, entry, target)

            monkeypatch.setattr(type(lake), "_fetch", fetch)
            with pytest.raises(DatastoreError, match=r"cannot be reached to read '\d.bin'"):
                lake.download("*.bin", tmp_path / "back")
        left = {path.name: path.read_bytes() for path in (tmp_path / "back").iterdir()}
        assert "1.bin" not in left
        assert set(left.values()) <= {b"x" * 1000}

    def test_an_extra_that_is_not_installed_is_named(self, stores, monkeypatch):
        monkeypatch.setitem(sys.modules, "s3fs", None)
        lake = stores.register("lake", "s3://bucket")

        with pytest.raises(ImportError, match="extra 's3'"):
            lake.list()


class Handler(SimpleHTTPRequestHandler):
    """Python's own server, as it is, or with what others say of a file besides."""

    validator = None
    asked = 0

    def log_message(self, *words):
        pass

    def do_GET(self):
        type(self).asked += 1
        with suppress(ConnectionError):
            super().do_GET()

    def end_headers(self):
        if self.validator:
            self.send_header("ETag", self.validator)
        super().end_headers()


@contextmanager
def serving(folder, validator):
    handler = type("Handler", (Handler,), {"validator": validator})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", handler
        finally:
            server.shutdown()
            thread.join()


class TestHttp:
    @pytest.mark.parametrize(("validator", "is_fetched_again"), [('"1"', False), (None, True)])
    def test_without_a_validator_a_file_is_fetched_on_every_use_and_that_is_said(
        self, source, validator, is_fetched_again, caplog
    ):
        pytest.importorskip("aiohttp", reason="aiohttp is not installed")
        with serving(source, validator) as (address, handler):
            data = Dataset.from_delimited_files(f"{address}/a.csv")
            assert sum_of.run(data=data).outputs["result"] == 3
            before = handler.asked
            assert sum_of.run(data=data).steps["total"].reused
            assert (handler.asked > before) is is_fetched_again
        assert ("fetched on every use" in caplog.text) is is_fetched_again

    def test_a_file_that_is_not_there_is_named(self, source):
        pytest.importorskip("aiohttp", reason="aiohttp is not installed")
        with (
            serving(source, None) as (address, _),
            pytest.raises(DatasetError, match=r"no file or folder 'http://127.0.0.1:.*/b.csv'"),
        ):
            Dataset.from_delimited_files(f"{address}/b.csv").to_pandas()


def test_what_is_in_memory_is_fetched_for_the_steps(stores, source):
    lake = stores.register("lake", "memory://for-steps")
    lake.upload(source, overwrite=True)

    assert sum_of.run(data=lines_of(lake)).outputs["result"] == 6
