"""Paths that come over the network: on a datastore, or below a folder that the server was told of; nowhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelite.data import Dataset, Datastores
from pipelite.data.paths import checked, inside
from pipelite.define import ParameterSpec
from pipelite.errors import DatastoreError, ParameterError, UnknownNameError
from pipelite.serve.service import Service

_EXPECTED = (
    "a path over the network is DATASTORE/RELATIVE/PATH, or lies below a folder that the server was started with"
)


def place_paths(
    service: Service, specs: tuple[ParameterSpec, ...], given: Mapping[str, Any], values: Mapping[str, Any]
) -> dict[str, Any]:
    """What was given, each path in it replaced by the file or folder of this machine that it stands for.

    Parameters
    ----------
    given : as JSON has it
    values : the same, as the pipeline will get it; what is a path there is one

    Raises
    ------
    ParameterError
        If a path leads anywhere else, or nothing is there.
    """
    return {name: _placed(service, name, value, values[name]) for name, value in given.items()}


def _placed(service: Service, parameter: str, given: Any, value: Any) -> Any:
    if isinstance(value, Path):
        return _find(service, parameter, given)
    if isinstance(value, Dataset):
        paths = given if isinstance(given, list) else [given]
        placed = [_find_files(service, parameter, each) if "/" in each else each for each in paths]
        return placed if isinstance(given, list) else placed[0]
    if isinstance(value, (list, tuple)):
        return [_placed(service, parameter, *pair) for pair in zip(given, value, strict=True)]
    if isinstance(value, Mapping):
        if len(given) != len(value) or any(isinstance(key, Path) for key in value):
            raise ParameterError(f"parameter {parameter!r}: its keys are no names of their own", parameter=parameter)
        pairs = zip(given.items(), value.values(), strict=True)
        return {key: _placed(service, parameter, part, made) for (key, part), made in pairs}
    return given


def _find(service: Service, parameter: str, text: str) -> str:
    place = _below_a_root(service, text) if os.path.isabs(text) else _on_a_datastore(service, parameter, text)
    if place is None or "\0" in text:
        raise ParameterError(f"parameter {parameter!r} got the path {text!r}; {_EXPECTED}", parameter=parameter)
    if not os.path.exists(place):
        raise ParameterError(f"parameter {parameter!r}: there is nothing at {text!r}", parameter=parameter)
    return place


def _find_files(service: Service, parameter: str, text: str) -> str:
    """The path that a dataset is made of; on a datastore wherever that is."""
    if os.path.isabs(text):
        return _find(service, parameter, text)
    if "://" in text or text.partition("/")[0] not in Datastores(service.store):
        raise ParameterError(f"parameter {parameter!r} got the path {text!r}; {_EXPECTED}", parameter=parameter)
    return text


def _below_a_root(service: Service, text: str) -> str | None:
    if "\0" in text or ".." in text.split("/"):
        return None
    real = os.path.realpath(text)
    for root in service.paths:
        if real == root or real.startswith(root.rstrip(os.sep) + os.sep):
            return os.path.normpath(text)
    return None


def _on_a_datastore(service: Service, parameter: str, text: str) -> str | None:
    name, slash, path = text.partition("/")
    try:
        datastore = Datastores(service.store)[name]
        relative = checked(path, datastore=name)
        if not slash or not relative:
            return None
        if not datastore.is_local:
            raise ParameterError(
                f"parameter {parameter!r}: datastore {name!r} is no folder of this machine; a pipeline takes what lies "
                "there as a parameter of type Dataset",
                parameter=parameter,
            )
        return inside(datastore.url.removeprefix("file://"), relative, datastore=name)
    except UnknownNameError:
        return None
    except DatastoreError as exc:
        raise ParameterError(f"parameter {parameter!r}: {exc}", parameter=parameter) from None
