"""Whom a request was meant for, and whose page a browser sent it from.

A page of somebody else may have a browser call a server on this machine, also by a name that it has lead here (DNS
rebinding); what such a request says of its host and origin gives it away.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Hosts:
    """The names by which clients may call this server."""

    def __init__(self, names: Iterable[str] = (), *, bound_to: str = "127.0.0.1") -> None:
        self._names = {name.lower().strip("[]") for name in (*LOOPBACK, *names, bound_to)}
        # Nobody can have an address lead elsewhere, as they can a name.
        self._takes_addresses = is_any(bound_to)
        if self._takes_addresses:
            self._names.add(socket.gethostname().lower())

    def takes(self, header: str | None) -> bool:
        """Whether the header Host names this server."""
        name = _name_of(header or "")
        return name in self._names or (self._takes_addresses and _is_address(name))

    @staticmethod
    def is_same(origin: str, host: str | None) -> bool:
        """Whether the header Origin is that of a page of this server."""
        try:
            return urlsplit(origin).netloc.lower() == (host or "").lower() != ""
        except ValueError:
            return False


def is_any(host: str) -> bool:
    """Whether listening there is listening on every address of the machine."""
    return host in ("", "0.0.0.0", "::")  # noqa: S104 -- Told apart, not listened on.


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _name_of(header: str) -> str:
    """The name without the port."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.rpartition(":")[0] if ":" in text else text


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
