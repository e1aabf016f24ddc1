"""The WSGI application: finds the route, checks who asks and what, and has it answered."""

from __future__ import annotations

import math
import re
import sys
import traceback
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from pipelite.clock import CLOCK
from pipelite.errors import PipeliteError
from pipelite.serve.calls import Call, answer, forbidden
from pipelite.serve.refusals import Refusal, as_refusal, invalid
from pipelite.serve.routes import ROUTES, Query, Route
from pipelite.serve.service import MOST_BYTES, Service
from pipelite.store.tokens import Token, find_token

_INTEGER = re.compile(r"\d{1,19}\Z", re.ASCII)
_NUMBER = re.compile(r"\d{1,15}(\.\d{1,15})?\Z", re.ASCII)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class App(Flask):
    """The REST interface of one workspace."""

    def __init__(self, service: Service) -> None:
        super().__init__("pipelite.serve", static_folder=None)
        self.service = service
        self.config["MAX_CONTENT_LENGTH"] = MOST_BYTES
        # An address is answered as it is or not at all, and never by sending the client elsewhere.
        self.url_map.merge_slashes = False
        self.url_map.strict_slashes = True
        self.before_request(self._admit)
        self.after_request(self._note)
        self.register_error_handler(Exception, self._explain)
        for route in ROUTES:
            self._add(route)

    def _add(self, route: Route) -> None:
        rule = re.sub(r"(?<=/steps/)\{name\}|(?<=/outputs/)\{name\}", "<path:name>", route.path)
        rule = rule.replace("{workspace}", "<path:workspace>")
        rule = re.sub(r"\{(\w+)\}", r"<\1>", rule)

        def view(**parts: str) -> Response:
            query = _read_query(route.query)
            return route.answer(Call(service=self.service, request=request, token=g.token, parts=parts, query=query))

        self.add_url_rule(
            rule,
            endpoint=f"{route.method} {route.path}",
            view_func=view,
            methods=[route.method],
            provide_automatic_options=False,
        )

    def _admit(self) -> None:
        """Look at who asks, before anything else is looked at."""
        g.started = CLOCK.monotonic()
        host = request.headers.get("Host")
        if not self.service.hosts.takes(host):
            raise forbidden(
                "this server does not go by the name in the header Host; `pipelite serve --allow-host` adds one"
            )
        origin = request.headers.get("Origin")
        if origin is not None and not self.service.hosts.is_same(origin, host):
            raise forbidden("pages of other sites may not call this server")
        route = _route()
        g.token = None if route is not None and route.scope is None else self._check_token()
        if route is not None and route.scope is not None and not g.token.may(route.scope):
            raise forbidden(f"this needs a token with the scope {route.scope}, and that of this one is {g.token.scope}")

    def _check_token(self) -> Token:
        kind, _, text = request.headers.get("Authorization", "").partition(" ")
        text = text.strip()
        if kind.lower() != "bearer" or not text:
            raise _unauthorized("send the header `Authorization: Bearer TOKEN`; `pipelite token create` makes a token")
        address = request.remote_addr or ""
        throttle = self.service.throttle
        wait_s = throttle.wait_s(address, text)
        if wait_s > 0:
            headers = {"Retry-After": str(math.ceil(wait_s))}
            raise Refusal(429, "TooManyRequests", "too many wrong tokens came from this address", headers=headers)
        token = find_token(self.service.store, text)
        if token is None:
            throttle.note_failure(address, text)
            raise _unauthorized("the token is unknown, has expired or was revoked")
        throttle.note_success(text)
        return token

    def _note(self, response: Response) -> Response:
        route = _route()
        method = request.method if request.method in _METHODS else "other"
        took = CLOCK.monotonic() - g.started
        self.service.counters.note(method, "other" if route is None else route.path, response.status_code, took)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def _explain(self, error: Exception) -> Response:
        """Any error as an answer; what is nobody's fault but ours is printed, too."""
        refusal = _as_refusal(error)
        if refusal is None:
            # Without what clients sent: neither headers nor bodies are in it.
            sys.stderr.write("".join(traceback.format_exception(error)))
            refusal = Refusal(500, "InternalError", "something went wrong in the server; its log says what")
        route = _route()
        body = refusal.azureml_body() if route is not None and route.is_azureml else refusal.body()
        return answer(body, refusal.status, refusal.headers)


def _as_refusal(error: Exception) -> Refusal | None:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, PipeliteError):
        return as_refusal(error)
    if isinstance(error, HTTPException) and error.code is not None and error.code < 500:
        headers = {name: text for name, text in error.get_headers() if name in ("Allow", "Content-Range")}
        return Refusal(error.code, error.name.replace(" ", ""), error.description or error.name, headers=headers)
    return None


def _unauthorized(message: str) -> Refusal:
    return Refusal(401, "Unauthorized", message, headers={"WWW-Authenticate": "Bearer"})


_BY_ENDPOINT = {f"{route.method} {route.path}": route for route in ROUTES}


def _route() -> Route | None:
    """The route of the request, if it has one."""
    return _BY_ENDPOINT.get(request.endpoint or "")


def _read_query(known: tuple[Query, ...]) -> dict[str, Any]:
    """What stands behind the question mark, by name.

    Raises
    ------
    Refusal
        If something is unknown, there twice, or not of its type.
    """
    by_name = {each.name: each for each in known}
    found: dict[str, Any] = {}
    for name, texts in request.args.lists():
        if name not in by_name:
            takes = f"it takes {', '.join(by_name)}" if by_name else "it takes nothing"
            raise invalid(f"nothing is known of {name!r} behind the question mark; {takes}", parameter=name)
        if len(texts) > 1:
            raise invalid(f"{name} is given twice", parameter=name)
        found[name] = _read(by_name[name], texts[0])
    return found


def _read(query: Query, text: str) -> Any:
    schema = query.schema
    expected = ", ".join(f"{key} {value}" for key, value in schema.items() if key != "default")
    wrong = invalid(f"{query.name} is {text[:100]!r}, and has to be of {expected}", parameter=query.name)
    kind = schema["type"]
    if kind == "string":
        if text not in schema.get("enum", (text,)) or len(text) < schema.get("minLength", 0):
            raise wrong
        return text
    if not (_INTEGER if kind == "integer" else _NUMBER).match(text):
        raise wrong
    number = int(text) if kind == "integer" else float(text)
    if not schema.get("minimum", number) <= number <= schema.get("maximum", number):
        raise wrong
    return number
