"""`Workspace().environments`: what was made for steps, and how what they ask for is met."""

from __future__ import annotations

from collections.abc import Iterator

from pipelite.steps.environments import BuiltEnvironment, list_environments, remove_environment
from pipelite.store import Store, get_environments_mode, put_environments_mode


class Environments:
    """The virtual environments of a workspace, the oldest first."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def mode(self) -> str:
        """How an `Environment` of a step is met.

        "check", as it is at first: by the Python that runs the pipeline, if that has all it asks for, else by a virtual
        environment. "build": always by a virtual environment. "off": by the Python that runs the pipeline, whatever it has.
        """
        return get_environments_mode(self._store)

    @mode.setter
    def mode(self, mode: str) -> None:
        put_environments_mode(self._store, mode)

    def __iter__(self) -> Iterator[BuiltEnvironment]:
        return iter(list_environments(self._store.path))

    def remove(self, name: str) -> None:
        """Remove one that no step is running in; a step that asks for it makes it again.

        Raises
        ------
        NotFoundError
            If there is none of that name.
        EnvironmentFailed
            If a step is running in it, or it is being made.
        """
        remove_environment(self._store.path, name)
