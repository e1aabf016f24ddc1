"""The one table of what is answered: the application and the OpenAPI document are made from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from flask import Response

from pipelite.records import Status
from pipelite.serve import azureml, downloads, published, runs, schedules, states, triggers
from pipelite.serve.calls import Call
from pipelite.serve.frames import FORMATS
from pipelite.serve.published import MOST_LETTERS, MOST_PRIORITY, MOST_TAGS

#: Seconds that a request may wait for the end of a run.
MOST_WAIT_S = 300
#: Runs on a page.
MOST_RUNS = 500


@attrs.frozen(kw_only=True)
class Query:
    """Something that may stand behind the question mark, once."""

    name: str
    #: A JSON Schema of one plain value: type, and minimum, maximum, enum, maxLength.
    schema: Mapping[str, Any]
    description: str


@attrs.frozen(kw_only=True)
class Result:
    """An answer that means success."""

    description: str
    #: By content type.
    content: Mapping[str, Mapping[str, Any]]


@attrs.frozen(kw_only=True)
class Route:
    """One thing that can be asked for."""

    method: str
    #: With parts in braces; a part ends at a slash, but for names of steps, outputs and workspaces, which may have some.
    path: str
    #: What the token has to be for; None where none is needed.
    scope: str | None
    summary: str
    answer: Callable[[Call], Response]
    results: Mapping[int, Result]
    query: tuple[Query, ...] = ()
    #: A JSON Schema, where a body is taken.
    body: Mapping[str, Any] | None = None
    #: Whether the header Idempotency-Key counts.
    is_idempotent: bool = False
    #: Statuses of 400 or more, besides those that every route has.
    refusals: tuple[int, ...] = ()
    #: Whether refusals are said in the form that clients of Azure ML know.
    is_azureml: bool = False


def _json(description: str, schema: Mapping[str, Any]) -> Result:
    return Result(description=description, content={"application/json": schema})


def _bytes(description: str, *kinds: str) -> Result:
    return Result(description=description, content={kind: {"type": "string", "format": "binary"} for kind in kinds})


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _nullable(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(name: str) -> dict[str, Any]:
    return {"type": "array", "items": _ref(name)}


def _object(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required)}


_STRING = {"type": "string"}
_NAME = {"type": "string", "maxLength": MOST_LETTERS}
_TIME = {"type": "string", "format": "date-time"}
_TIMES = {
    "CreatedAt": _TIME,
    "StartedAt": _nullable(_TIME),
    "EndedAt": _nullable(_TIME),
    "DurationSeconds": _nullable({"type": "number"}),
}
_STATUS = {"enum": [each.value for each in Status]}
#: Those of runs.
_RUN_STATUSES = [each.value for each in Status if each not in (Status.PENDING, Status.REUSED, Status.SKIPPED)]
_TEXTS = {"type": "object", "additionalProperties": _STRING}

#: What several answers have in common.
SCHEMAS: dict[str, dict[str, Any]] = {
    "AzureMLError": _object(
        {
            "error": _object({"code": _STRING, "message": _STRING, "target": _nullable(_STRING)}),
            "correlation": {"type": "object"},
        }
    ),
    "AzureMLRun": _object(
        {
            "Id": _STRING,
            "Description": _nullable(_STRING),
            "Status": _object({"StatusCode": _STRING, "CreationTime": _TIME, "EndTime": _nullable(_TIME)}),
            "GraphId": _STRING,
            "ParameterAssignments": _TEXTS,
            "RunHistoryExperimentName": _STRING,
            "PipelineId": _STRING,
            "RunSource": _STRING,
            "RunType": _STRING,
            "tags": _TEXTS,
        }
    ),
    "AzureMLDetails": _object(
        {
            "runId": _STRING,
            "status": _STRING,
            "startTimeUtc": _nullable(_TIME),
            "endTimeUtc": _nullable(_TIME),
            "error": _nullable({"type": "object"}),
        }
    ),
    "Error": _object({"Error": _object({"Code": _STRING, "Message": _STRING, "Parameter": _nullable(_STRING)})}),
    "Queued": _object({"Id": _STRING, "Status": _STATUS}, {"PipelineId": _STRING, "Name": _STRING, "Version": _STRING}),
    "Published": _object({"Id": _STRING, "Name": _STRING, "Version": _STRING}),
    "RunSummary": _object(
        {
            "Id": _STRING,
            "Status": _STATUS,
            "Pipeline": _STRING,
            "Published": _nullable(_ref("Published")),
            "ExperimentName": _STRING,
            "Tags": _TEXTS,
            "Error": _nullable(_STRING),
            **_TIMES,
        }
    ),
    "Step": _object(
        {
            "Status": _STATUS,
            "Reused": {"type": "boolean"},
            "Attempts": {"type": "integer"},
            "Error": _nullable(_STRING),
            "StartedAt": _nullable(_TIME),
            "EndedAt": _nullable(_TIME),
            "DurationSeconds": _nullable({"type": "number"}),
            "Logs": _STRING,
        }
    ),
    "Output": _object(
        {"Url": _STRING},
        {"Kind": _STRING, "SizeBytes": {"type": "integer"}, "Digest": _STRING, "Value": {}},
    ),
    "Run": {
        "allOf": [
            _ref("RunSummary"),
            _object(
                {
                    "Description": _nullable(_STRING),
                    "Parameters": {"type": "object"},
                    "Metrics": {"type": "object"},
                    "Outputs": {"type": "object", "additionalProperties": _ref("Output")},
                    "Steps": {"type": "object", "additionalProperties": _ref("Step")},
                    "RerunOf": _nullable(_STRING),
                }
            ),
        ]
    },
    "PipelineSummary": _object(
        {
            "Id": _STRING,
            "Name": _STRING,
            "Version": _STRING,
            "Status": {"enum": ["active", "disabled", "archived"]},
            "Description": _nullable(_STRING),
            "ExperimentName": _STRING,
            "CreatedAt": _TIME,
        }
    ),
    "Pipeline": {
        "allOf": [
            _ref("PipelineSummary"),
            _object(
                {
                    "Parameters": {"type": "object"},
                    "Required": {"type": "array", "items": _STRING},
                    "Outputs": {"type": "array", "items": _STRING},
                    "Packages": _TEXTS,
                    "Python": _STRING,
                }
            ),
        ]
    },
    "Endpoint": _object(
        {
            "Name": _STRING,
            "Description": _nullable(_STRING),
            "DefaultVersion": _STRING,
            "DefaultId": _STRING,
            "UpdatedAt": _TIME,
            "Url": _STRING,
        }
    ),
    "Schedule": _object(
        {
            "Name": _STRING,
            "Description": _nullable(_STRING),
            "Pipeline": _STRING,
            "Version": _nullable(_STRING),
            "ParameterAssignments": {"type": "object"},
            "ExperimentName": _nullable(_STRING),
            "Due": _STRING,
            "Cron": _nullable(_STRING),
            "EverySeconds": _nullable({"type": "integer"}),
            "Recurrence": _nullable({"type": "object"}),
            "TimeZone": _STRING,
            "Start": _TIME,
            "End": _nullable(_TIME),
            "JitterSeconds": {"type": "number"},
            "CatchUp": _STRING,
            "Overlap": _STRING,
            "SlotParameter": _nullable(_STRING),
            "HistoryDays": {"type": "integer"},
            "DstGap": _STRING,
            "DstFold": _STRING,
            "Paused": {"type": "boolean"},
            "NextAt": _nullable(_TIME),
            "CreatedAt": _TIME,
            "Url": _STRING,
        }
    ),
    "Slot": _object(
        {
            "At": _TIME,
            "Local": _TIME,
            "Fold": {"type": "integer"},
            "Until": _nullable(_TIME),
            "Outcome": {"enum": ["fired", "missed", "skipped", "failed", "changed"]},
            "Reason": _nullable(_STRING),
            "RunId": _nullable(_STRING),
            "DecidedAt": _TIME,
        }
    ),
    "Trigger": _object(
        {
            "Name": _STRING,
            "Description": _nullable(_STRING),
            "Pipeline": _STRING,
            "Version": _nullable(_STRING),
            "ExperimentName": _nullable(_STRING),
            "ParameterAssignments": {"type": "object"},
            "CauseParameter": _nullable(_STRING),
            "On": _object({"Kind": {"enum": ["files", "run", "dataset", "http"]}}),
            "Paused": {"type": "boolean"},
            "Problem": _nullable(_STRING),
            "CreatedAt": _TIME,
        }
    ),
    "Firing": _object(
        {
            "At": _TIME,
            "Cause": {"type": "object"},
            "Outcome": {"enum": ["waiting", "fired", "skipped", "failed"]},
            "Reason": _nullable(_STRING),
            "RunId": _nullable(_STRING),
        }
    ),
}


def call_schema(assignments: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a call, given what its parameters look like."""
    text = {"type": "string", "minLength": 1, "maxLength": MOST_LETTERS}
    tags = {"type": "object", "maxProperties": MOST_TAGS, "additionalProperties": _NAME}
    return {
        "type": "object",
        "properties": {
            "ExperimentName": text,
            "ParameterAssignments": assignments,
            "Tags": tags,
            "Priority": {"type": "integer", "minimum": -MOST_PRIORITY, "maximum": MOST_PRIORITY, "default": 0},
        },
        "additionalProperties": False,
    }


