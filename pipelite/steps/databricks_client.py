"""How Databricks is reached: the settings of its SDK, whose secrets are looked up where they are used, and its errors."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pipelite
from pipelite._optional import require
from pipelite.errors import CommandError, DatastoreError, DefinitionError

#: Seconds for which a call that is throttled, or does not get through, is tried again.
RETRY_S = 600
#: The same for the SDK's first call, which asks a host for what need not be known.
_FIRST_RETRY_S = 15

_SECRETS = ("azure_client_secret", "client_secret", "google_credentials", "password", "token")
_REFERENCE = re.compile(r"(env|file):.")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def check_connection(given: Any, where: str) -> dict[str, Any]:
    """Settings of the SDK, which become part of a key: no secret may be among them.

    Raises
    ------
    DefinitionError
        Names the setting and what to do; what may be a secret is not repeated.
    """
    if not isinstance(given, Mapping):
        raise DefinitionError(f'{where}: connection= takes a dict, such as {{"profile": "production"}}')
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, str | int | float):
            raise DefinitionError(f"{where}: the setting {name!r} of the connection is to be a text or a number")
        if name in _SECRETS and not _is_reference(value):
            raise DefinitionError(
                f"{where}: {name!r} of the connection is to say where it is, 'env:NAME' for an environment variable or "
                "'file:PATH' for a file with mode 0600, not what it is"
            )
    if re.match(r"[\w+.-]+://[^/]*@", str(given.get("host", ""))):
        raise DefinitionError(f"{where}: the host of the connection holds a password; leave it away")
    return dict(given)


class Client:
    """A workspace of Databricks.

    Raises
    ------
    CommandError
        If there are no credentials, or not where they should be.
    """

    def __init__(self, connection: Mapping[str, Any]) -> None:
        require("databricks.sdk", extra="databricks")
        from databricks.sdk import WorkspaceClient
        from databricks.sdk.config import Config

        from pipelite.data.credentials import hide, load_credentials

        unknown = sorted(connection.keys() - {each.name for each in Config.attributes()})
        if unknown:
            raise CommandError(
                f"connection={{...}} to Databricks: the SDK knows no setting {', '.join(map(repr, unknown))}"
            )
        references = {name: str(value) for name, value in connection.items() if _is_reference(value)}
        settings = {name: value for name, value in connection.items() if name not in references}
        try:
            settings |= load_credentials("", references, Path.cwd())
        except DatastoreError as exc:
            raise CommandError(str(exc).replace("datastore ''", "connection to Databricks", 1)) from None
        retry_s = settings.pop("retry_timeout_seconds", RETRY_S)
        try:
            config = Config(
                **settings,
                retry_timeout_seconds=min(retry_s, _FIRST_RETRY_S),
                product="pipelite",
                product_version=pipelite.__version__,
            )
        except (TypeError, ValueError) as exc:
            raise CommandError(
                f"Databricks cannot be reached: {hide(str(exc), settings)}; set DATABRICKS_HOST and DATABRICKS_TOKEN, or give "
                'connection={"host": ..., "token": "env:NAME"} or {"profile": ...}'
            ) from None
        config.retry_timeout_seconds = retry_s
        self._secrets = {name: getattr(config, name) for name in _SECRETS}
        self.host = str(config.host)
        self.sdk = WorkspaceClient(config=config)

    def show(self, text: str | None) -> str:
        """What Databricks says, without colors and without a secret of ours."""
        from pipelite.data.credentials import hide

        return hide(_ANSI.sub("", text or "").strip(), self._secrets)

    @contextlib.contextmanager
    def explaining(self, what: str) -> Iterator[None]:
        """Tell of errors of a call in a sentence.

        Raises
        ------
        CommandError
            If the call fails, also after it was tried again for as long as it may be.
        """
        from databricks.sdk.errors import NotFound, PermissionDenied, Unauthenticated
        from databricks.sdk.errors.base import DatabricksError
        from requests import RequestException

        try:
            yield
        except (PermissionDenied, Unauthenticated) as exc:
            raise CommandError(
                f"{what}: {self.host} refuses it: {self.show(str(exc))}; check the token, and what it is allowed to do"
            ) from None
        except NotFound as exc:
            raise CommandError(
                f"{what}: {self.host} does not find it: {self.show(str(exc))}; check the names and paths of the step"
            ) from None
        except (DatabricksError, RequestException, ValueError) as exc:
            raise CommandError(f"{what}: {self.host} does not do it: {self.show(str(exc))}") from None
        except TimeoutError as exc:
            why = f": {self.show(str(exc.__cause__))}" if exc.__cause__ is not None else ""
            raise CommandError(
                f"{what}: {self.host} gave no answer for {self.sdk.config.retry_timeout_seconds} s{why}; run it again when it "
                'answers, or give connection={"retry_timeout_seconds": ...}'
            ) from None


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and _REFERENCE.match(value) is not None
