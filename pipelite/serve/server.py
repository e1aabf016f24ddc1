"""The process behind `pipelite serve`: answers requests, executes the queue, and ends in good order."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlsplit

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import create_server
from waitress.task import ErrorTask

from pipelite.api.interrupts import read_grace
from pipelite.automate import Dispatcher, Limits, SignalBell, Ticker
from pipelite.automate.watching import Watcher
from pipelite.clock import CLOCK
from pipelite.errors import ServeError
from pipelite.serve.app import App
from pipelite.serve.hosts import is_any, is_loopback
from pipelite.serve.refusals import Refusal
from pipelite.serve.service import MOST_BYTES, MOST_WAITING, Service
from pipelite.store import Store
from pipelite.store.tokens import has_token_for_others, keep_local_token

#: Threads that answer; those that wait for the ends of runs take some of them at most.
_THREADS = MOST_WAITING + 8
#: Seconds in which a request has to be here, from its first byte to its last, and after which an idle connection is closed.
REQUEST_S = 8.0
#: Seconds after which a client that takes nothing of its answer is given up.
STALLED_S = 30.0
#: Connections, of the 1,024 open files that a process often has; and bytes of the headers of a request.
_CONNECTIONS = 500
_HEADER_BYTES = 64 * 1024
#: Seconds that answers which are on their way get when the process ends.
_FLUSH_S = 2.0
#: Seconds from one to the next word to a runner that is to end at once.
_HURRY_S = 0.2


class _ErrorAnswer(ErrorTask):
    """Says in JSON what is wrong with a request that never got to the application."""

    def execute(self) -> None:
        # What is asked for in a form that nobody has to know is the client's mistake, too.
        code = cast(Any, self.request).error.code
        status = HTTPStatus(400 if code == 501 else code)
        refusal = Refusal(status, status.phrase.replace(" ", ""), f"the request is refused: {status.phrase.lower()}")
        body = json.dumps(refusal.body()).encode() + b"\n"
        self.status = f"{status.value} {status.phrase}"
        self.response_headers = [("Content-Type", "application/json")]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Parser(HTTPRequestParser):
    """Reads the headers of a request."""

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ValueError:
            # An address with half of an IPv6 address in it, such as `http://[`.
            raise ParsingError("Bad URI") from None
        if self.chunked and "CONTENT_LENGTH" in self.headers:
            # A proxy in front may have believed the one of them that is not believed here.
            raise ParsingError("Content-Length and chunked")


class _Channel(HTTPChannel):
    """A connection whose requests have to arrive in time, however slowly their bytes drip, and whose answers be taken."""

    parser_class = _Parser
    error_task_class = _ErrorAnswer
    _began: float | None = None

    def writable(self) -> Any:
        if self.total_outbufs_len and CLOCK.time() - self.last_activity > STALLED_S:
            # Whoever reads nothing holds a thread that has more to send.
            self.will_close = True
            self.handle_close()
            return False
        return super().writable()

    def received(self, data: bytes) -> Any:
        done = super().received(data)
        if self.request is None:
            self._began = None
        elif self._began is None:
            self._began = CLOCK.time()
        else:
            # The server closes what has been idle for too long: counted from the first byte.
            self.last_activity = self._began
        return done


def _bind(host: str, port: int) -> list[socket.socket]:
    """Sockets on all addresses that a name stands for, with one port: that of the first where any will do."""
    made: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            opened = socket.socket(family, kind, protocol)
            made.append(opened)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            opened.bind((address[0], port, *address[2:]))
            port = opened.getsockname()[1]
    except OSError:
        for opened in made:
            opened.close()
        raise
    return made


def _name_in(url: str) -> str:
    """The name of the machine in the address that clients call."""
    try:
        parts = urlsplit(url)
        name, port = parts.hostname or "", parts.port
    except ValueError:
        parts, name, port = urlsplit(""), "", None
    place = f"[{name}]" if ":" in name else name
    said = f"{parts.scheme}://{place}" + ("" if port is None else f":{port}")
    if parts.scheme not in ("http", "https") or not name or url.rstrip("/").lower() != said:
        raise ServeError(
            f"clients cannot call {url!r}; --url is https://NAME or https://NAME:PORT, with no path behind it"
        )
    return name


def _trust(proxy: str | None, *, is_unix: bool) -> dict[str, Any]:
    """The settings by which a proxy is believed whom it speaks for, and in nothing else."""
    if proxy is None:
        return {}
    if not is_unix:
        try:
            proxy = str(ipaddress.ip_address(proxy))
        except ValueError:
            raise ServeError(f"{proxy!r} is no address; --trusted-proxy is the one that the proxy calls from") from None
    elif proxy != "localhost":
        raise ServeError("who calls over a Unix socket has no address; give it with --trusted-proxy localhost")
    return {"trusted_proxy": proxy, "trusted_proxy_count": 1, "trusted_proxy_headers": {"x-forwarded-for"}}


class Server:
    """A workspace, served on one address."""

    def __init__(
        self,
        store: Store,
        *,
        host: str,
        port: int,
        unix_socket: str | None = None,
        url: str | None = None,
        trusted_proxy: str | None = None,
        hosts: Sequence[str] = (),
        paths: Sequence[str] = (),
        limits: Limits | None = None,
        sees_to_schedules: bool = True,
    ) -> None:
        """Begin to listen; nothing is answered yet.

        Parameters
        ----------
        url : str, optional
            How clients call it, where that is not the address that it listens on: through a proxy.
        trusted_proxy : str, optional
            The address from which that proxy calls, or "localhost" on a Unix socket: of its requests, the client's address
            is the one in X-Forwarded-For.

        Raises
        ------
        ServeError
            If others could reach it and nobody but this machine's user has a token, it cannot listen there, or nobody can
            call it or be trusted so.
        """
        self._store = store
        #: Where the token of the user of this machine is.
        self.token_file = keep_local_token(store)
        self._grace_s = read_grace()
        if unix_socket is None and not is_loopback(host) and not has_token_for_others(store):
            raise ServeError(
                f"others could reach a server that listens on {host}, and nobody has a token but the user of this "
                "workspace; make one first: pipelite token create --scope submit"
            )
        names = hosts if url is None else (*hosts, _name_in(url))
        self._service = Service(store, hosts=names, paths=paths, bound_to=host)
        trust = _trust(trusted_proxy, is_unix=unix_socket is not None)
        # Under much load it says for each request how many wait.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        where: dict[str, Any] = {"unix_socket": unix_socket, "unix_socket_perms": "600"}
        try:
            if unix_socket is None:
                where = {"sockets": _bind(host, port)}
            self._http = create_server(
                App(self._service),
                **where,
                **trust,
                threads=_THREADS,
                ident="pipelite",
                max_request_body_size=MOST_BYTES,
                max_request_header_size=_HEADER_BYTES,
                connection_limit=_CONNECTIONS,
                channel_timeout=int(REQUEST_S),
                cleanup_interval=1,
                asyncore_use_poll=True,
                clear_untrusted_proxy_headers=True,
            )
        except OSError as exc:
            place = unix_socket or f"{host}:{port}"
            raise ServeError(f"the server cannot listen on {place}: {exc.strerror}; choose another --port") from None
        for each in self._listeners():
            each.channel_class = _Channel
        #: Where it listens, for people.
        self.place = unix_socket or self._find_url(host)
        #: How clients call it; None on a Unix socket that nothing is said of.
        self.url = url or (None if unix_socket else self.place)
        self._dispatcher = Dispatcher(store, limits, url=self.url)
        self._service.dispatcher = self._dispatcher
        self._automatic = (Ticker(store), Watcher(store)) if sees_to_schedules else ()
        self._ended = threading.Event()
        self._signals = 0

    def _listeners(self) -> list[Any]:
        """One, or one for each address that a name stands for."""
        found = getattr(self._http, "map", None)
        return [each for each in found.values() if hasattr(each, "channel_class")] if found else [self._http]

    def _find_url(self, host: str) -> str:
        port = self._listeners()[0].effective_port
        name = "127.0.0.1" if is_any(host) else host.strip("[]")
        return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"

    def start(self) -> None:
        """Answer, and execute runs, from now on."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)
        answering = threading.Thread(target=self._http.run, name="pipelite-http", daemon=True)
        answering.start()
        self._dispatcher.start()
        for each in self._automatic:
            each.start()

    def wait(self) -> None:
        """Return after SIGTERM or Ctrl-C: no new run starts then, and running steps have the grace to finish.

        What was interrupted is resumed by whoever serves the workspace next. A second signal ends it at once.
        """
        with SignalBell() as bell:
            while not self._ended.is_set():
                bell.wait()
        self._service.end()
        for each in self._automatic:
            each.stop()
        self._dispatcher.stop(grace_s=self._grace_s)
        self._flush()

    def _hear(self, number: int, frame: Any) -> None:
        self._signals += 1
        self._ended.set()
        if self._signals > 1:
            # Not here: what this interrupts may be at the very list that is to be looked at.
            threading.Thread(target=self._hurry, name="pipelite-hurry", daemon=True).start()

    def _hurry(self) -> None:
        """End at once: a runner that is told twice does not wait for its steps."""
        # Again and again: of two signals that come together a process hears one.
        while runners := self._dispatcher.runners():
            for process, _, _ in runners:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGTERM)
            CLOCK.sleep(_HURRY_S)

    def _flush(self) -> None:
        """Take no more connections, and let answers go out that are under way."""
        until = CLOCK.monotonic() + _FLUSH_S
        for each in self._listeners():
            each.accepting = False
        while CLOCK.monotonic() < until and any(
            channel.requests or channel.total_outbufs_len
            for each in self._listeners()
            for channel in list(each.active_channels.values())
        ):
            CLOCK.sleep(0.02)
