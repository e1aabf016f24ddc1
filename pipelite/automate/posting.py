"""One signed request: to an address that was looked at, within limits of time and size."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import attrs

from pipelite.clock import CLOCK
from pipelite.errors import DeliveryError

#: Begins a secret that is base64 of the key, as Standard Webhooks writes them.
SECRET_PREFIX = "whsec_"  # noqa: S105 - not a secret itself
#: So much of an answer is read, and none of it kept: it may repeat what was sent.
ANSWER_BYTES = 64 * 1024

#: Addresses at which machines in a cloud are given credentials, besides those that are link-local.
_METADATA = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "192.0.0.192", "fd00:ec2::254")))


@attrs.frozen(kw_only=True)
class Timeouts:
    """Seconds that a request may take."""

    #: Until one address of the receiver has taken the connection.
    connect_s: float = 5.0
    #: Between two parts of what it sends.
    read_s: float = 10.0
    #: Altogether, so that a receiver which answers byte by byte holds nobody up.
    total_s: float = 30.0


def check_url(url: str) -> str | None:
    """What is wrong with an address, in words that do not repeat it: it may be a secret."""
    if not url.isascii() or any(character <= " " or character == "\x7f" for character in url):
        return (
            "its URL holds spaces or characters that are not ASCII; write them as %XX, and a name of a host as xn--..."
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "its URL is none"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "its URL has to begin with http:// or https:// and a host"
    if parts.username is not None or parts.password is not None:
        return "its URL holds a user or a password; give the header Authorization as a secret header instead"
    if parts.fragment:
        return "its URL has a part after #, which is never sent"
    return None


def sign(secrets: str, delivery_id: str, timestamp: int, body: bytes) -> str:
    """Value of the header `webhook-signature`: for each of the secrets `v1,` and a base64 HMAC-SHA256.

    What is signed is id, timestamp and body, joined by full stops, after Standard Webhooks 1.0.0
    (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).

    Parameters
    ----------
    secrets : one or, while one takes the place of another, several with spaces or line ends between them
    timestamp : seconds since 1970, of this attempt

    Raises
    ------
    DeliveryError
        If there is none, or one says that it is base64 and is not.
    """
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    keys = [_key_of(secret) for secret in secrets.split()]
    if not all(keys) or not keys:
        raise DeliveryError("its secret is empty")
    return " ".join("v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)


def _key_of(secret: str) -> bytes:
    if not secret.startswith(SECRET_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise DeliveryError(f"its secret begins with {SECRET_PREFIX}, but what follows is not base64") from None


@attrs.frozen
class Answer:
    """What a receiver said."""

    status: int
    #: Seconds after which it wants to be asked again, if it says so; its header Retry-After.
    retry_after_s: float | None = None


def read_retry_after(text: str | None) -> float | None:
    """Seconds from now that a header Retry-After stands for: a whole number of them, or a date; None for anything else."""
    if text is None:
        return None
    if text.strip().isascii() and text.strip().isdigit():
        return float(text.strip()[:12])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    # A date without a zone is one of UTC.
    return max(0.0, at.replace(tzinfo=at.tzinfo or UTC).timestamp() - CLOCK.time())


class Post:
    """A request that can be broken off from another thread."""

    def __init__(self, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts) -> None:
        self._url = url
        self._headers = headers
        self._body = body
        self._timeouts = timeouts
        self._socket: socket.socket | None = None
        self._is_aborted = False

    def send(self) -> Answer:
        """The answer, whatever it is; redirects are not followed.

        Raises
        ------
        DeliveryError
            If there is no answer. The message holds nothing of what was sent, nor the address.
        """
        timer = threading.Timer(self._timeouts.total_s, self.abort)
        timer.daemon = True
        timer.start()
        try:
            return self._exchange()
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise DeliveryError(self._explain(exc)) from None
        finally:
            timer.cancel()

    def abort(self) -> None:
        """Have `send` end now."""
        self._is_aborted = True
        opened = self._socket
        if opened is not None:
            # Of an SSLSocket too the plain shutdown: its own takes the connection away from under the reader.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(opened, socket.SHUT_RDWR)

    def _exchange(self) -> Answer:
        parts = urlsplit(self._url)
        assert parts.hostname is not None
        port = parts.port or (443 if parts.scheme == "https" else 80)
        # Proxies of the environment are not used: what is sent goes to the address that was looked at.
        connection = http.client.HTTPConnection(parts.hostname, port)
        if parts.scheme == "https":
            connection.default_port = 443
        try:
            self._hold(self._connect(parts.hostname, port))
            if parts.scheme == "https":
                self._hold(self._encrypt(parts.hostname))
            connection.sock = self._socket
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", target, body=self._body, headers=dict(self._headers))
            answer = connection.getresponse()
            if self._is_aborted:
                # What had come of the headers was taken for all of them.
                raise TimeoutError
            # It was taken or refused by now; the rest is read so that the receiver can end in peace.
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                answer.read(ANSWER_BYTES)
            return Answer(answer.status, read_retry_after(answer.headers["Retry-After"]))
        finally:
            connection.close()
            if self._socket is not None:
                self._socket.close()

    def _hold(self, opened: socket.socket) -> None:
        self._socket = opened
        if self._is_aborted:
            raise TimeoutError

    def _connect(self, host: str, port: int) -> socket.socket:
        """A connection to the first address of a host that takes it.

        What is connected to is what was looked at, not the name again: that may lead elsewhere a moment later.
        """
        until = CLOCK.monotonic() + self._timeouts.connect_s
        failure: OSError = TimeoutError()
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            if is_refused(str(address[0])):
                raise DeliveryError(
                    "its host leads to an address that is not sent to: one of this link, where clouds give out "
                    "credentials, or of no single machine"
                )
            opened = socket.socket(family, kind, protocol)
            try:
                opened.settimeout(max(0.01, until - CLOCK.monotonic()))
                opened.connect(address)
                opened.settimeout(self._timeouts.read_s)
                return opened
            except OSError as exc:
                failure = exc
                opened.close()
        raise failure

    def _encrypt(self, host: str) -> socket.socket:
        assert self._socket is not None
        context = ssl.create_default_context()
        encrypted = context.wrap_socket(self._socket, server_hostname=host, do_handshake_on_connect=False)
        self._hold(encrypted)
        encrypted.do_handshake()
        return encrypted

    def _explain(self, exc: Exception) -> str:
        if self._is_aborted or isinstance(exc, TimeoutError):
            return "there was no answer in time"
        if isinstance(exc, ssl.SSLCertVerificationError):
            return f"its certificate was not accepted: {exc.verify_message}"
        if isinstance(exc, (socket.gaierror, UnicodeError)):
            return "its host was not found"
        if isinstance(exc, OSError) and exc.strerror:
            return f"it could not be reached: {exc.strerror}"
        return f"it answered something that is not HTTP ({type(exc).__name__})"


def is_refused(address: str) -> bool:
    """Whether nothing is sent to an address.

    A receiver on the same machine or in the same network is what hooks are for, and only who may write the workspace can
    add one: loopback and private addresses are sent to. Where clouds give credentials to whoever asks from the machine,
    no receiver can be.
    """
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        found = found.ipv4_mapped or found
    return found.is_link_local or found.is_multicast or found.is_unspecified or found in _METADATA
