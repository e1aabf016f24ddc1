"""What runs in the worker for a job on Databricks: one run there, from its submission to its result."""

from __future__ import annotations

import json
import os
import posixpath
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from blake3 import blake3

from pipelite.clock import CLOCK
from pipelite.errors import CommandError
from pipelite.execute import StepContext, current_run
from pipelite.steps.databricks_client import Client
from pipelite.steps.databricks_guard import Guard, Note, cancel, say, step_run_of, submit
from pipelite.steps.running import SOURCE, copy_source, plain_text

#: Inputs that are the same for all calls of one step. No argument of a call has such a name.
TASK, VALUES, CLUSTER, LIBRARIES, CONNECTION = "task", "parameters of the job", "cluster", "libraries", "connection"

#: Seconds between two looks at a run: the first, by how much it grows, and the most.
_POLL_S, _POLL_GROWTH, _POLL_MOST_S = 0.25, 1.3, 15.0
#: The Jobs API cuts off what is longer.
_RESULT_LIMIT = "5 MB"

#: How a run ended that did not succeed, and what to do.
_ENDINGS = {
    "INTERNAL_ERROR": ("could not be run by Databricks", "look at its cluster and paths"),
    "SKIPPED": ("was skipped by Databricks", "run it again when there is room for it"),
    "CANCELED": ("was canceled on Databricks", "run it again if that was a mistake"),
    "TIMEDOUT": ("took longer than Databricks allows it", "look at the limit there"),
}
_FAILED = ("failed on Databricks", "its logs are on the page of the run")
#: What to do, where Databricks says why by a code.
_ADVICE = {
    "CLOUD_FAILURE": "the cloud did not provide the machines: look at quota and node type, or run it again",
    "CLUSTER_ERROR": "the cluster did not start or was lost: look at its event log, node type and Spark version",
    "CLUSTER_REQUEST_LIMIT_EXCEEDED": "too many clusters were asked for: run it again later, or on one that is there",
    "DRIVER_ERROR": "the driver was lost: it may need a larger node type",
    "INVALID_CLUSTER_REQUEST": "the settings of the cluster were refused: look at cluster={...}",
    "LIBRARY_INSTALLATION_ERROR": "a library could not be installed: look at libraries=[...]",
    "RESOURCE_NOT_FOUND": "what is to run is not there, or may not be seen: look at its path",
    "STORAGE_ACCESS_ERROR": "the storage may not be read: look at the permissions",
    "UNAUTHORIZED_ERROR": "it may not do that: look at the permissions of the one it runs as",
}


def run_job(**inputs: Any) -> Any:
    """Run a job on Databricks; gives what its notebook gave back."""
    here = current_run()
    (kind, what), source, values, cluster, libraries, connection = (
        inputs.pop(name) for name in (TASK, SOURCE, VALUES, CLUSTER, LIBRARIES, CONNECTION)
    )
    texts = _texts_of(values, inputs)
    folder = None
    if source is not None:
        folder = Path(tempfile.mkdtemp(prefix="databricks-", dir=here.scratch)) / "run"
        copy_source(source, folder)
    task: dict[str, Any] = {"task_key": "pipelite", kind: _task_settings(kind, what, texts)}
    task |= {"existing_cluster_id": cluster} if isinstance(cluster, str) else {"new_cluster": cluster}
    task |= {"libraries": libraries} if libraries else {}
    client = Client(connection)
    _check_known(task)
    return _Job(client, here, what, kind).run(task, folder, connection)


