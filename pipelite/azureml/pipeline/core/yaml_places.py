"""Places in a file of YAML, which mistakes are told with: the file, the step, the key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pipelite.azureml.exceptions import NotOnOneBoxError
from pipelite.errors import MissingExtraError, PipeliteError

#: What YAML has for "nothing", and what the documents of v1 wrote.
NOTHING = (None, "None", "none")


class Place:
    """A place in a file, which mistakes are told with."""

    def __init__(self, file: str, *names: str) -> None:
        self._file = file
        self._names = names

    def at(self, what: str, name: str | None = None) -> Place:
        """A place below this one."""
        return Place(self._file, *self._names, what if name is None else f"{what} {name!r}")

    def error(self, what: str) -> ValueError:
        return ValueError(f"{': '.join((self._file, *self._names))}: {what}")

    @contextmanager
    def told(self) -> Iterator[None]:
        """Tell with the place what goes wrong."""
        try:
            yield
        except (NotOnOneBoxError, MissingExtraError):
            raise
        except (ValueError, TypeError, PipeliteError) as exc:
            # It may have been told with a place nearer to it.
            raise (ValueError(str(exc)) if str(exc).startswith(self._file) else self.error(str(exc))) from exc

    def mapping(self, value: Any, known: Iterable[str] | None = None) -> Mapping[str, Any]:
        """A value as keys and values, and only such as are known."""
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self.error(f"{value!r} is not what is expected: keys and values")
        names = None if known is None else list(known)
        for key in value:
            if not isinstance(key, str):
                raise self.error(f"the key {key!r} is no text")
            if names is not None and key not in names:
                near = difflib.get_close_matches(key, names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(names)}"
                raise self.error(f"key {key!r} is not known; {hint}")
        return value
