"""Takes calls of published pipelines as the REST interface of Azure ML took them from SDK v1, with its fields and its answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flask import Response

from pipelite import automate
from pipelite.automate import NumberedEndpoint, PublishedVersion
from pipelite.data import Datasets
from pipelite.errors import NotFoundError
from pipelite.records import RunRecord, Status
from pipelite.serve.bodies import read_object
from pipelite.serve.calls import Call, answer
from pipelite.serve.published import MOST_TAGS, find_version, take_assignments
from pipelite.serve.refusals import Refusal, invalid, not_found
from pipelite.serve.runs import find_run
from pipelite.store import get_step_runs

#: What `Status.StatusCode` says of a run.
_CODES = {
    Status.QUEUED: "NotStarted",
    Status.COMPLETED: "Finished",
    Status.FAILED: "Failed",
    Status.INTERRUPTED: "Failed",
    Status.CANCELED: "Canceled",
}
#: What `status` in the history of an experiment says; of steps, too.
_STATUSES = {
    Status.QUEUED: "Queued",
    Status.PENDING: "NotStarted",
    Status.RUNNING: "Running",
    Status.CANCELING: "CancelRequested",
    Status.COMPLETED: "Completed",
    Status.REUSED: "Completed",
    Status.FAILED: "Failed",
    Status.INTERRUPTED: "Failed",
    Status.CANCELED: "Canceled",
    Status.SKIPPED: "Canceled",
}
_EXPERIMENT = re.compile(r"[a-zA-Z0-9][\w-]{0,254}\Z", re.ASCII)
_MOST_DESCRIBED = 10_000
#: The tag of a run with the names of values that its pipeline has no parameter for.
UNKNOWN = "azureml.unknown_parameters"

_TEXT = {"type": "string"}
_FREE = {"type": "object"}
#: What a call carries. Whatever else is there is not looked at.
BODY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "ExperimentName": {**_TEXT, "pattern": r"^[a-zA-Z0-9][\w-]{0,254}$"},
        "ParameterAssignments": {**_FREE, "description": "Values by name; numbers also as text."},
        "DataPathAssignments": {**_FREE, "description": "By name: DataStoreName and RelativePath."},
        "DataSetDefinitionValueAssignments": {
            **_FREE,
            "description": "By name: SavedDataSetReference (Id), DataSetReference (Id, or Name and Version) or LiteralValue "
            "(DataStoreName and RelativePath).",
        },
        "Description": {**_TEXT, "maxLength": _MOST_DESCRIBED},
        "ContinueRunOnStepFailure": {"type": "boolean"},
        "ParentRunId": _TEXT,
        "RunSource": _TEXT,
        "RunType": _TEXT,
        "ScheduleId": _TEXT,
        "tags": {**_FREE, "maxProperties": MOST_TAGS},
        "Properties": _FREE,
    },
    "required": ["ExperimentName"],
}


def submit_pipeline(call: Call) -> Response:
    """Put a run of a version into the queue, by its id."""
    version = find_version(call, call.parts["pipeline"])
    if version.id != call.parts["pipeline"]:
        raise not_found(f"there is no published pipeline with the id {call.parts['pipeline']!r}")
    return _submit(call, version)


def submit_endpoint(call: Call) -> Response:
    """Put a run of the default version of an endpoint into the queue."""
    return _submit_endpoint(call, _find_endpoint(call, id=call.parts["endpoint"]), None)


def submit_endpoint_version(call: Call) -> Response:
    """Put a run of one version of an endpoint into the queue."""
    return _submit_endpoint(call, _find_endpoint(call, id=call.parts["endpoint"]), call.parts["version"])


def submit_endpoint_by_name(call: Call) -> Response:
    """Put a run of a version of an endpoint into the queue, by the endpoint's name."""
    name = call.query.get("name")
    if name is None:
        raise invalid("name is missing behind the question mark", parameter="name")
    return _submit_endpoint(call, _find_endpoint(call, name=name), call.query.get("pipelineVersion"))


def show_details(call: Call) -> Response:
    """How a run is, as clients look at it again and again."""
    run = _find_run_of_experiment(call)
    return answer(_describe(run.id, run.status, run.started_at, run.ended_at, run.error))


def list_children(call: Call) -> Response:
    """How the steps of a run are."""
    run = _find_run_of_experiment(call)
    steps = get_step_runs(call.service.store, run.id)
    described = [
        {
            **_describe(f"{run.id}/{each.name}", each.status, each.started_at, each.ended_at, each.error),
            "name": each.name,
            "parentRunId": run.id,
        }
        for each in steps
    ]
    return answer({"value": described})


def _find_run_of_experiment(call: Call) -> RunRecord:
    run = find_run(call)
    if run.experiment != call.parts["experiment"]:
        raise not_found(f"there is no run {run.id!r} of the experiment {call.parts['experiment']!r}")
    return run


def _describe(id: str, status: Status, started_at: Any, ended_at: Any, error: str | None) -> dict[str, Any]:
    return {
        "runId": id,
        "status": _STATUSES[status],
        "startTimeUtc": started_at,
        "endTimeUtc": ended_at,
        "error": None if error is None else {"error": {"code": "UserError", "message": error}},
    }


def _find_endpoint(call: Call, *, id: str | None = None, name: str | None = None) -> NumberedEndpoint:
    missing = not_found(f"there is no pipeline endpoint {id or name!r}")
    try:
        found = automate.find_numbered(call.service.store, id=id, name=name)
    except NotFoundError:
        raise missing from None
    if not call.sees(found.load(call.service.store).name):
        raise missing
    return found


