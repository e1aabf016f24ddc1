"""Datastores on real servers, for tests of all rooms: S3 (moto), Azure Blob (Azurite), Google Cloud Storage
(fake-gcs-server), SFTP (OpenSSH)."""

from __future__ import annotations

import getpass

import pytest

from data import servers
from data.proxy import proxying
from pipelite import Workspace
from pipelite.data import retries


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    port = servers.free_port()
    log = tmp_path_factory.mktemp("s3") / "log"
    with servers.running(servers.s3_command(port), port, log):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory):
    port = servers.free_port()
    folder = tmp_path_factory.mktemp("azure")
    with servers.running(servers.azurite_command(port), port, folder / "log"):
        yield f"http://127.0.0.1:{port}/{servers.AZURITE_ACCOUNT}"


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory):
    port = servers.free_port()
    folder = tmp_path_factory.mktemp("gcs")
    with pytest.MonkeyPatch.context() as patch:
        # gcsfs would ask for the kind of each bucket by gRPC, which this server does not speak; read at its import.
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        with servers.running(servers.gcs_command(port), port, folder / "log"):
            yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def sftp_server(tmp_path_factory):
    port = servers.free_port()
    folder = tmp_path_factory.mktemp("sftp")
    command, key = servers.sftp_command(port, folder)
    with servers.running(command, port, folder / "log"):
        yield port, key


@pytest.fixture
def stores(workspace):
    return Workspace().datastores


def register_s3(stores, server, monkeypatch, name, secret="s3cr3t", called="lake"):
    monkeypatch.setenv("LAKE_KEY", "testing")
    monkeypatch.setenv("LAKE_SECRET", secret)
    return stores.register(
        called,
        f"s3://{name}/raw",
        # What the library tries again by itself, with pauses, is left to the retries that are tested here.
        options={
            "endpoint_url": server,
            "client_kwargs": {"region_name": "eu-west-1"},
            "config_kwargs": {"retries": {"total_max_attempts": 1}},
        },
        credentials={"key": "env:LAKE_KEY", "secret": "env:LAKE_SECRET"},
    )


def make_s3(request, stores, monkeypatch, name, tmp_path, called="lake"):
    lake = register_s3(stores, request.getfixturevalue("s3_server"), monkeypatch, name, called=called)
    lake.location.files.mkdir(name)
    return lake


def make_azure(request, stores, monkeypatch, name, tmp_path, called="lake"):
    server = request.getfixturevalue("azure_server")
    monkeypatch.setenv(
        "LAKE_CONNECTION",
        f"DefaultEndpointsProtocol=http;AccountName={servers.AZURITE_ACCOUNT};AccountKey={servers.AZURITE_KEY};"
        f"BlobEndpoint={server};",
    )
    lake = stores.register(called, f"abfs://{name}/raw", credentials={"connection_string": "env:LAKE_CONNECTION"})
    lake.location.files.mkdir(name)
    return lake


def make_gcs(request, stores, monkeypatch, name, tmp_path, called="lake"):
    options = {"endpoint_url": request.getfixturevalue("gcs_server"), "token": "anon", "project": "tests"}
    lake = stores.register(called, f"gcs://{name}/raw", options=options)
    lake.location.files.mkdir(name)
    return lake


def make_sftp(request, stores, monkeypatch, name, tmp_path, called="lake"):
    port, key = request.getfixturevalue("sftp_server")
    folder = tmp_path / f"served-{called}"
    folder.mkdir()
    options = {"port": port, "username": getpass.getuser(), "key_filename": str(key), "look_for_keys": False}
    return stores.register(called, f"sftp://127.0.0.1{folder}", options={**options, "allow_agent": False})


MAKERS = {"s3": make_s3, "azure": make_azure, "gcs": make_gcs, "sftp": make_sftp}


@pytest.fixture(params=list(MAKERS))
def lake(request, stores, monkeypatch, tmp_path):
    """A datastore on each kind of server."""
    name = f"bucket-{abs(hash(request.node.nodeid)) % 10**9}"
    made = MAKERS[request.param](request, stores, monkeypatch, name, tmp_path)
    yield made
    made.location.reconnect()


@pytest.fixture
def lake_behind_proxy(s3_server, stores, monkeypatch, request):
    """The datastore `lake` on S3, and the proxy that it is reached by."""
    with proxying(s3_server) as proxy:
        name = f"bucket-{abs(hash(request.node.nodeid)) % 10**9}"
        lake = register_s3(stores, proxy.address, monkeypatch, name)
        lake.location.files.mkdir(name)
        yield lake, proxy
        lake.location.reconnect()


@pytest.fixture
def soon_discouraged(impatient, monkeypatch):
    """There is one retry: each makes a new connection, which takes a library seconds."""
    monkeypatch.setitem(retries.retrying.__kwdefaults__, "attempts", 2)


@pytest.fixture
def impatient(monkeypatch):
    """Retries come without a pause, and without those of a library itself."""
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.0)
    monkeypatch.setattr(pytest.importorskip("s3fs").S3FileSystem, "retries", 1)