_WAIT = Query(
    name="wait",
    schema={"type": "number", "minimum": 0, "maximum": MOST_WAIT_S},
    description="Seconds to wait for the end of the run; the answer comes earlier when many wait.",
)
_VERSION = Query(
    name="version", schema={"type": "string", "minLength": 1}, description="Which version; by default the endpoint's."
)

_PARENT = Query(name="parentRunId", schema=_STRING, description="Noted in the tag parent_run_id.")
#: Where Azure ML has the history of a workspace.
_HISTORY = "/history/v1.0/{workspace}/experiments/{experiment}/runs/{id}"


def _azureml_submit(
    path: str, summary: str, answer: Callable[[Call], Response], *, query: tuple[Query, ...] = ()
) -> Route:
    return Route(
        method="POST",
        path=f"/PipelineRuns/{path}",
        scope="submit",
        summary=summary,
        answer=answer,
        query=(*query, _PARENT),
        body=azureml.BODY,
        results={200: _json("The run is in the queue.", _ref("AzureMLRun"))},
        refusals=(404, 409, 413, 415, 503),
        is_azureml=True,
    )


ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/pipelines/{name}",
        scope="submit",
        summary="Put a run of a published pipeline into the queue; by the name of its endpoint, or the id of a version.",
        answer=published.submit,
        query=(_VERSION, _WAIT),
        body=call_schema({"type": "object"}),
        is_idempotent=True,
        results={202: _json("The run is in the queue.", _ref("Queued")), 200: _json("It has ended.", _ref("Run"))},
        refusals=(409, 413, 415, 503),
    ),
    Route(
        method="GET",
        path="/pipelines",
        scope="read",
        summary="Published versions, the oldest first.",
        answer=published.list_pipelines,
        query=(Query(name="name", schema=_STRING, description="Only versions of this name."),),
        results={200: _json("Versions.", _object({"Pipelines": _list("PipelineSummary")}))},
    ),
    Route(
        method="GET",
        path="/pipelines/{name}",
        scope="read",
        summary="One version, with the parameters that it takes.",
        answer=published.show_pipeline,
        query=(_VERSION,),
        results={200: _json("The version.", _ref("Pipeline"))},
    ),
    Route(
        method="GET",
        path="/endpoints",
        scope="read",
        summary="Endpoints: stable names that lead to one version each.",
        answer=published.list_endpoints,
        results={200: _json("Endpoints.", _object({"Endpoints": _list("Endpoint")}))},
    ),
    Route(
        method="GET",
        path="/endpoints/{name}",
        scope="read",
        summary="One endpoint, with the versions of its name.",
        answer=published.show_endpoint,
        results={
            200: _json(
                "The endpoint.",
                {"allOf": [_ref("Endpoint"), _object({"Versions": _list("PipelineSummary")})]},
            )
        },
    ),
    Route(
        method="PUT",
        path="/endpoints/{name}",
        scope="admin",
        summary="Have an endpoint lead to another version, from one moment to the next.",
        answer=published.set_default,
        body={
            "type": "object",
            "properties": {"DefaultVersion": {"type": "string", "minLength": 1, "maxLength": MOST_LETTERS}},
            "required": ["DefaultVersion"],
            "additionalProperties": False,
        },
        results={200: _json("The endpoint.", _ref("Endpoint"))},
        refusals=(409, 413, 415),
    ),
    Route(
        method="GET",
        path="/runs",
        scope="read",
        summary="Runs that match all that is given, the newest first.",
        answer=runs.list_runs,
        query=(
            Query(name="status", schema={"type": "string", "enum": _RUN_STATUSES}, description="Only of this status."),
            Query(
                name="pipeline", schema=_STRING, description="Only of this pipeline, by its own or its published name."
            ),
            Query(name="experiment", schema=_STRING, description="Only of this experiment."),
            Query(
                name="limit",
                schema={"type": "integer", "minimum": 1, "maximum": MOST_RUNS, "default": 50},
                description="Runs on a page.",
            ),
            Query(
                name="cursor",
                schema={"type": "string", "pattern": "^[1-9][0-9]{0,17}$"},
                description="NextCursor of the page before.",
            ),
        ),
        results={
            200: _json("A page.", _object({"Runs": _list("RunSummary"), "NextCursor": _nullable(_STRING)})),
        },
    ),
    Route(
        method="GET",
        path="/runs/{id}",
        scope="read",
        summary="Everything about a run.",
        answer=runs.show_run,
        query=(_WAIT,),
        results={200: _json("The run.", _ref("Run"))},
    ),
    Route(
        method="POST",
        path="/runs/{id}/cancel",
        scope="submit",
        summary="Have a run ended; one that has ended stays as it is.",
        answer=runs.cancel_run,
        results={202: _json("What it is now.", _ref("Queued"))},
    ),
    Route(
        method="POST",
        path="/runs/{id}/rerun",
        scope="submit",
        summary="Put a new run of the same version with the same parameters into the queue.",
        answer=runs.rerun,
        results={202: _json("The new run.", _ref("Queued"))},
        refusals=(409, 503),
    ),
    Route(
        method="POST",
        path="/runs/{id}/resume",
        scope="submit",
        summary="Put a run that ended early back into the queue; it goes on where it was.",
        answer=runs.resume,
        results={202: _json("The run.", _ref("Queued"))},
        refusals=(409, 503),
    ),
    Route(
        method="GET",
        path="/runs/{id}/steps/{name}/logs",
        scope="read",
        summary="What a step printed; the header Next-Offset says where to go on later.",
        answer=downloads.send_log,
        query=(
            Query(
                name="tail",
                schema={"type": "integer", "minimum": 0, "maximum": 100_000},
                description="Only so many lines from the end.",
            ),
            Query(
                name="offset",
                schema={"type": "integer", "minimum": 0, "maximum": 2**60},
                description="Only what comes after so many bytes.",
            ),
        ),
        results={200: _bytes("Text.", "text/plain"), 206: _bytes("The range of it.", "text/plain")},
        refusals=(416,),
    ),
    Route(
        method="GET",
        path="/runs/{id}/outputs/{name}",
        scope="read",
        summary="An output: JSON, .npy, a table as Parquet or CSV, a file as it is, a folder as zip.",
        answer=downloads.send_output,
        query=(
            Query(
                name="format",
                schema={"type": "string", "enum": [*FORMATS, "pickle"], "default": "parquet"},
                description="Of a table; pickles need the scope admin.",
            ),
        ),
        results={
            200: Result(
                description="The output.",
                content={
                    "application/json": {},
                    **_bytes("", downloads.BYTES, "application/zip", *FORMATS.values()).content,
                },
            ),
            206: _bytes("The range of it.", downloads.BYTES),
        },
        refusals=(409, 410, 416, 503),
    ),
    Route(
        method="GET",
        path="/schedules",
        scope="read",
        summary="Schedules by name.",
        answer=schedules.list_schedules,
        results={200: _json("Schedules.", _object({"Schedules": _list("Schedule")}))},
    ),
    Route(
        method="POST",
        path="/schedules",
        scope="admin",
        summary="Have a published pipeline run by itself, by one of Cron, EverySeconds and Recurrence.",
        answer=schedules.create_schedule,
        body=schedules.CREATE,
        results={201: _json("The schedule.", _ref("Schedule"))},
        refusals=(404, 409, 413, 415, 503),
    ),
    Route(
        method="GET",
        path="/schedules/{name}",
        scope="read",
        summary="One schedule.",
        answer=schedules.show_schedule,
        results={200: _json("The schedule.", _ref("Schedule"))},
    ),
    Route(
        method="PATCH",
        path="/schedules/{name}",
        scope="admin",
        summary="Change a schedule; what is not given stays as it is, and nothing runs for the past.",
        answer=schedules.change_schedule,
        body=schedules.CHANGE,
        results={200: _json("The schedule.", _ref("Schedule"))},
        refusals=(409, 413, 415, 503),
    ),
    Route(
        method="DELETE",
        path="/schedules/{name}",
        scope="admin",
        summary="Forget a schedule and its history; its runs stay.",
        answer=schedules.remove_schedule,
        results={204: Result(description="It is gone.", content={})},
        refusals=(503,),
    ),
    Route(
        method="POST",
        path="/schedules/{name}/pause",
        scope="admin",
        summary="Have a schedule make no runs until it is resumed.",
        answer=schedules.pause_schedule,
        results={200: _json("The schedule.", _ref("Schedule"))},
        refusals=(503,),
    ),
    Route(
        method="POST",
        path="/schedules/{name}/resume",
        scope="admin",
        summary="Have a paused schedule go on; nothing runs for the time that it was paused.",
        answer=schedules.resume_schedule,
        results={200: _json("The schedule.", _ref("Schedule"))},
        refusals=(503,),
    ),
    Route(
        method="GET",
        path="/schedules/{name}/next",
        scope="read",
        summary="When a schedule is due next, in its time zone; whether it is paused is no matter.",
        answer=schedules.list_next,
        query=(
            Query(
                name="limit",
                schema={"type": "integer", "minimum": 1, "maximum": schedules.MOST_NEXT, "default": 5},
                description="How many times.",
            ),
        ),
        results={200: _json("Times.", _object({"Next": {"type": "array", "items": _TIME}}))},
    ),
    Route(
        method="GET",
        path="/schedules/{name}/history",
        scope="read",
        summary="What became of the times that a schedule was due, the latest first.",
        answer=schedules.list_history,
        query=(
            Query(
                name="limit",
                schema={"type": "integer", "minimum": 1, "maximum": schedules.MOST_ROWS, "default": 50},
                description="How many rows.",
            ),
        ),
        results={200: _json("Slots.", _object({"Slots": _list("Slot")}))},
    ),
    Route(
        method="POST",
        path="/schedules/{name}/run",
        scope="submit",
        summary="Put a run of a schedule into the queue now, besides those of its times.",
        answer=schedules.run_schedule,
        results={202: _json("The run.", _ref("Queued"))},
        refusals=(409, 503),
    ),
    Route(
        method="POST",
        path="/schedules/{name}/backfill",
        scope="submit",
        summary="Put runs into the queue for the times of a schedule that had none, both ends included.",
        answer=schedules.backfill_schedule,
        body=schedules.BACKFILL,
        results={202: _json("The runs.", _object({"Runs": _list("Queued")}))},
        refusals=(409, 413, 415, 503),
    ),
    Route(
        method="GET",
        path="/triggers",
        scope="read",
        summary="What makes published pipelines run, besides schedules.",
        answer=triggers.list_triggers,
        results={200: _json("Triggers.", _object({"Triggers": _list("Trigger")}))},
    ),
    Route(
        method="GET",
        path="/triggers/{trigger}",
        scope="read",
        summary="One trigger, with what happened last and what became of it.",
        answer=triggers.show_trigger,
        results={
            200: _json("The trigger.", {"allOf": [_ref("Trigger"), _object({"History": _list("Firing")})]}),
        },
    ),
    Route(
        method="POST",
        path="/triggers/{trigger}",
        scope=None,
        summary="Put a run of the trigger with this secret into the queue; the body is not looked at.",
        answer=triggers.fire,
        is_idempotent=True,
        results={202: _json("The run is in the queue.", _ref("Queued"))},
        refusals=(409, 413, 429, 503),
    ),
    Route(
        method="POST",
        path="/triggers/{trigger}/pause",
        scope="admin",
        summary="Have a trigger make no runs until it is resumed.",
        answer=triggers.pause_trigger,
        results={200: _json("The trigger.", _ref("Trigger"))},
    ),
    Route(
        method="POST",
        path="/triggers/{trigger}/resume",
        scope="admin",
        summary="Have a paused trigger go on; what happened meanwhile has no runs.",
        answer=triggers.resume_trigger,
        results={200: _json("The trigger.", _ref("Trigger"))},
        refusals=(409,),
    ),
    _azureml_submit(
        "PipelineSubmit/{pipeline}",
        "As SDK v1 of Azure ML asks for it: put a run of a published pipeline into the queue.",
        azureml.submit_pipeline,
    ),
    _azureml_submit(
        "PipelineEndpointSubmit/Id/{endpoint}",
        "The same of the default version of a pipeline endpoint.",
        azureml.submit_endpoint,
    ),
    _azureml_submit(
        "PipelineEndpointSubmit/Id/{endpoint}/{version}",
        "The same of one version of a pipeline endpoint.",
        azureml.submit_endpoint_version,
    ),
    _azureml_submit(
        "PipelineEndpointSubmit/Name",
        "The same of a pipeline endpoint by its name.",
        azureml.submit_endpoint_by_name,
        query=(
            Query(name="name", schema=_STRING, description="Its name."),
            Query(
                name="pipelineVersion",
                schema={"type": "string", "minLength": 1},
                description="The number of one of its versions; by default the default one.",
            ),
        ),
    ),
    Route(
        method="GET",
        path=f"{_HISTORY}/details",
        scope="read",
        summary="As SDK v1 of Azure ML asks for it: how a run is.",
        answer=azureml.show_details,
        results={200: _json("The run.", _ref("AzureMLDetails"))},
        is_azureml=True,
    ),
    Route(
        method="GET",
        path=f"{_HISTORY}/children",
        scope="read",
        summary="As SDK v1 of Azure ML asks for it: how the steps of a run are.",
        answer=azureml.list_children,
        results={200: _json("The steps.", _object({"value": _list("AzureMLDetails")}))},
        is_azureml=True,
    ),
    Route(
        method="GET",
        path="/openapi.json",
        scope="read",
        summary="This document.",
        answer=states.show_document,
        results={200: _json("OpenAPI 3.1.", {"type": "object"})},
    ),
    Route(
        method="GET",
        path="/metrics",
        scope="read",
        summary="Runs, queue, runners and requests, as Prometheus reads them; not for tokens limited to some pipelines.",
        answer=states.show_metrics,
        results={200: Result(description="Metrics.", content={"text/plain": _STRING})},
    ),
    Route(
        method="GET",
        path="/healthz",
        scope=None,
        summary="Whether the server works.",
        answer=states.show_health,
        results={200: _json("It does.", _object({"Status": _STRING}))},
        refusals=(503,),
    ),
)
