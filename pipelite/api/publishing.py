"""Publishes pipelines, as versions that never change, and gives them back by name."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pipelite import automate
from pipelite.api.git import find_git_commit
from pipelite.api.runs import Run
from pipelite.api.sources import import_pipeline, keep_sources, use_sources, write_sources
from pipelite.api.starting import packages_of
from pipelite.automate import Draft, PublishedVersion
from pipelite.define import NO_JSON, Step, as_json, bind_parameters, describe_parameter
from pipelite.errors import PipeliteError, PublishError, SourceChangedError, UnhashableError, UnknownNameError
from pipelite.fingerprint import Fingerprinter
from pipelite.store import (
    SourceFolder,
    Store,
    dumps_value,
    get_run_sources,
    remove_tree,
    take_snapshot,
    temporary_prefix,
)

if TYPE_CHECKING:
    from pipelite.api.pipelines import Pipeline

#: Options of a pipeline that a version keeps.
_OPTIONS = ("keep_going", "compute", "tags", "register_outputs")
#: Base address of a server that the workspace knows nothing of.
URL_VARIABLE = "PIPELITE_URL"
_DEFAULT_URL = "http://127.0.0.1:8080"
#: A variable of a module whose steps are of no other module's pipelines.
STANDS_ALONE = "__pipelite_stands_alone__"


class PublishedPipeline:
    """One version of a published pipeline."""

    def __init__(self, store: Store, version: PublishedVersion) -> None:
        self._store = store
        self._version = version

    @property
    def id(self) -> str:
        return self._version.id

    @property
    def name(self) -> str:
        return self._version.name

    @property
    def version(self) -> str:
        return self._version.version

    @property
    def description(self) -> str | None:
        return self._version.description

    @property
    def created_at(self) -> datetime:
        """UTC."""
        return self._version.created_at

    @property
    def status(self) -> str:
        """active, disabled or archived."""
        return automate.find_version(self._store, self.id).status

    @property
    def parameters(self) -> list[dict[str, Any]]:
        """What it takes: name, type, whether it is required, default, choices; plain JSON."""
        return [dict(each) for each in self._version.described]

    @property
    def endpoint(self) -> str:
        """The address to send requests to: of the server that serves this workspace, else of PIPELITE_URL."""
        return f"{find_server(self._store)}/pipelines/{quote(self.id)}"

    def submit(self, *, experiment: str | None = None, priority: int = 0, **parameters: Any) -> Run:
        """Put a run into the queue; a server or daemon of this workspace executes it.

        Raises
        ------
        ParameterError
            If a parameter is unknown, missing or of the wrong type.
        PublishError
            If the version is disabled or archived.
        """
        assignments = to_assignments(self._store, self._version, parameters)
        version = automate.find_version(self._store, self.id)
        record, _ = automate.submit(self._store, version, assignments, experiment=experiment, priority=priority)
        warn_if_not_served(self._store, record.id)
        return Run(self._store, record.id)

    def make_default(self) -> None:
        """Have the endpoint of its name lead to it."""
        automate.set_default(self._store, self.name, self.version)

    def enable(self) -> None:
        """Have it take calls again."""
        automate.set_status(self._store, self.id, "active")

    def disable(self) -> None:
        """Have it refuse calls for now; runs that were accepted are executed."""
        automate.set_status(self._store, self.id, "disabled")

    def archive(self) -> None:
        """Have it refuse calls, and keep it for the record."""
        automate.set_status(self._store, self.id, "archived")

    def __repr__(self) -> str:
        return f"<published pipeline {self.name!r} {self.version}>"


class PublishedPipelines(Mapping[str, PublishedPipeline]):
    """The published pipelines of a workspace: by name the version that its endpoint leads to, by id any version."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getitem__(self, name: str) -> PublishedPipeline:
        return self.version(name)

    def version(self, name: str, version: str | None = None) -> PublishedPipeline:
        """One version by its name.

        Raises
        ------
        UnknownNameError
            If there is none.
        """
        try:
            return PublishedPipeline(self._store, automate.find_version(self._store, name, version))
        except PipeliteError as exc:
            raise UnknownNameError(str(exc)) from None

    def versions(self, name: str) -> list[PublishedPipeline]:
        """All versions of a name, the oldest first."""
        return [PublishedPipeline(self._store, each) for each in automate.list_versions(self._store, name)]

    def __iter__(self) -> Iterator[str]:
        return iter([endpoint.name for endpoint in automate.list_endpoints(self._store)])

    def __len__(self) -> int:
        return len(automate.list_endpoints(self._store))


