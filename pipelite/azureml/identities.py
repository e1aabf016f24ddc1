"""What an input from a datastore counts by: its content, or where it is, as for v1."""

from __future__ import annotations

import copy
from typing import Any

from pipelite.azureml import _state
from pipelite.data import Dataset
from pipelite.fingerprint import combine
from pipelite.store import Store

#: Values of the workspace's setting `azureml.identity.rule`.
CONTENT, DEFINITION = RULES = ("content", "definition")


def counts_by_definition(store: Store) -> bool:
    """Whether this workspace keeps to v1's rule."""
    return bool(_state.get(store, "identity", "rule") == DEFINITION)


def set_rule(store: Store, rule: str) -> None:
    """Keep the workspace's rule.

    Parameters
    ----------
    rule : str
        "content": a step runs again when the bytes that it reads have changed. "definition": v1's rule, by which a data
        reference counts by its datastore and path, and a dataset by its name and version or its definition.

    Raises
    ------
    ValueError
        If there is no such rule.
    """
    if rule not in RULES:
        raise ValueError(f"an identity rule {rule!r} is not known; one of {', '.join(map(repr, RULES))} is expected")
    _state.put(store, "identity", "rule", rule)


class _ByDefinition(Dataset):
    """A dataset whose bytes do not count."""

    def _identity_of(self, found: Any) -> str:
        label = "" if self._registration is None else f"{self._registration.name}:{self._registration.version}"
        return combine("azureml dataset", [self.definition.to_json(), label])

    def changed_file(self) -> str | None:
        return None


def by_definition(dataset: Dataset) -> Dataset:
    """The same dataset, which counts by where its data are and not by what they are: v1's rule."""
    made = copy.copy(dataset)
    made.__class__ = _ByDefinition
    return made
