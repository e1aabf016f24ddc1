"""What datasets are called by scripts, and in the workspace, where names have fewer letters."""

from __future__ import annotations

import re

from pipelite.azureml import _state
from pipelite.azureml.exceptions import UserErrorException
from pipelite.store import Store

#: Settings: the workspace's name of a dataset to that of scripts, where these are not the same.
_KIND = "dataset_name"
#: What the workspace takes as one.
_NAME = re.compile(r"[A-Za-z_][\w.-]{0,254}\Z")
#: What a dataset that was not registered is kept as, once its id was asked for.
_SAVED = "saved-"
_MOST_LETTERS = 255


def find_native(store: Store, name: str) -> str:
    """What the workspace calls a dataset."""
    known = _state.get_all(store, _KIND)
    return next((native for native, given in known.items() if given == name), name)


def reserve_native(store: Store, name: str) -> str:
    """What the workspace is to call a dataset: what it calls it already, or a name that is free.

    Raises
    ------
    UserErrorException
        If it is no name of v1's either.
    """
    known = _state.get_all(store, _KIND)
    found = find_native(store, name)
    if found != name or (_NAME.match(name) and name not in known):
        return found
    if not name.strip() or not name.isprintable() or len(name) > _MOST_LETTERS:
        raise UserErrorException(
            f"a dataset cannot be called {name!r}; a text of at most {_MOST_LETTERS} letters is expected"
        )
    text = re.sub(r"[^\w.-]", "-", name)
    text = text if _NAME.match(text) else f"_{text}"[:255]
    from pipelite.data import Datasets

    made, number, datasets = text, 2, Datasets(store)
    while made in known or made in datasets:
        made, number = f"{text}-{number}", number + 1
    _state.put(store, _KIND, made, name)
    return made


def to_given(store: Store, native: str) -> str:
    """What scripts call a dataset of the workspace."""
    given: str | None = _state.get(store, _KIND, native)
    return given or native


def saved_name(dataset_id: str) -> str:
    """What a dataset is kept as that was not registered."""
    return f"{_SAVED}{dataset_id}"


def is_saved(native: str) -> bool:
    """Whether a name is one of these."""
    return re.fullmatch(rf"{_SAVED}[0-9a-f-]{{36}}", native) is not None
