"""An HTTP proxy between a client and a real server: counts what is asked, and holds up, cuts off or changes what passes."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: Of one connection only, and so not passed on.
_HOP = frozenset({"connection", "keep-alive", "transfer-encoding"})


class Proxy:
    """What passed, and what is done to it."""

    def __init__(self, address: str) -> None:
        self.address = address
        #: Method and path, without the bucket's, of each object that was sent or fetched, in the order of arrival.
        self.passed: list[tuple[str, str]] = []
        #: Called with both before anything is passed on; if it raises ConnectionError, the connection is cut.
        self.before: Callable[[str, str], None] = lambda method, path: None
        #: Called with both and a body that passes, whichever way; gives what is passed on.
        self.change: Callable[[str, str, bytes], bytes] = lambda method, path, body: body

    def sent(self) -> list[str]:
        return [path for method, path in self.passed if method == "PUT"]

    def fetched(self) -> list[str]:
        return [path for method, path in self.passed if method == "GET"]


@contextmanager
def proxying(server: str) -> Iterator[Proxy]:
    """A proxy in front of the server at an address."""
    host = server.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            pass

        def handle_any(self) -> None:
            path = self.path.partition("?")[0].strip("/").partition("/")[2]
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            is_object = bool(path) and "list-type" not in self.path
            try:
                if is_object:
                    proxy.before(self.command, path)
                if is_object and self.command == "PUT":
                    body = proxy.change(self.command, path, body)
                with closing(http.client.HTTPConnection(host, timeout=30)) as connection:
                    connection.request(self.command, self.path, body, dict(self.headers.items()))
                    answer = connection.getresponse()
                    content = answer.read()
                if is_object and self.command == "GET":
                    content = proxy.change(self.command, path, content)
                if is_object:
                    proxy.passed.append((self.command, path))
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _HOP and not (name.lower() == "content-length" and self.command != "HEAD"):
                        self.send_header(name, value)
                if self.command != "HEAD":
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except ConnectionError:
                self.close_connection = True

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as front:
        front.daemon_threads = True
        front.block_on_close = False
        proxy = Proxy(f"http://127.0.0.1:{front.server_port}")
        thread = threading.Thread(target=front.serve_forever)
        thread.start()
        try:
            yield proxy
        finally:
            front.shutdown()
            thread.join()
