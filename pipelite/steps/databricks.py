"""Steps that run a notebook, a script or a JAR on Databricks; a script also by a Spark of this machine."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipelite import define
from pipelite.define import Step
from pipelite.define.handles import ListOutput
from pipelite.errors import DefinitionError
from pipelite.steps.commands import SIZE_LIMIT_BYTES, SpecStep, encode, find_source, make_step, take_list
from pipelite.steps.databricks_client import check_connection
from pipelite.steps.databricks_jobs import CLUSTER, CONNECTION, LIBRARIES, TASK, VALUES, run_job
from pipelite.steps.placeholders import Input, Output
from pipelite.steps.running import COMMAND, DATASETS, SOURCE, STDOUT, plain_text
from pipelite.steps.spark import MASTER, run_spark

#: How the Jobs API calls what is run.
_TASKS = {"notebook": "notebook_task", "python_script": "spark_python_task", "main_class": "spark_jar_task"}
_LIBRARIES = ("cran", "egg", "jar", "maven", "pypi", "requirements", "whl")
_LOCAL = re.compile(r"local(\[(\d+|\*)\])?")
#: A place that is not on this machine.
_ELSEWHERE = re.compile(r"/|[A-Za-z][\w+.-]*:/")


def databricks(
    *,
    cluster: str | Mapping[str, Any],
    notebook: str | os.PathLike[str] | None = None,
    python_script: str | os.PathLike[str] | None = None,
    main_class: str | None = None,
    source_directory: str | os.PathLike[str] | None = None,
    parameters: Mapping[str, Any] = MappingProxyType({}),
    arguments: Sequence[Any] = (),
    libraries: Sequence[Mapping[str, Any]] = (),
    connection: Mapping[str, Any] = MappingProxyType({}),
    size_limit_bytes: int = SIZE_LIMIT_BYTES,
    **options: Any,
) -> Step[..., Any]:
    """A step that runs a job on Databricks (extra `databricks`) and follows it to its end.

    What a notebook gives to `dbutils.notebook.exit` is the step's output, read as JSON where it is JSON. A script and a
    JAR have none; what they printed is in the log. With `cluster="local[2]"` a script runs on this machine instead, by
    `spark-submit`, and is a step as `script` makes it.

    Parameters
    ----------
    cluster : text or dict
        The id of a cluster; the settings of a new one, as the Jobs API has them under `new_cluster`; or `"local"`,
        `"local[2]"`, `"local[*]"`, the Spark of this machine.
    notebook, python_script, main_class : text or path
        What to run, one of the three. A text with a `/` or a scheme in front (`"/Users/ann/train"`, `"dbfs:/clean.py"`)
        is there already; a `Path` and any other text is a file here, of whose source directory a snapshot is uploaded.
    source_directory : path, optional
        What a file from here needs beside itself, as for `script`.
    parameters : dict
        Those of a notebook: texts, numbers, `Input`, outputs of other steps.
    arguments : list
        Those of a script or a JAR.
    libraries : list of dict
        What the cluster is to install, as the Jobs API has it: `{"pypi": {"package": "xgboost==2.1.0"}}`,
        `{"jar": "/Volumes/main/jars/clean.jar"}`.
    connection : dict
        Settings of the SDK such as `host`, `profile` or `retry_timeout_seconds`, secrets among them as `"env:NAME"` or
        `"file:PATH"`. What is not said here the SDK finds in its own environment variables and profiles.
    size_limit_bytes : int
        The most that the files of the source directory may have together.
    **options
        Those of `@step`, without `outputs`.

    Raises
    ------
    DefinitionError
        If an argument or an option is wrong.
    """
    given = {"notebook": notebook, "python_script": python_script, "main_class": main_class}
    chosen = {kind: os.fspath(value) for kind, value in given.items() if value is not None}
    if len(chosen) != 1:
        raise DefinitionError(
            f"databricks(...) takes one of notebook=, python_script= and main_class=; it has {' and '.join(chosen) or 'none'}"
        )
    ((kind, what),) = chosen.items()
    where = f"databricks({kind}={what!r})"
    if arguments and kind == "notebook":
        raise DefinitionError(f"{where}: a notebook takes parameters={{...}}, not arguments=[...]")
    if parameters and kind != "notebook":
        raise DefinitionError(f"{where}: parameters={{...}} are those of a notebook; here it is arguments=[...]")
    if isinstance(cluster, str) and _LOCAL.fullmatch(cluster):
        if kind != "python_script":
            raise DefinitionError(
                f"{where}: cluster={cluster!r} runs scripts only; pipelite.steps.notebook runs a notebook on this machine"
            )
        if libraries or connection:
            raise DefinitionError(
                f"{where}: libraries= and connection= are for Databricks; with cluster={cluster!r} the packages of the step "
                "are those of environment=Environment(packages=[...])"
            )
        return _make_local(what, source_directory, arguments, cluster, size_limit_bytes, where, options)
    if options.get("environment") is not None:
        raise DefinitionError(f"{where}: environment= is for this machine; packages on a cluster are libraries=[...]")
    source = None
    name = posixpath.basename(what)
    if kind == "main_class":
        name = what.rpartition(".")[2]
    elif not isinstance(given[kind], str) or source_directory is not None or not _ELSEWHERE.match(what):
        what, source = find_source(what, source_directory, size_limit_bytes, where)
    if source is None and source_directory is not None:
        raise DefinitionError(f"{where}: source_directory= goes with a notebook or a script from this machine")
    values = _check_parameters(parameters, where) if kind == "notebook" else _check_arguments(arguments, where)
    return make_step(
        run_job,
        [Input(each) for each in _iter_inputs(values)],
        {
            TASK: [_TASKS[kind], what],
            SOURCE: source,
            VALUES: values,
            CLUSTER: _check_cluster(cluster, where),
            LIBRARIES: _check_libraries(libraries, where),
            CONNECTION: check_connection(connection, where),
        },
        where=where,
        default_name=os.path.splitext(name)[0],
        options=options,
        kind=SpecStep,
    )


def _make_local(
    file: str,
    source_directory: str | os.PathLike[str] | None,
    arguments: Any,
    master: str,
    limit: int,
    where: str,
    options: dict[str, Any],
) -> Step[..., Any]:
    needed, folder = find_source(file, source_directory, limit, where)
    command = [needed, *take_list(arguments, "arguments", where)]
    return make_step(
        run_spark,
        command,
        {SOURCE: folder, COMMAND: encode(command), STDOUT: None, DATASETS: [], MASTER: master},
        where=where,
        default_name=os.path.splitext(os.path.basename(needed))[0],
        options=options,
    )


def _check_parameters(given: Any, where: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise DefinitionError(f"{where}: parameters={given!r} is wrong; it takes a dict")
    for name in given:
        if not isinstance(name, str) or not name:
            raise DefinitionError(f"{where}: {name!r} cannot be a parameter; it takes a text")
    return {name: _take(value, f"{where}: parameter {name!r}") for name, value in given.items()}


def _check_arguments(given: Any, where: str) -> list[Any]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise DefinitionError(f"{where}: arguments={given!r} is wrong; it takes a list")
    return [_take(value, f"{where}: argument {place}") for place, value in enumerate(given, 1)]


def _take(value: Any, where: str) -> dict[str, Any]:
    """What a cluster is given, as it stands in the graph."""
    if isinstance(value, Input):
        return {"input": value.name}
    if isinstance(value, define.Output | ListOutput):
        return {"value": value}
    if isinstance(value, list | tuple):
        return {"several": [_take(each, where) for each in value]}
    if isinstance(value, Path | Output):
        raise DefinitionError(
            f"{where} is {value!r}, and a cluster does not reach the files of this machine: bring them to a datastore that "
            "it reaches, by pipelite.steps.transfer, and pass the address as a text"
        )
    text = plain_text(value)
    if text is None:
        raise DefinitionError(f"{where} is {value!r}; a job takes texts, numbers, Input and outputs of other steps")
    return {"value": text}


def _iter_inputs(values: Any) -> Iterator[str]:
    for value in values.values() if isinstance(values, dict) else values:
        if "input" in value:
            yield value["input"]
        yield from _iter_inputs(value.get("several", ()))


def _check_cluster(cluster: Any, where: str) -> str | dict[str, Any]:
    if isinstance(cluster, str) and cluster:
        return cluster
    if not isinstance(cluster, Mapping):
        raise DefinitionError(
            f'{where}: cluster={cluster!r} is wrong; it takes the id of a cluster, "local", or the settings of a new one, '
            'such as {"spark_version": "15.4.x-scala2.12", "node_type_id": "Standard_DS3_v2", "num_workers": 2}'
        )
    if "spark_version" not in cluster and "policy_id" not in cluster:
        raise DefinitionError(f"{where}: a new cluster needs a spark_version, such as '15.4.x-scala2.12'")
    if "num_workers" in cluster and "autoscale" in cluster:
        raise DefinitionError(f"{where}: a new cluster has either num_workers or autoscale, not both")
    return dict(cluster)


def _check_libraries(given: Any, where: str) -> list[dict[str, Any]]:
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
        raise DefinitionError(f"{where}: libraries={given!r} is wrong; it takes a list")
    for each in given:
        if not isinstance(each, Mapping) or len(each) != 1 or next(iter(each)) not in _LIBRARIES:
            raise DefinitionError(
                f"{where}: {each!r} is no library; it is a dict with one of {', '.join(_LIBRARIES)}, such as "
                '{"pypi": {"package": "xgboost==2.1.0"}}'
            )
    return [dict(each) for each in given]
