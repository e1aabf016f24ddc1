"""The OpenAPI document of the interface, made from the table of routes and what is published."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import pipelite
from pipelite.automate import PublishedVersion
from pipelite.serve.published import schema_of
from pipelite.serve.routes import ROUTES, SCHEMAS, Route, call_schema

#: What every route may refuse with; those that need no token ask for none.
_ALWAYS = (400, 403)
_WITH_TOKEN = (401, 429)
_PARTS = {
    "id": "The id of a run, whole.",
    "name": "A name; slashes in it may be written %2F.",
    "pipeline": "The id of a version.",
    "endpoint": "The id of a pipeline endpoint.",
    "version": "The number of one of its versions, from 0.",
    "workspace": "Any name; the parts of a long one are not looked at.",
    "experiment": "The name of the experiment of the run.",
    "trigger": "The name of a trigger; for a POST the secret that is the end of its URL.",
}


def make_document(versions: Sequence[PublishedVersion]) -> dict[str, Any]:
    """OpenAPI 3.1 as plain JSON; calls of the default versions with the parameters that each takes.

    Parameters
    ----------
    versions : those that endpoints lead to
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, route.body)
    submit = next(route for route in ROUTES if route.is_idempotent)
    for version in versions:
        body = call_schema(schema_of(version))
        operation = _operation(submit, body, id=f"submit {version.name}", parts=False)
        operation["summary"] = version.description or f"Put a run of {version.label} into the queue."
        paths[f"/pipelines/{quote(version.name)}"] = {"post": operation}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pipelite",
            "version": pipelite.__version__,
            "description": "Calls published pipelines, and shows what became of the runs.",
        },
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(route: Route, body: Any, *, id: str | None = None, parts: bool = True) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = []
    names = [part[1:-1] for part in route.path.split("/") if part.startswith("{")] if parts else []
    parameters += [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "description": _PARTS[name]}
        for name in names
    ]
    parameters += [
        {"name": each.name, "in": "query", "schema": dict(each.schema), "description": each.description}
        for each in route.query
    ]
    if route.is_idempotent:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "schema": {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"},
                "description": "Of calls with the same key, one makes a run, and all get its id.",
            }
        )
    refusals = {*_ALWAYS, *route.refusals, *(_WITH_TOKEN if route.scope else ()), *((404,) if names or id else ())}
    errors = "AzureMLError" if route.is_azureml else "Error"
    made: dict[str, Any] = {
        "operationId": id or route.answer.__name__,
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            **{
                str(status): {
                    "description": result.description,
                    "content": {kind: {"schema": dict(schema)} for kind, schema in result.content.items()},
                }
                for status, result in route.results.items()
            },
            **{
                str(status): {
                    "description": HTTPStatus(status).phrase,
                    "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{errors}"}}},
                }
                for status in sorted(refusals)
            },
        },
    }
    if body is not None:
        made["requestBody"] = {"content": {"application/json": {"schema": dict(body)}}}
    if route.scope is None:
        made["security"] = []
    else:
        made["description"] = f"Needs a token with the scope {route.scope}."
    return made