class _Job:
    """One run on Databricks, made by this step run or by one of it that was interrupted."""

    def __init__(self, client: Client, here: StepContext, what: str, kind: str) -> None:
        self._client = client
        self._here = here
        self._what = what
        self._kind = kind
        self._page = ""

    def run(self, task: dict[str, Any], folder: Path | None, connection: Mapping[str, Any]) -> Any:
        """Submit it, or find the one under way; wait for its end, and give its result."""
        wanted = _identify(task, folder)
        with Note(self._here) as note:
            earlier = note.earlier
            with self._client.explaining(f"{self._what} cannot be run"):
                if earlier is not None and earlier["wanted"] != wanted:
                    # What it was to compute is not wanted any more.
                    if earlier["run_id"] is not None:
                        say(cancel(self._client, earlier["run_id"]))
                    earlier = None
                token = _make_token(self._here) if earlier is None else earlier["token"]
                uploads = self._make_uploads(token) if folder is not None else None
            if uploads is not None:
                task[self._kind] = _at(task[self._kind], self._kind, uploads)
            request = {"tasks": [task], "run_name": self._here.id or self._what, "idempotency_token": token}
            guard = Guard(connection, request, note, step_run_of(self._here), uploads)
            try:
                content = {"wanted": wanted, "token": token}
                run_id = earlier["run_id"] if earlier is not None else None
                if run_id is None:
                    if folder is not None and uploads is not None:
                        self._upload(folder, uploads)
                    note.write({**content, "run_id": None})
                    guard.tell("submitting")
                    with self._client.explaining(f"{self._what} cannot be submitted"):
                        run_id = submit(self._client, request)
                    note.write({**content, "run_id": run_id})
                guard.tell(f"run {run_id}")
                ended = self._follow(run_id, is_new=earlier is None)
            except BaseException:
                # The run there may go on: nobody would take its result.
                guard.cancel()
                raise
            try:
                return self._take_result(ended)
            finally:
                note.remove()
                if uploads is not None:
                    self._remove(uploads)
                guard.dismiss()

    def _make_uploads(self, token: str) -> str:
        return f"/Users/{self._client.sdk.current_user.me().user_name}/.pipelite/{token}"

    def _upload(self, folder: Path, uploads: str) -> None:
        from databricks.sdk.service.workspace import ImportFormat

        workspace = self._client.sdk.workspace
        made = set()
        for path in _list_files(folder):
            name = path.relative_to(folder).as_posix()
            target, kind = posixpath.join(uploads, name), ImportFormat.RAW
            if self._kind == "notebook_task" and name == self._what:
                # A notebook has no ending there.
                target = os.path.splitext(target)[0]
                kind = ImportFormat.JUPYTER if name.endswith(".ipynb") else ImportFormat.SOURCE
            with self._client.explaining(f"{name} cannot be uploaded"), path.open("rb") as file:
                if posixpath.dirname(target) not in made:
                    workspace.mkdirs(posixpath.dirname(target))
                    made.add(posixpath.dirname(target))
                workspace.upload(target, file, format=kind, language=_language_of(name, kind), overwrite=True)

    def _remove(self, uploads: str) -> None:
        try:
            with self._client.explaining(f"{uploads} cannot be removed"):
                self._client.sdk.workspace.delete(uploads, recursive=True)
        except CommandError as exc:
            # The result is there, and is worth more.
            say(str(exc))

    def _follow(self, run_id: int, *, is_new: bool) -> Any:
        """Wait for the end of a run; gives it."""
        shown = None
        wait_s = _POLL_S
        while True:
            with self._client.explaining(f"run {run_id} of {self._what} cannot be followed"):
                run = self._client.sdk.jobs.get_run(run_id)
            state = _state_of(run)
            if shown is None:
                self._page = run.run_page_url or f"{self._client.host}, run {run_id}"
                self._here.log("run_page", self._page)
                say(f"{'' if is_new else 'goes on with '}run {run_id}: {self._page}")
            if state != shown:
                self._here.log("state", state)
                message = self._client.show(run.state.state_message if run.state else "")
                say(f"run {run_id} is {state}{': ' if message else ''}{message}")
                # A change is often followed by another one.
                shown, wait_s = state, _POLL_S
            if state in ("TERMINATED", "SKIPPED", "INTERNAL_ERROR"):
                return run
            CLOCK.sleep(wait_s)
            wait_s = min(wait_s * _POLL_GROWTH, _POLL_MOST_S)

    def _take_result(self, run: Any) -> Any:
        # Setup, execution and output are those of its only task.
        task = run.tasks[0] if run.tasks else run
        for part in ("setup", "execution", "cleanup"):
            duration_ms = getattr(task, f"{part}_duration", None)
            if duration_ms is not None:
                self._here.log(f"{part}_s", duration_ms / 1000)
        result = run.state.result_state.value if run.state and run.state.result_state else _state_of(run)
        if result not in ("SUCCESS", "SUCCESS_WITH_FAILURES"):
            raise CommandError(self._describe_failure(run, task, result))
        with self._client.explaining(f"the result of {self._what} cannot be fetched from {self._page}"):
            output = self._client.sdk.jobs.get_run_output(task.run_id)
        if output.logs:
            sys.stdout.write(self._client.show(output.logs) + "\n")
            if output.logs_truncated:
                say(f"what it printed was cut off by Databricks; all of it: {self._page}")
        given = output.notebook_output
        if given is None or not given.result:
            return None
        if given.truncated:
            raise CommandError(
                f"what {self._what} gave back is longer than the {_RESULT_LIMIT} that Databricks keeps; have it write a table "
                f"or a file, and give the address of that back. Its run: {self._page}"
            )
        return _read_result(given.result)

    def _describe_failure(self, run: Any, task: Any, result: str) -> str:
        error, trace = self._read_error(task)
        details = getattr(run.status, "termination_details", None)
        code = details.code.value if details is not None and details.code is not None else ""
        why = error or self._client.show(run.state.state_message) or f"it ended as {result} and does not say why"
        how, advice = _ENDINGS.get(_state_of(run)) or _ENDINGS.get(result) or _FAILED
        told = f"{self._what} {how}: {why.rstrip('.')}; {_ADVICE.get(code, advice)}: {self._page}"
        return f"{trace}\n\n{told}" if trace else told

    def _read_error(self, task: Any) -> tuple[str, str]:
        """Message and traceback of a run that failed; empty where there are none."""
        try:
            with self._client.explaining(""):
                output = self._client.sdk.jobs.get_run_output(task.run_id)
        except CommandError:
            # One that never ran has no output.
            return "", ""
        if output.logs:
            sys.stdout.write(self._client.show(output.logs) + "\n")
        return self._client.show(output.error), self._client.show(output.error_trace)


