"""Run configurations as v1 kept them in files: `.runconfig`, YAML with names in camel case."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelite._optional import require
from pipelite.azureml.exceptions import UserErrorException

if TYPE_CHECKING:
    from pipelite.azureml.core.runconfig import RunConfiguration

#: Where `RunConfiguration.load` looked, below the folder that it was given.
_FOLDERS = (".azureml", "aml_config", "")


def find(path: str | os.PathLike[str], name: str | None) -> str:
    """The file of a run configuration: itself, or by its name below a folder.

    Raises
    ------
    UserErrorException
        If there is none.
    """
    path = os.fspath(path)
    if os.path.isfile(path):
        return path
    for folder in _FOLDERS:
        for ending in (".runconfig", ".yml", ""):
            found = os.path.join(path, folder, f"{name}{ending}")
            if name is not None and os.path.isfile(found):
                return found
    raise UserErrorException(f"there is no run configuration {name or ''!r} at {path!r}")


def read_file(path: str) -> Mapping[str, Any]:
    """What stands in a file of YAML.

    Raises
    ------
    UserErrorException
        If it is none, no mapping, or has a key twice.
    """
    yaml = require("yaml", extra="environments")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    try:
        _refuse_twice(yaml.compose(text, Loader=yaml.SafeLoader), path)
        found = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise UserErrorException(f"{path} is no YAML: {exc}") from exc
    if not isinstance(found, Mapping):
        raise UserErrorException(f"{path} holds {type(found).__name__}; keys and values are expected")
    return found


def _refuse_twice(node: Any, path: str) -> None:
    """PyYAML takes the last of several, so that all but one step of a name would be lost."""
    seen = set()
    for each in node.value if hasattr(node, "value") and isinstance(node.value, list) else ():
        key, *values = each if isinstance(each, tuple) else (None, each)
        if key is not None and isinstance(key.value, str):
            if key.value in seen:
                raise UserErrorException(f"{path}: line {key.start_mark.line + 1}: key {key.value!r} is there twice")
            seen.add(key.value)
        for value in values:
            _refuse_twice(value, path)


def fill(config: RunConfiguration, fields: Mapping[str, Any], folder: str) -> None:
    """Set what stands in a file; `folder` is where the files are that it names.

    What has no counterpart is left out, as it is where it is set by attributes.
    """
    config.script = fields.get("script") or config.script
    config.arguments = list(fields.get("arguments") or [])
    config.command = fields.get("command") or None
    config.framework = fields.get("framework") or config.framework
    config.communicator = fields.get("communicator") or config.communicator
    config.target = fields.get("target") or config.target
    config.node_count = fields.get("nodeCount") or config.node_count
    config.environment_variables.update(_texts(fields.get("environmentVariables")))
    _fill_environment(config, fields.get("environment") or {}, folder)


def _fill_environment(config: RunConfiguration, fields: Mapping[str, Any], folder: str) -> None:
    environment = config.environment
    environment.name = fields.get("name") or environment.name
    environment.environment_variables.update(_texts(fields.get("environmentVariables")))
    docker = fields.get("docker") or {}
    environment.docker.enabled = bool(docker.get("enabled"))
    environment.docker.base_image = docker.get("baseImage")
    python = fields.get("python") or {}
    environment.python.user_managed_dependencies = bool(python.get("userManagedDependencies"))
    environment.python.interpreter_path = python.get("interpreterPath") or "python"
    conda = environment.python.conda_dependencies
    if conda is None:
        return
    if python.get("condaDependencies"):
        conda.take(python["condaDependencies"])
    elif python.get("condaDependenciesFile"):
        conda.read(os.path.join(folder, python["condaDependenciesFile"]))


def to_fields(config: RunConfiguration) -> dict[str, Any]:
    """What a file of it says; `fill` reads it."""
    environment = config.environment
    conda = environment.python.conda_dependencies
    python: dict[str, Any] = {
        "userManagedDependencies": environment.python.user_managed_dependencies,
        "interpreterPath": environment.python.interpreter_path,
    }
    if conda is not None:
        python["condaDependencies"] = conda.to_fields()
    return {
        "script": config.script,
        "arguments": list(config.arguments),
        "command": config.command,
        "framework": config.framework,
        "communicator": config.communicator,
        "target": getattr(config.target, "name", config.target),
        "nodeCount": config.node_count,
        "environmentVariables": dict(config.environment_variables),
        "environment": {
            "name": environment.name,
            "environmentVariables": dict(environment.environment_variables),
            "docker": {"enabled": environment.docker.enabled, "baseImage": environment.docker.base_image},
            "python": python,
        },
    }


def write_file(config: RunConfiguration, path: str) -> None:
    """Write it as a file."""
    yaml = require("yaml", extra="environments")
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        yaml.safe_dump(to_fields(config), file, sort_keys=False)


def _texts(values: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in (values or {}).items()}
