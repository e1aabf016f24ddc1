"""Behind nginx with TLS, in the very configuration that docs/serving.rst shows."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPSConnectionPool

from certificates import make_certificate
from pipelite import Workspace
from pipelite.serve.throttle import MOST_FAILURES
from serve.sites import wait_until
from test_docs import ROOT, blocks_of

NAME = "ml.example.com"
#: What surrounds a server in nginx's own configuration, all of it below one folder.
AROUND = """
daemon off;
# Below the folders of tests nobody else may look.
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/pipelite.conf;
}}
"""


def documented_configuration() -> str:
    [block] = [each for each in blocks_of(ROOT / "docs" / "serving.rst") if each.language == "nginx"]
    return block.code


def replaced(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@pytest.fixture
def port():
    """Of nginx."""
    return free_port()


@pytest.fixture
def behind(own_site, port):
    """The server of a test, started as docs/serving.rst has it."""
    own_site.start("--url", f"https://{NAME}:{port}", "--trusted-proxy", "127.0.0.1")
    found = re.search(r"pipelite serves (\S+) as (\S+)", own_site.errors)
    assert found[2] == f"https://{NAME}:{port}"
    return own_site


@pytest.fixture
def certificate(behind, port):
    """Starts nginx with the documented server, on a free port; gives the certificate that it shows."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    folder = behind.folder / "nginx"
    folder.mkdir()
    made = make_certificate(folder / "certificate.pem", NAME)
    changes = {
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "/etc/ssl/certs/ml.example.com.pem": str(made),
        "/etc/ssl/private/ml.example.com.key": str(made),
        "http://127.0.0.1:8080": behind.url,
    }
    # Only root can, and has to, say whom the workers belong to.
    user = "" if os.getuid() else f"user {pwd.getpwuid(0).pw_name} {grp.getgrgid(0).gr_name};"
    (folder / "pipelite.conf").write_text(replaced(documented_configuration(), changes))
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, user=user))
    errors = folder / "error.log"
    with subprocess.Popen([program, "-p", folder, "-c", folder / "nginx.conf", "-e", errors]) as process:
        wait_until(lambda: listens(port) or process.poll() is not None)
        assert process.poll() is None, errors.read_text()
        yield made
        process.terminate()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class From(HTTPAdapter):
    """Connects from an address of its own, to this machine whatever the name."""

    def __init__(self, address: str, certificate: Path) -> None:
        self._address = address
        self._context = ssl.create_default_context(cafile=certificate)
        super().__init__()

    def add_headers(self, request, **_):
        request.headers.setdefault("Host", urlsplit(request.url).netloc)

    def get_connection_with_tls_context(self, request, verify, proxies=None, cert=None):
        return HTTPSConnectionPool(
            "127.0.0.1",
            urlsplit(request.url).port,
            source_address=(self._address, 0),
            ssl_context=self._context,
            server_hostname=NAME,
            assert_hostname=NAME,
        )


def client(address: str, certificate: Path, token: str) -> requests.Session:
    made = requests.Session()
    made.mount("https://", From(address, certificate))
    made.headers["Authorization"] = f"Bearer {token}"
    return made


def test_the_documented_nginx_serves_over_tls_under_the_outside_name(behind, certificate, monkeypatch):
    monkeypatch.setenv("PIPELITE_WORKSPACE", str(behind.workspace))
    published = Workspace().published["Train"]
    outside = published.endpoint.partition("/pipelines/")[0]
    session = client("127.0.0.2", certificate, behind.token)

    made = session.post(published.endpoint, json={"ParameterAssignments": {"n": 3}}, timeout=60)

    assert (made.status_code, urlsplit(made.url).scheme, urlsplit(made.url).hostname) == (202, "https", NAME)
    run = urljoin(made.url, made.headers["Location"])
    assert run == f"{outside}/runs/{made.json()['Id']}"
    assert session.get(f"{run}?wait=60", timeout=60).json()["Status"] == "completed"
    # What nginx has to pass on as it is: ranges, and slashes that are written %2F.
    log = session.get(f"{run}/steps/load/logs", headers={"Range": "bytes=0-6"}, timeout=60)
    assert (log.status_code, log.text) == (206, "loading")
    assert "has no output 'a/b'" in session.get(f"{run}/outputs/a%2Fb", timeout=60).text
    assert session.post(published.endpoint, data=b"x" * (1 << 21), timeout=60).status_code == 413
    for headers, status in (
        ({"Origin": outside}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Host": "evil.example"}, 403),
    ):
        assert session.get(f"{outside}/runs", headers=headers, timeout=60).status_code == status, headers
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"https://127.0.0.1:{urlsplit(outside).port}/healthz", timeout=60)


def test_behind_it_wrong_tokens_count_for_the_client_that_shows_them(behind, certificate, port):
    url = f"https://{NAME}:{port}/runs"
    guessing = client("127.0.0.2", certificate, f"pl_{'0' * 12}_{'A' * 43}")

    # What a client says of itself is not passed on.
    told = [guessing.get(url, headers={"X-Forwarded-For": f"10.0.0.{number}"}, timeout=60) for number in range(12)]

    assert [each.status_code for each in told] == [401] * MOST_FAILURES + [429] * 2
    first_time = client("127.0.0.3", certificate, behind.new_token("--scope", "read"))
    assert first_time.get(url, timeout=60).status_code == 200