class Endpoint:
    """A name that leads to one version of a published pipeline."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self.name = name

    @property
    def default(self) -> PublishedPipeline:
        """The version that it leads to."""
        return PublishedPipelines(self._store)[self.name]

    @property
    def versions(self) -> list[PublishedPipeline]:
        """The oldest first."""
        return PublishedPipelines(self._store).versions(self.name)

    @property
    def endpoint(self) -> str:
        """The address to send requests to, whichever version is the default."""
        base, _, _ = self.default.endpoint.rpartition("/")
        return f"{base}/{quote(self.name)}"

    def set_default(self, version: str) -> None:
        """Have it lead to another version, from one moment to the next."""
        automate.set_default(self._store, self.name, version)

    def submit(self, *, experiment: str | None = None, priority: int = 0, **parameters: Any) -> Run:
        """Put a run of the default version into the queue; see `PublishedPipeline.submit`."""
        return self.default.submit(experiment=experiment, priority=priority, **parameters)

    def __repr__(self) -> str:
        return f"<endpoint {self.name!r}>"


class Endpoints(Mapping[str, Endpoint]):
    """The endpoints of a workspace by name."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getitem__(self, name: str) -> Endpoint:
        if name not in list(self):
            raise UnknownNameError(f"there is no endpoint {name!r}; `pipelite endpoints list` shows what there is")
        return Endpoint(self._store, name)

    def __iter__(self) -> Iterator[str]:
        return iter(PublishedPipelines(self._store))

    def __len__(self) -> int:
        return len(PublishedPipelines(self._store))


def publish_pipeline(
    store: Store,
    pipeline: Pipeline[Any, Any],
    *,
    name: str | None,
    version: str,
    description: str | None,
    default: bool,
) -> PublishedPipeline:
    """Publish a pipeline as it is now; see `Pipeline.publish`."""
    name = pipeline.name if name is None else name
    automate.check_names(name, version)
    target = pipeline.target
    if target is None:
        raise PublishError(
            f"pipeline {pipeline.name!r} was defined in a notebook or inside of a function, where no import finds it; put "
            "it at the top level of a module to publish it"
        )
    options = {option: getattr(pipeline.options, option) for option in _OPTIONS}
    if options["compute"] is not None and not isinstance(options["compute"], str):
        raise PublishError(
            f"pipeline {pipeline.name!r} runs on an executor of this process; name a compute target of the workspace"
        )
    _check_loaded(store, pipeline)
    # A default path is that of the publisher's working directory: the version runs in another.
    paths = {spec.name: _from(os.getcwd(), spec.default) for spec in pipeline.specs if isinstance(spec.default, Path)}
    described = [_with_default(describe_parameter(spec), paths) for spec in pipeline.specs]
    for spec in pipeline.specs:
        if spec.required and spec.type.kind == "other":
            raise PublishError(
                f"parameter {spec.name!r} of pipeline {pipeline.name!r} takes {spec.kind}, which no request can carry; "
                "give it a default, or a type that has a form as JSON"
            )
    codes, folders = _look_at_steps(pipeline)
    snapshots = {folder: take_snapshot(folder, store.file_cache) for folder in folders}
    places, contents = keep_sources(store, codes, snapshots)
    found = _try_import(store, target, places, contents, whose=f"{name} {version}")
    _check_described(pipeline, found["parameters"])
    draft = Draft(
        name=name,
        version=version,
        description=pipeline.options.description if description is None else description,
        pipeline=pipeline.name,
        target=target,
        experiment=pipeline.options.experiment or pipeline.name,
        parameters=described,
        defaults_pickle=dumps_value(paths) if paths else None,
        options={**options, "tags": dict(options["tags"]), "register_outputs": dict(options["register_outputs"])},
        outputs=found["outputs"],
        sources=places,
        contents=contents,
        packages=packages_of(codes),
        python=".".join(map(str, sys.version_info[:3])),
        git_commit=find_git_commit(os.getcwd()),
    )
    return PublishedPipeline(store, automate.add_version(store, draft, make_default=default))


