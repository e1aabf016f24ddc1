"""The step of Databricks: a script on the Spark of this machine, or a job of a workspace of Databricks."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipelite.azureml._notices import note_ignored
from pipelite.azureml.data.data_reference import DataReference
from pipelite.azureml.exceptions import NotOnOneBoxError
from pipelite.azureml.pipeline.core.graph import PipelineParameter
from pipelite.azureml.pipeline.core.ports import InputPort, OutputPort
from pipelite.azureml.pipeline.steps.scripts import ProcessStep
from pipelite.azureml.writing import Code, Writer

#: What v1 took where a new cluster does not say it; the version is one that Databricks still has.
_SPARK_VERSION, _NODE_TYPE = "15.4.x-scala2.12", "Standard_D3_v2"
_MASTER = "local[*]"
_LIBRARIES = ("maven", "pypi", "egg", "jar", "rcran")
_ELSEWHERE = re.compile(r"/|[A-Za-z][\w+.-]*:/")


class DatabricksStep(ProcessStep):
    """A step that runs a script by the Spark of this machine, or what a workspace of Databricks has as a job there.

    `python_script_name`, of `source_directory`, runs here. `notebook_path`, `python_script_path` and `main_class_name` are
    found in the workspace only, which the SDK of Databricks finds by its variables and profiles (extra `databricks`).

    Raises
    ------
    ValueError
        If what is to run or its cluster is not said, or said twice.
    NotOnOneBoxError
        If a job of a workspace is given data of this machine, which its cluster does not reach.
    """

    def __init__(
        self,
        name: str,
        inputs: Sequence[Any] | None = None,
        outputs: Sequence[Any] | None = None,
        existing_cluster_id: str | None = None,
        spark_version: str | None = None,
        node_type: str | None = None,
        instance_pool_id: str | None = None,
        num_workers: int | None = None,
        min_workers: int | None = None,
        max_workers: int | None = None,
        spark_env_variables: Mapping[str, str] | None = None,
        spark_conf: Mapping[str, str] | None = None,
        init_scripts: Sequence[str] | None = None,
        cluster_log_dbfs_path: str | None = None,
        notebook_path: str | None = None,
        notebook_params: Mapping[str, Any] | None = None,
        python_script_path: str | None = None,
        python_script_params: Sequence[Any] | None = None,
        main_class_name: str | None = None,
        jar_params: Sequence[Any] | None = None,
        python_script_name: str | None = None,
        source_directory: str | os.PathLike[str] | None = None,
        hash_paths: Any = None,
        run_name: str | None = None,
        timeout_seconds: int | None = None,
        runconfig: Any = None,
        maven_libraries: Sequence[Any] | None = None,
        pypi_libraries: Sequence[Any] | None = None,
        egg_libraries: Sequence[Any] | None = None,
        jar_libraries: Sequence[Any] | None = None,
        rcran_libraries: Sequence[Any] | None = None,
        compute_target: Any = None,
        allow_reuse: bool = True,
        version: str | None = None,
        permit_cluster_restart: bool | None = None,
    ) -> None:
        kinds = {
            "notebook_path": notebook_path,
            "python_script_path": python_script_path,
            "python_script_name": python_script_name,
            "main_class_name": main_class_name,
        }
        given = [kind for kind, value in kinds.items() if value]
        if len(given) != 1:
            raise ValueError(f"step {name!r} takes exactly one of {', '.join(kinds)}, not {given or 'none'}")
        self._kind = given[0]
        self._what = str(kinds[self._kind])
        if python_script_name and source_directory is None:
            raise ValueError(f"step {name!r}: python_script_name needs source_directory")
        if self._kind.endswith("_path") and not _ELSEWHERE.match(self._what):
            raise ValueError(
                f"step {name!r}: {self._kind}={self._what!r} is no path of a workspace, such as '/Users/ann/train' or "
                "'dbfs:/train.py'; a script from here is python_script_name, with source_directory"
            )
        settings = {
            "spark_version": spark_version,
            "node_type_id": node_type,
            "instance_pool_id": instance_pool_id,
            "num_workers": num_workers,
            "spark_env_vars": dict(spark_env_variables or {}) or None,
            "spark_conf": dict(spark_conf or {}) or None,
            "init_scripts": [{"dbfs": {"destination": path}} for path in init_scripts or ()] or None,
            "cluster_log_conf": {"dbfs": {"destination": cluster_log_dbfs_path}} if cluster_log_dbfs_path else None,
            "autoscale": None if min_workers is None else {"min_workers": min_workers, "max_workers": max_workers},
        }
        self._cluster = {key: value for key, value in settings.items() if value is not None}
        # Scripts take it from a variable, which is empty where there is none.
        existing_cluster_id = existing_cluster_id or None
        if existing_cluster_id is not None and (self._cluster or max_workers is not None):
            raise ValueError(f"step {name!r}: existing_cluster_id excludes the settings of a new cluster")
        if existing_cluster_id is None and num_workers is None and (min_workers is None or max_workers is None):
            raise ValueError(f"step {name!r} needs existing_cluster_id, num_workers, or min_workers and max_workers")
        self._cluster_id = existing_cluster_id
        libraries = (maven_libraries, pypi_libraries, egg_libraries, jar_libraries, rcran_libraries)
        self._libraries: dict[str, list[Any]] = dict(
            zip(_LIBRARIES, (list(each or ()) for each in libraries), strict=True)
        )
        self._notebook_params = dict(notebook_params or {})
        self._timeout_s = timeout_seconds
        for setting, value in (("run_name", run_name), ("permit_cluster_restart", permit_cluster_restart)):
            if value is not None:
                note_ignored(f"{setting}= of DatabricksStep")
        super().__init__(
            name,
            arguments=[*(python_script_params or ()), *(jar_params or ())],
            inputs=inputs,
            outputs=outputs,
            params=None,
            compute_target=None,
            runconfig=runconfig,
            source_directory=source_directory,
            allow_reuse=allow_reuse,
            version=version,
        )
        if python_script_name:
            self._pass_ports()
        else:
            self._refuse_ports()

    @property
    def parameters(self) -> Any:
        """Those that it uses."""
        yield from super().parameters
        yield from (each for each in self._notebook_params.values() if isinstance(each, PipelineParameter))

    def check(self) -> None:
        """Make sure that a script of this machine is there."""
        super().check()
        if self._kind == "python_script_name" and not os.path.isfile(os.path.join(self.folder, self._what)):
            raise ValueError(f"step {self.name!r}: there is no script {self._what!r} in {self.folder!r}")

    def write(self, writer: Writer) -> None:
        """Write it as code."""
        options: dict[str, Any] = {} if self._timeout_s is None else {"timeout": self._timeout_s}
        if self._kind == "python_script_name":
            packages = [each.package for each in self._libraries["pypi"]]
            if packages:
                writer.use("pipelite.steps", "Environment")
                options["environment"] = Code(f"Environment(packages={packages!r})")
            self._write(writer, [self._what], spark=_MASTER, **options)
        else:
            self._write_job(writer, options)

    def _pass_ports(self) -> None:
        """Scripts find paths behind the names of inputs and outputs."""
        ports: list[InputPort | OutputPort] = [*self.input_ports, *self.output_ports]
        for value, port in zip([*self._given_inputs, *self._given_outputs], ports, strict=True):
            self.arguments += [f"-{port.name}", value]
        for kind, libraries in self._libraries.items():
            if libraries and kind != "pypi":
                raise NotOnOneBoxError(
                    f"step {self.name!r}: {kind}_libraries= are for a cluster; a script runs on the Spark of this machine, "
                    "which finds JARs by its own spark-defaults.conf"
                )
        note_ignored(
            "the cluster of a DatabricksStep with python_script_name, which runs on the Spark of this machine,"
        )

    def _refuse_ports(self) -> None:
        if self.output_ports:
            raise NotOnOneBoxError(
                f"step {self.name!r}: {self._kind} runs on a cluster, which does not reach the place of the output "
                f"{self.output_ports[0].name!r} on this machine; have it write to a place of its own, and pass the address as a parameter"
            )
        for port in self.input_ports:
            _address(port, self.name, self._kind)

    def _write_job(self, writer: Writer, options: dict[str, Any]) -> None:
        writer.use("pipelite.steps", "databricks")
        calls: dict[str, Any] = {}
        shown: set[str] = set()
        addresses = {port.name: _address(port, self.name, self._kind) for port in self.input_ports}
        if self._kind == "notebook_path":
            named = {name: self._word(value, writer, calls, shown) for name, value in self._notebook_params.items()}
            given: dict[str, Any] = {"parameters": {**addresses, **named}}
        else:
            words = [self._word(value, writer, calls, shown) for value in self.arguments]
            pairs = [word for name, address in addresses.items() for word in (f"-{name}", address)]
            given = {"arguments": [*words, *pairs]}
        given["libraries"] = [each.native for libraries in self._libraries.values() for each in libraries]
        cluster = {"spark_version": _SPARK_VERSION, **self._cluster}
        if "instance_pool_id" not in cluster:
            cluster.setdefault("node_type_id", _NODE_TYPE)
        what = {"notebook_path": "notebook", "python_script_path": "python_script", "main_class_name": "main_class"}
        writer.define(
            self,
            "databricks",
            **{what[self._kind]: self._what, "cluster": self._cluster_id or cluster},
            **{name: value for name, value in given.items() if value},
            **options,
        )
        writer.call(self, calls)


def _address(port: InputPort, step: str, kind: str) -> str:
    """Where a cluster finds an input: a datastore that is not on this machine."""
    source = port.source
    if not isinstance(source, DataReference) or source.datastore.native.is_local:
        raise NotOnOneBoxError(
            f"step {step!r}: {kind} runs on a cluster, which does not reach the input {port.name!r} on this machine; bring it "
            "to a datastore that it reaches by a DataTransferStep, and give a DataReference to that"
        )
    return "/".join(filter(None, (source.datastore.native.url.rstrip("/"), source.path_on_datastore)))
