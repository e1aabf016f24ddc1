"""`azureml.core.webservice`: services, which `Model.deploy` would start."""

from __future__ import annotations

from typing import Any

from pipelite.azureml.exceptions import WebserviceException


class DeploymentConfiguration:
    """What a service was to be like: recorded, and not used."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings


class Webservice:
    """A service by its name.

    Raises
    ------
    WebserviceException
        Always: there is none.
    """

    def __init__(self, workspace: Any, name: str) -> None:
        raise WebserviceException(
            f"WebserviceNotFound: there is no service {name!r}, and none is started here; load the model of "
            "Model.get_model_path(...) in a step or an application"
        )

    @classmethod
    def deploy_configuration(cls, **settings: Any) -> DeploymentConfiguration:
        """What a service is to be like, for `Model.deploy`."""
        return DeploymentConfiguration(settings)


class AciWebservice(Webservice):
    """A service in a container of Azure's."""


class AksWebservice(Webservice):
    """A service on a Kubernetes cluster."""


class LocalWebservice(Webservice):
    """A service on this machine."""
