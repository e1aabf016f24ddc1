"""`azureml.core.keyvault`: secrets by name, each in a file of the workspace that only its user may read."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from pipelite.azureml.exceptions import UserErrorException

if TYPE_CHECKING:
    from pipelite.azureml.core.workspace import Workspace

_FOLDER = "secrets"


class Keyvault:
    """Secrets of the workspace. One that is not there is looked for among the environment variables."""

    def __init__(self, workspace: Workspace) -> None:
        self._folder = workspace.native.path / _FOLDER

    def set_secret(self, name: str, value: str) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._folder / _checked(name)
        descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(value)
        os.replace(f"{path}.new", path)

    def get_secret(self, name: str) -> str:
        """The value of a secret.

        Raises
        ------
        UserErrorException
            If there is none of that name.
        """
        try:
            return (self._folder / _checked(name)).read_text(encoding="utf-8")
        except FileNotFoundError:
            variable = name.upper().replace("-", "_")
            if variable in os.environ:
                return os.environ[variable]
            raise UserErrorException(
                f"there is no secret {name!r}; set_secret({name!r}, value) keeps one in the workspace, and the environment "
                f"variable {variable} is taken for it"
            ) from None

    def delete_secret(self, name: str) -> None:
        (self._folder / _checked(name)).unlink(missing_ok=True)

    def list_secrets(self) -> list[dict[str, str]]:
        names = sorted(os.listdir(self._folder)) if self._folder.is_dir() else []
        return [{"name": name} for name in names if not name.endswith(".new")]


def _checked(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,127}", name):
        raise UserErrorException(f"a secret cannot be called {name!r}; letters, digits and - are taken")
    return name
