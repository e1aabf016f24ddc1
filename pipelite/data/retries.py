"""Which failures of a store may go away by themselves, and trying again."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Iterator
from typing import TypeVar

from pipelite.clock import CLOCK

T = TypeVar("T")

ATTEMPTS = 5
#: Seconds before the first retry; each further pause is twice as long, up to the longest.
FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 5.0

_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)
_PASSING = (ConnectionError, TimeoutError, EOFError)
_PASSING_ERRNOS = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.EPIPE,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ENETRESET,
        errno.ETIMEDOUT,
    }
)
#: Of the libraries behind fsspec, by name: none of them is imported for this.
_PASSING_NAMES = frozenset(
    {
        "ClientConnectorError",
        "ClientOSError",
        "ClientPayloadError",
        "ConnectTimeoutError",
        "ConnectionClosedError",
        "EndpointConnectionError",
        "FlexibleChecksumError",
        "HTTPClientError",
        "IncompleteRead",
        "IncompleteReadError",
        "NoValidConnectionsError",
        "ReadTimeoutError",
        "SSHException",
        "ServerDisconnectedError",
        "ServiceRequestError",
        "ServiceRequestTimeoutError",
        "ServiceResponseError",
        "ServiceResponseTimeoutError",
    }
)
_REFUSING_NAMES = frozenset(
    {"AuthenticationException", "ClientAuthenticationError", "NoCredentialsError", "PartialCredentialsError"}
)
_LASTING_NAMES = _REFUSING_NAMES | {"BadHostKeyException"}
_REFUSING_STATUS = frozenset({401, 403})
_PASSING_STATUS = frozenset({408, 429, 500, 502, 503, 504})


def is_passing(error: BaseException) -> bool:
    """Whether trying again may help: the network, a time-out, a server that is busy."""
    for each in _chain(error):
        if isinstance(each, _LASTING) or _is_named(each, _LASTING_NAMES):
            return False
        status = _status_of(each)
        if status is not None:
            return status in _PASSING_STATUS
        if isinstance(each, _PASSING) or _is_named(each, _PASSING_NAMES):
            return True
        if isinstance(each, OSError) and each.errno in _PASSING_ERRNOS:
            return True
    return False


def is_refusal(error: BaseException) -> bool:
    """Whether a store does not let one in, or not do what was asked."""
    return any(
        isinstance(each, PermissionError) or _is_named(each, _REFUSING_NAMES) or _status_of(each) in _REFUSING_STATUS
        for each in _chain(error)
    )


def retrying(
    action: Callable[[], T],
    *,
    between: Callable[[], object] = lambda: None,
    attempts: int = ATTEMPTS,
    sleep: Callable[[float], object] = CLOCK.sleep,
) -> T:
    """Do something, again after a failure that may pass; `between` is called before each further try."""
    for attempt in range(1, attempts + 1):
        try:
            return action()
        except Exception as exc:
            if attempt == attempts or not is_passing(exc):
                raise
        pause = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** (attempt - 1))
        # Uneven, so that those who were refused together do not come back together.
        sleep(pause * (0.5 + random.random()))
        between()
    raise AssertionError("at least one attempt is made")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _is_named(error: BaseException, names: frozenset[str]) -> bool:
    return any(kind.__name__ in names for kind in type(error).__mro__)


def _status_of(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        status = getattr(error, "status_code", None) or getattr(error, "status", None)
    return status if isinstance(status, int) else None