def _submit_endpoint(call: Call, endpoint: NumberedEndpoint, number: str | None) -> Response:
    if not endpoint.is_active:
        raise Refusal(409, "Conflict", f"the pipeline endpoint {endpoint.name!r} is disabled")
    version = endpoint.load(call.service.store, number)
    return _submit(call, find_version(call, version.id))


def _submit(call: Call, version: PublishedVersion) -> Response:
    service = call.service
    service.check_taking()
    body = read_object(call.request.get_data(), call.request.mimetype)
    experiment = body.get("ExperimentName")
    if not isinstance(experiment, str) or not _EXPERIMENT.match(experiment):
        raise invalid(
            f"ExperimentName is {experiment!r}; a letter or digit, then letters, digits, _ and - are expected",
            parameter="ExperimentName",
        )
    given = {
        **_object(body, "ParameterAssignments"),
        **{name: _read_path(name, each) for name, each in _object(body, "DataPathAssignments").items()},
        **{
            name: _read_dataset(call, name, each)
            for name, each in _object(body, "DataSetDefinitionValueAssignments").items()
        },
    }
    known = {spec.name for spec in version.parameters}
    # As v1's service, which took values that its pipeline had no parameter for; here the run says so.
    unknown = sorted(name for name in given if name not in known)
    tags = {str(name): _as_text(each) for name, each in _object(body, "tags").items()}
    if unknown:
        tags[UNKNOWN] = ", ".join(unknown)[:_MOST_DESCRIBED]
    if len(tags) > MOST_TAGS:
        raise invalid(f"there are more than {MOST_TAGS} tags", parameter="tags")
    parent = call.query.get("parentRunId") or _text(body, "ParentRunId")
    if parent is not None:
        tags["parent_run_id"] = parent
    goes_on = body.get("ContinueRunOnStepFailure")
    if goes_on is not None and not isinstance(goes_on, bool):
        raise invalid("ContinueRunOnStepFailure is true or false", parameter="ContinueRunOnStepFailure")
    taken = {name: value for name, value in given.items() if name in known}
    assignments = take_assignments(call, version, automate.read_loosely(version, taken))
    record, _ = automate.submit(
        service.store,
        version,
        assignments,
        experiment=experiment,
        description=_text(body, "Description"),
        keep_going=goes_on,
        tags=tags,
        requested_by=None if call.token is None else f"token {call.token.id}",
    )
    service.wake()
    return answer(_as_entity(record, version, body, taken))


def _as_entity(
    record: RunRecord, version: PublishedVersion, body: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The run, with the keys that clients know."""
    return {
        "Id": record.id,
        "Description": record.description,
        "Status": {
            "StatusCode": _CODES.get(record.status, "Running"),
            "StatusDetail": record.error,
            "CreationTime": record.created_at,
            "EndTime": record.ended_at,
        },
        "GraphId": version.content,
        "IsSubmitted": True,
        "HasErrors": False,
        "HasWarnings": UNKNOWN in record.tags,
        "ParameterAssignments": {name: _as_text(value) for name, value in given.items()},
        "DataPathAssignments": body.get("DataPathAssignments") or {},
        "DataSetDefinitionValueAssignments": body.get("DataSetDefinitionValueAssignments") or {},
        "RunHistoryExperimentName": record.experiment,
        "PipelineId": version.id,
        "RunSource": body.get("RunSource") or "Unavailable",
        "RunType": body.get("RunType") or "HTTP",
        "ScheduleId": body.get("ScheduleId"),
        "ParentRunId": record.tags.get("parent_run_id"),
        "tags": dict(record.tags),
        "Properties": body.get("Properties") or {},
        "EntityStatus": "Active",
        "CreatedDate": record.created_at,
        "LastModifiedDate": record.created_at,
    }


def _read_path(name: str, given: Any) -> str:
    """A path on a datastore, as a parameter takes it."""
    store = given.get("DataStoreName") if isinstance(given, Mapping) else None
    path = given.get("RelativePath") if isinstance(given, Mapping) else None
    if not isinstance(store, str) or not store or not isinstance(path, str | None):
        raise invalid(f"{name} is an object with DataStoreName and RelativePath", parameter=name)
    return f"{store}/{(path or '').strip('/')}"


def _read_dataset(call: Call, name: str, given: Any) -> str:
    """A registered dataset, or a path on a datastore, as a parameter takes it."""
    if isinstance(given, Mapping):
        if isinstance(given.get("LiteralValue"), Mapping):
            return _read_path(name, given["LiteralValue"])
        reference = given.get("DataSetReference") or given.get("SavedDataSetReference")
        if isinstance(reference, Mapping):
            if isinstance(reference.get("Name"), str):
                number = reference.get("Version")
                return f"{reference['Name']}" if number is None else f"{reference['Name']}:{number}"
            for record in Datasets(call.service.store).records():
                if record.definition.id == reference.get("Id"):
                    return record.label
            raise invalid(f"{name}: there is no registered dataset with the id {reference.get('Id')!r}", parameter=name)
    raise invalid(f"{name} is an object with SavedDataSetReference, DataSetReference or LiteralValue", parameter=name)


def _object(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise invalid(f"{name} is an object", parameter=name)
    return value or {}


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and (not isinstance(value, str) or len(value) > _MOST_DESCRIBED or "\0" in value):
        raise invalid(f"{name} is a text of at most {_MOST_DESCRIBED} letters", parameter=name)
    return value or None


def _as_text(value: Any) -> str:
    return "" if value is None else str(value)