def _check_loaded(store: Store, pipeline: Pipeline[Any, Any]) -> None:
    """Make sure that the files, which are kept, are what this process has imported, which is described."""
    try:
        Fingerprinter(files=store.file_cache).code(pipeline.func)
    except SourceChangedError as exc:
        raise PublishError(f"pipeline {pipeline.name!r} cannot be published from here: {exc}") from None
    except UnhashableError:
        # The pipeline's own body may use what steps may not; that is no sign of an edit.
        return


def _check_described(pipeline: Pipeline[Any, Any], kept: list[dict[str, Any]]) -> None:
    """Make sure that it takes in its kept source what it takes here; of defaults the code alone does not tell."""
    here = [describe_parameter(spec) for spec in pipeline.specs]
    for spec, loaded, read in itertools.zip_longest(pipeline.specs, here, kept):
        # A default path is kept as it is here.
        ignored = ("default", "default_in_code") if spec is not None and isinstance(spec.default, Path) else ()
        # As text: a NaN is not equal to itself.
        texts = {json.dumps({**(each or {}), **dict.fromkeys(ignored)}, sort_keys=True) for each in (loaded, read)}
        if len(texts) > 1:
            name = (loaded or read)["name"]
            raise PublishError(
                f"pipeline {pipeline.name!r} cannot be published from here: its parameter {name!r} is not the one in its "
                "file, which was edited since it was imported, or says something else each time. Restart Python, or call "
                "importlib.reload() on the module, and publish again"
            )


def _from(folder: str, value: Any) -> Any:
    return Path(folder, value) if isinstance(value, Path) and not _is_url(str(value)) else value


def _is_url(text: str) -> bool:
    return ":/" in text


def publish_run(
    store: Store,
    run: Run,
    *,
    name: str,
    version: str,
    description: str | None,
    default: bool,
    keep_going: bool | None = None,
) -> PublishedPipeline:
    """Publish what a run kept, with its parameters as defaults; see `Run.publish`."""
    automate.check_names(name, version)
    record = run.record
    if record.target is None:
        raise PublishError(
            f"run {run.id} cannot be published: its pipeline {record.pipeline!r} was defined in a notebook or inside of a "
            "function, where no import finds it; put it at the top level of a module"
        )
    places = get_run_sources(store, run.id)
    found = _try_import(store, record.target, places, {}, whose=f"run {run.id}")
    # A path is that of the folder in which the run was started: the version runs in another.
    values = {name: _from(record.working_directory, value) for name, value in run.parameters.items()}
    draft = Draft(
        name=name,
        version=version,
        description=record.description if description is None else description,
        pipeline=record.pipeline,
        target=record.target,
        experiment=record.experiment,
        parameters=[_with_default(each, values) for each in found["parameters"]],
        defaults_pickle=dumps_value(dict(values)),
        options={
            "keep_going": record.options.get("keep_going") if keep_going is None else keep_going,
            "compute": record.options.get("compute"),
        },
        outputs=found["outputs"],
        sources=places,
        contents={},
        packages=record.packages,
        python=record.python,
        git_commit=record.git_commit,
        run_id=run.id,
    )
    return PublishedPipeline(store, automate.add_version(store, draft, make_default=default))


def _with_default(described: Mapping[str, Any], values: Mapping[str, Any]) -> Mapping[str, Any]:
    if described["name"] not in values:
        return described
    value = as_json(values[described["name"]])
    rest = {name: each for name, each in described.items() if name not in ("default", "default_in_code")}
    shown = {"default_in_code": True} if value is NO_JSON else {"default": value}
    return {**rest, "required": False, **shown}


