"""Answers about published pipelines and endpoints, and takes calls of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from flask import Response

from pipelite import automate
from pipelite.automate import EndpointRecord, PublishedVersion
from pipelite.define import bind_parameters, to_json_schema
from pipelite.errors import NotFoundError
from pipelite.records import FINAL, Status
from pipelite.serve.bodies import read_object
from pipelite.serve.calls import Call, answer
from pipelite.serve.paths import place_paths
from pipelite.serve.refusals import Refusal, invalid, not_found
from pipelite.serve.runs import describe_run
from pipelite.store import get_run

#: Characters of a name or a tag.
MOST_LETTERS = 255
MOST_TAGS = 100
#: Priorities lie between this and its negative.
MOST_PRIORITY = 1_000_000
_CALL = frozenset({"ExperimentName", "ParameterAssignments", "Tags", "Priority"})
_KEY = re.compile(r"[\x21-\x7e]{1,255}\Z")


def submit(call: Call) -> Response:
    """Put a run of a published pipeline into the queue."""
    service = call.service
    service.check_taking()
    body = read_object(call.request.get_data(), call.request.mimetype, names=_CALL)
    assignments = _object(body, "ParameterAssignments")
    experiment = _text(body, "ExperimentName")
    tags = _tags(body)
    priority = body.get("Priority", 0)
    if type(priority) is not int or abs(priority) > MOST_PRIORITY:
        raise invalid(f"Priority is a whole number of at most {MOST_PRIORITY}", parameter="Priority")
    key = read_key(call)
    version = _find_called(call, key)
    assignments = take_assignments(call, version, assignments)
    record, _ = automate.submit(
        service.store,
        version,
        assignments,
        experiment=experiment,
        tags=tags,
        priority=priority,
        requested_by=None if call.token is None else f"token {call.token.id}",
        idempotency_key=key,
    )
    service.wake()
    return answer_queued(call, record.id, version, status=record.status)


def take_assignments(call: Call, version: PublishedVersion, assignments: dict[str, Any]) -> dict[str, Any]:
    """Values of parameters as they came, with paths in them replaced by what they stand for here.

    Raises
    ------
    ParameterError
        If one is of the wrong type, or a path that leads to nothing that clients may name.
    """
    if not any(_takes_paths(each["type"]) for each in version.described):
        return assignments
    # What is unknown or missing is found by who is to store it.
    specs = tuple(spec for spec in version.parameters if spec.name in assignments)
    known = {spec.name: assignments[spec.name] for spec in specs}
    with call.service.store.as_default():
        values = bind_parameters(specs, known, pipeline=version.name)
    return {**assignments, **place_paths(call.service, specs, known, values)}


def _find_called(call: Call, key: str | None) -> PublishedVersion:
    """The version that is called; for a call that is repeated the same, wherever the endpoint leads by now."""
    name = call.parts["name"]
    version = find_version(call, name, call.query.get("version"))
    if key is None or "version" in call.query or name != version.name:
        return version
    earlier = automate.find_requested_version(call.service.store, key)
    found = version if earlier is None else automate.find_version(call.service.store, earlier)
    return found if found.name == version.name else version


def answer_queued(call: Call, run_id: str, version: PublishedVersion, *, status: Status) -> Response:
    """What is said of a run that was put into the queue; all of it if it has ended while the client waited."""
    seconds = call.query.get("wait", 0.0)
    if seconds:
        call.service.wait_for_end(run_id, seconds)
        record = get_run(call.service.store, run_id)
        status = record.status
        if status in FINAL:
            return answer(describe_run(call.service.store, record))
    made = {
        "Id": run_id,
        "Status": status.value,
        "PipelineId": version.id,
        "Name": version.name,
        "Version": version.version,
    }
    return answer(made, 202, {"Location": f"/runs/{run_id}"})


def find_version(call: Call, name: str, version: str | None = None) -> PublishedVersion:
    """A version that is the client's business.

    Raises
    ------
    Refusal
        If there is none.
    """
    missing = not_found(f"no pipeline is published as {name!r}" + (f" with version {version!r}" if version else ""))
    try:
        found = automate.find_version(call.service.store, name, version)
    except NotFoundError:
        raise missing from None
    if not call.sees(found.name):
        raise missing
    return found


def list_pipelines(call: Call) -> Response:
    """All versions."""
    name = call.query.get("name")
    versions = automate.list_versions(call.service.store, name)
    return answer({"Pipelines": [_describe(each) for each in versions if call.sees(each.name)]})


def show_pipeline(call: Call) -> Response:
    """One version, with what it takes."""
    version = find_version(call, call.parts["name"], call.query.get("version"))
    schema = schema_of(version)
    made = {
        **_describe(version),
        "Parameters": schema["properties"],
        "Required": schema.get("required", []),
        "Outputs": list(version.outputs),
        "Packages": dict(version.packages),
        "Python": version.python,
    }
    return answer(made)


def _describe(version: PublishedVersion) -> dict[str, Any]:
    return {
        "Id": version.id,
        "Name": version.name,
        "Version": version.version,
        "Status": version.status,
        "Description": version.description,
        "ExperimentName": version.experiment,
        "CreatedAt": version.created_at,
    }


def schema_of(version: PublishedVersion) -> dict[str, Any]:
    """What ParameterAssignments of a version look like, as a JSON Schema."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {spec.name: to_json_schema(spec) for spec in version.parameters if spec.type.kind != "other"},
        "additionalProperties": False,
    }
    required = [spec.name for spec in version.parameters if spec.required]
    return {**schema, "required": required} if required else schema


