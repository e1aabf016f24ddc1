"""One request, as the functions that answer it get it, and how answers are written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs
from flask import Request, Response

from pipelite.serve.refusals import Refusal
from pipelite.serve.service import Service
from pipelite.store import finite
from pipelite.store.tokens import Token


@attrs.frozen(kw_only=True)
class Call:
    """One request of a client that may make it."""

    service: Service
    request: Request
    #: None where no token is needed.
    token: Token | None
    #: Parts of the address.
    parts: Mapping[str, str]
    #: What stands behind the question mark, checked.
    query: Mapping[str, Any]

    def sees(self, published_name: str | None) -> bool:
        """Whether what belongs to a published name is the client's business."""
        return self.token is not None and self.token.sees(published_name)

    def check_scope(self, scope: str, what: str) -> None:
        """Make sure that the client may do something besides what its route stands for.

        Raises
        ------
        Refusal
            If its token is not for that.
        """
        if self.token is None or not self.token.may(scope):
            raise forbidden(f"{what} needs a token with the scope {scope}")


def forbidden(message: str) -> Refusal:
    return Refusal(403, "Forbidden", message)


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as JSON; numbers that JSON does not have become null."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    except ValueError:
        text = json.dumps(finite(value), ensure_ascii=False, separators=(",", ":"), default=_plain)
    content = text.encode("utf-8", "backslashreplace")
    return Response(content + b"\n", status=status, headers=dict(headers or {}), content_type="application/json")


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