def warn_if_not_served(store: Store, run_id: str) -> None:
    """Tell the caller of the public method that calls this if a run has to wait for a server."""
    if not automate.is_served(store):
        warnings.warn(
            f"run {run_id} waits in the queue, and nothing serves the workspace {store.path} now; "
            "`pipelite serve` or `pipelite daemon` executes it",
            stacklevel=3,
        )


def find_server(store: Store) -> str:
    """Base address of the server that serves a workspace, else PIPELITE_URL."""
    url = automate.find_server_url(store) or os.environ.get(URL_VARIABLE) or _DEFAULT_URL
    return url.rstrip("/")


def to_assignments(
    store: Store, version: PublishedVersion, parameters: Mapping[str, Any], *, later: str | None = None
) -> dict[str, Any]:
    """Values of parameters as a request carries them; `later` names one that gets its value later.

    Raises
    ------
    ParameterError
        If a parameter is unknown, missing or of the wrong type.
    """
    specs = [spec for spec in version.specs_for(parameters) if spec.name != later or later in parameters]
    with store.as_default():
        values = bind_parameters(specs, parameters, pipeline=version.name)
    return {name: _to_json(name, values[name], version.label) for name in parameters}


def _to_json(name: str, value: Any, label: str) -> Any:
    made = as_json(value)
    if made is NO_JSON:
        raise PublishError(
            f"parameter {name!r} of {label} was given a {type(value).__name__}, which a request cannot carry; leave it at "
            "its default"
        )
    return made


def _look_at_steps(pipeline: Pipeline[Any, Any]) -> tuple[list[Any], list[SourceFolder]]:
    """The code of the steps as far as it can be known without values, and the source folders that they name."""
    folders = dict.fromkeys(_iter_folders(pipeline.func.__module__))
    try:
        coordinator = pipeline._prepare({})[1]
    except PipeliteError:
        # It needs values, or data that is not there: what its modules hold is known all the same.
        return [], list(folders)
    folders.update(dict.fromkeys(coordinator.planner.snapshots()))
    return list(coordinator.codes()), list(folders)


def _iter_folders(name: str) -> Iterator[SourceFolder]:
    """Source folders of the steps that stand at the top level of loaded modules, for a pipeline of one of them."""
    for module in list(sys.modules.values()):
        if getattr(module, STANDS_ALONE, False) is True and module.__name__ != name:
            continue
        for value in list(getattr(module, "__dict__", {}).values()):
            if isinstance(value, Step):
                for default in value.signature.defaults.values():
                    if isinstance(default, SourceFolder):
                        yield default


def _try_import(
    store: Store, target: str, places: Mapping[str, str], contents: Mapping[str, bytes], *, whose: str
) -> dict[str, Any]:
    """Import a pipeline from its kept source in a process of its own, as a runner will; what it takes and gives."""
    prefix = f"{temporary_prefix(store.owner.name)}publish-"
    folder = Path(tempfile.mkdtemp(dir=store.path / "tmp", prefix=prefix))
    try:
        source, answer = folder / "source", folder / "answer.json"
        source.mkdir()
        write_sources(store, places, source, whose=whose, contents=contents)
        done = subprocess.run(
            [sys.executable, "-m", __name__, target, str(source), str(answer)],
            cwd=source,
            env={**os.environ, "PIPELITE_WORKSPACE": str(store.path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if not answer.exists():
            reason = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
            raise PublishError(
                f"{whose} cannot be published: its kept source cannot be imported on its own. What the module needs besides "
                f"Python files (data, configuration) has to be found by an absolute path or a parameter.\n\n{reason}"
            )
        found: dict[str, Any] = json.loads(answer.read_bytes())
        return found
    finally:
        remove_tree(folder)


def main(target: str, folder: str, answer: str) -> None:
    """In the child: import and describe."""
    use_sources(Path(folder))
    found = import_pipeline(target, Path(folder), whose="what is to be published")
    described = [describe_parameter(spec) for spec in found.specs]
    try:
        outputs = list(found.trace().outputs)
    except PipeliteError:
        outputs = []
    Path(answer).write_text(json.dumps({"parameters": described, "outputs": outputs}))


if __name__ == "__main__":
    main(*sys.argv[1:])