def list_endpoints(call: Call) -> Response:
    """All endpoints."""
    found = automate.list_endpoints(call.service.store)
    return answer({"Endpoints": [_describe_endpoint(each) for each in found if call.sees(each.name)]})


def show_endpoint(call: Call) -> Response:
    """One endpoint, with the versions that it can lead to."""
    name = call.parts["name"]
    versions = automate.list_versions(call.service.store, name)
    return answer(
        {**_describe_endpoint(_find_endpoint(call, name)), "Versions": [_describe(each) for each in versions]}
    )


def set_default(call: Call) -> Response:
    """Have an endpoint lead to another version."""
    name = call.parts["name"]
    body = read_object(call.request.get_data(), call.request.mimetype, names=frozenset({"DefaultVersion"}))
    version = _text(body, "DefaultVersion")
    if version is None:
        raise invalid("DefaultVersion is missing", parameter="DefaultVersion")
    _find_endpoint(call, name)
    automate.set_default(call.service.store, name, version)
    return answer(_describe_endpoint(_find_endpoint(call, name)))


def _find_endpoint(call: Call, name: str) -> EndpointRecord:
    for each in automate.list_endpoints(call.service.store):
        if each.name == name and call.sees(name):
            return each
    raise not_found(f"there is no endpoint {name!r}")


def _describe_endpoint(endpoint: EndpointRecord) -> dict[str, Any]:
    return {
        "Name": endpoint.name,
        "Description": endpoint.description,
        "DefaultVersion": endpoint.default_version,
        "DefaultId": endpoint.default_id,
        "UpdatedAt": endpoint.updated_at,
        "Url": f"/pipelines/{quote(endpoint.name)}",
    }


def _takes_paths(described: Mapping[str, Any]) -> bool:
    parts = [*described.get("members", ()), *(described[name] for name in ("items", "keys") if name in described)]
    return described["kind"] in ("path", "dataset") or any(_takes_paths(part) for part in parts)


def _object(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise invalid(f"{name} is an object", parameter=name)
    return value or {}


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MOST_LETTERS or not value.isprintable():
        raise invalid(f"{name} is a text of 1 to {MOST_LETTERS} printable letters", parameter=name)
    return value


def _tags(body: Mapping[str, Any]) -> dict[str, str]:
    tags = _object(body, "Tags")
    if len(tags) > MOST_TAGS:
        raise invalid(f"there are more than {MOST_TAGS} Tags", parameter="Tags")
    for name, value in tags.items():
        if not isinstance(value, str) or max(len(name), len(value)) > MOST_LETTERS:
            raise invalid(f"Tags are texts of at most {MOST_LETTERS} letters, by name", parameter="Tags")
    return tags


def read_key(call: Call) -> str | None:
    """The header Idempotency-Key.

    Raises
    ------
    Refusal
        If it is too long, or has other letters than ASCII ones.
    """
    key = call.request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.match(key):
        raise Refusal(
            400,
            "InvalidRequest",
            "Idempotency-Key has 1 to 255 letters of ASCII and no spaces",
            parameter="Idempotency-Key",
        )
    return key