def _task_settings(kind: str, what: str, texts: Any) -> dict[str, Any]:
    if kind == "notebook_task":
        return {"notebook_path": what, "base_parameters": texts, "source": "WORKSPACE"}
    if kind == "spark_python_task":
        return {"python_file": what, "parameters": texts}
    return {"main_class_name": what, "parameters": texts}


def _at(settings: Mapping[str, Any], kind: str, uploads: str) -> dict[str, Any]:
    """The settings of a task whose file was uploaded."""
    if kind == "notebook_task":
        return {**settings, "notebook_path": os.path.splitext(posixpath.join(uploads, settings["notebook_path"]))[0]}
    return {**settings, "python_file": posixpath.join(uploads, settings["python_file"])}


def _texts_of(values: Any, inputs: Mapping[str, Any]) -> Any:
    """Parameters as the Jobs API takes them: texts, by name or in a list."""
    if isinstance(values, Mapping):
        return {name: _only(_iter_texts(value, inputs, f"parameter {name!r}"), name) for name, value in values.items()}
    return [text for place, value in enumerate(values, 1) for text in _iter_texts(value, inputs, f"argument {place}")]


def _only(texts: Iterator[str], name: str) -> str:
    found = list(texts)
    if len(found) != 1:
        raise CommandError(f"parameter {name!r} is a list of {len(found)}; a notebook takes one text a parameter")
    return found[0]


def _iter_texts(value: Mapping[str, Any], inputs: Mapping[str, Any], what: str) -> Iterator[str]:
    if "several" in value:
        for each in value["several"]:
            yield from _iter_texts(each, inputs, what)
        return
    given = inputs[value["input"]] if "input" in value else value["value"]
    for each in given if isinstance(given, list | tuple) else (given,):
        if isinstance(each, PurePath):
            raise CommandError(
                f"{what} is the file or folder {each.name!r} of this machine, which a cluster does not reach: bring it to a "
                "datastore that the cluster reaches, by pipelite.steps.transfer, and pass the address as a text"
            )
        text = plain_text(each)
        if text is None:
            raise CommandError(
                f"{what} is a value of type {type(each).__qualname__!r}; a job takes texts and numbers: bring anything else to "
                "a datastore that the cluster reaches, and pass the address as a text"
            )
        yield text


def _check_known(task: Mapping[str, Any]) -> None:
    """Make sure that the SDK passes on all that was said: it leaves away what it does not know."""
    from databricks.sdk.service.jobs import SubmitTask

    try:
        passed = SubmitTask.from_dict(dict(task)).as_dict()
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise CommandError(f"the Jobs API does not take these settings of cluster= and libraries=: {exc}") from exc
    unknown = sorted(_iter_lost(task, passed, ""))
    if unknown:
        raise CommandError(
            f"the Jobs API knows no {', '.join(map(repr, unknown))}, or not with that value; its names are at "
            "https://docs.databricks.com/api/workspace/jobs/submit"
        )


def _iter_lost(given: Any, passed: Any, where: str) -> Iterator[str]:
    if isinstance(given, Mapping):
        for name, value in given.items():
            place = f"{where}.{name}" if where else str(name)
            if value is None or value in ({}, []):
                continue
            if not isinstance(passed, Mapping) or name not in passed:
                yield place
            else:
                yield from _iter_lost(value, passed[name], place)
    elif isinstance(given, list | tuple) and isinstance(passed, list):
        for one, other in zip(given, passed, strict=False):
            yield from _iter_lost(one, other, where)


def _identify(task: Mapping[str, Any], folder: Path | None) -> str:
    """What a run is to do: that of an interrupted step run is followed only if it does the same."""
    hasher = blake3(json.dumps(task, sort_keys=True).encode())
    if folder is not None:
        for path in _list_files(folder):
            hasher.update(f"\0{path.relative_to(folder)}\0".encode())
            hasher.update(blake3(path.read_bytes()).digest())
    return hasher.hexdigest()


def _list_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _make_token(here: StepContext) -> str:
    """What makes a submission that is repeated the same one; at most 64 characters."""
    described = step_run_of(here)
    if described is None:
        return f"pipelite-{uuid.uuid4().hex}"
    return f"pipelite-{blake3(json.dumps(described, sort_keys=True).encode()).hexdigest(length=24)}"


def _language_of(name: str, kind: Any) -> Any:
    from databricks.sdk.service.workspace import ImportFormat, Language

    if kind is not ImportFormat.SOURCE:
        return None
    known = {".py": Language.PYTHON, ".sql": Language.SQL, ".scala": Language.SCALA, ".r": Language.R}
    language = known.get(os.path.splitext(name)[1].lower())
    if language is None:
        raise CommandError(f"{name} is no notebook; one is a file that ends in .ipynb, .py, .sql, .scala or .r")
    return language


def _state_of(run: Any) -> str:
    state = run.state.life_cycle_state if run.state else None
    return "PENDING" if state is None else str(state.value)


def _read_result(text: str) -> Any:
    """JSON where it is JSON, else the text itself."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        return text


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
