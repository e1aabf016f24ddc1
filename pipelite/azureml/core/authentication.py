"""`azureml.core.authentication`: on one box every way of signing in is the token of the local user."""

from __future__ import annotations

import os
from typing import Any

from pipelite.azureml._notices import note_ignored
from pipelite.azureml._state import open_workspace
from pipelite.azureml.exceptions import UserErrorException
from pipelite.errors import PipeliteError


class AbstractAuthentication:
    """What all of them are."""

    def get_authentication_header(self) -> dict[str, str]:
        """The headers of a request that `pipelite serve` accepts.

        Raises
        ------
        UserErrorException
            If the token of the workspace can be neither read nor made.
        """
        return {"Authorization": f"Bearer {self.get_token().token}"}

    def get_token(self) -> AccessToken:
        """The token of the local user, which is made if there is none yet."""
        from pipelite.store.tokens import LOCAL_FILE, keep_local_token

        store = open_workspace().store
        path = store.path / LOCAL_FILE
        try:
            # One that only another user may read is not made anew: that would end what it opens to that user.
            if not os.path.lexists(path):
                keep_local_token(store)
            return AccessToken(path.read_text(encoding="ascii").strip())
        except (OSError, PipeliteError) as exc:
            raise UserErrorException(
                f"the token of the workspace, in {str(path)!r}, can be neither read nor made: {exc}"
            ) from exc


class AccessToken:
    """A token, and when it ends: never."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.expires_on = 0


class InteractiveLoginAuthentication(AbstractAuthentication):
    """Signing in by a browser; here nobody is asked."""

    def __init__(self, force: bool = False, tenant_id: str | None = None, cloud: str | None = None) -> None:
        _note(force=force, tenant_id=tenant_id, cloud=cloud)


class ServicePrincipalAuthentication(AbstractAuthentication):
    """Signing in as a service; what it is given is not kept."""

    def __init__(
        self,
        tenant_id: str,
        service_principal_id: str,
        service_principal_password: str,
        cloud: str = "AzureCloud",
        _enable_caching: bool = True,
    ) -> None:
        _note(tenant_id=tenant_id)


class AzureCliAuthentication(AbstractAuthentication):
    """Signing in by `az login`."""

    def __init__(self, cloud: str | None = None) -> None:
        _note(cloud=cloud)


class MsiAuthentication(AbstractAuthentication):
    """Signing in as the machine."""

    def __init__(self, identity_config: Any = None, cloud: str | None = None) -> None:
        _note(identity_config=identity_config, cloud=cloud)


class TokenAuthentication(AbstractAuthentication):
    """Signing in by a token that a function gives."""

    def __init__(self, get_token_for_audience: Any, cloud: str = "AzureCloud") -> None:
        _note(get_token_for_audience=get_token_for_audience)


def _note(**given: Any) -> None:
    for name, value in given.items():
        if value:
            note_ignored(f"{name}= of an authentication")
