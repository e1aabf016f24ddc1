"""`azureml.core.compute`: clusters by name. Each is this box, or the compute target of the same name in the workspace."""

from __future__ import annotations

import builtins
import os
import socket
from collections.abc import Mapping
from typing import Any

from pipelite.azureml import _state
from pipelite.azureml._notices import note_ignored
from pipelite.azureml.exceptions import ComputeTargetException, UserErrorException

_KIND = "compute"


class ProvisioningConfiguration:
    """What a cluster is to be like; here only its number of nodes is looked at again, by steps that name more of them."""

    def __init__(self, kind: str, **settings: Any) -> None:
        self.kind = kind
        self.settings = settings
        for name, value in settings.items():
            setattr(self, name, value)


class ComputeTarget:
    """A cluster by its name.

    Raises
    ------
    ComputeTargetException
        If no such cluster was created, which is how scripts find out that they have to create it.
    """

    _type = "AmlCompute"

    def __new__(cls, workspace: Any, name: str) -> ComputeTarget:
        kind = _CLASSES.get(_find(workspace, name)["type"], AmlCompute)
        if not issubclass(kind, cls):
            raise ComputeTargetException(f"the compute target {name!r} is a {kind.__name__}, and not a {cls.__name__}")
        made: ComputeTarget = object.__new__(kind)
        return made

    def __init__(self, workspace: Any, name: str) -> None:
        kept = _find(workspace, name)
        self.workspace = workspace
        self.name = name
        self.type = kept["type"]
        self.id = self.cluster_resource_id = _state.make_id("compute", name)
        self.location = self.cluster_location = "local"
        self.provisioning_state = "Succeeded"
        self.provisioning_errors: list[Any] = []
        for key, value in kept["settings"].items():
            setattr(self, key, value)
        self.tags = kept["settings"].get("tags") or {}

    @staticmethod
    def create(workspace: Any, name: str, provisioning_configuration: ProvisioningConfiguration) -> ComputeTarget:
        """Make it known; it is there at once."""
        return _keep(workspace, name, provisioning_configuration)

    @staticmethod
    def attach(workspace: Any, name: str, attach_configuration: ProvisioningConfiguration) -> ComputeTarget:
        """Make it known; it is there at once."""
        return _keep(workspace, name, attach_configuration)

    @staticmethod
    def list(workspace: Any) -> list[ComputeTarget]:
        """All that are known."""
        return [ComputeTarget(workspace, name) for name in _state.get_all(workspace.store, _KIND)]

    def wait_for_completion(
        self,
        show_output: bool = False,
        min_node_count: int | None = None,
        timeout_in_minutes: float = 25,
        is_delete_operation: bool = False,
    ) -> None:
        """It is there already."""
        if show_output:
            print("Succeeded")

    def get_status(self) -> ComputeStatus:
        """How many nodes it has: one, this box."""
        return ComputeStatus(getattr(self, "max_nodes", None))

    def refresh_state(self) -> None:
        """It never changes."""

    def serialize(self) -> dict[str, Any]:
        return {"name": self.name, "type": self.type, "provisioning_state": self.provisioning_state}

    def delete(self) -> None:
        """Forget it."""
        _state.remove(self.workspace.store, _KIND, self.name)

    def detach(self) -> None:
        """Forget it."""
        self.delete()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(workspace={self.workspace!r}, name={self.name!r})"


class ComputeStatus:
    """The state of a cluster."""

    def __init__(self, max_nodes: int | None) -> None:
        self.current_node_count = self.target_node_count = 1
        self.allocation_state = "Steady"
        self.provisioning_state = "Succeeded"
        self.errors = None
        self.scale_settings = {"minNodeCount": 1, "maxNodeCount": max_nodes or 1}

    def serialize(self) -> dict[str, Any]:
        return {
            "currentNodeCount": self.current_node_count,
            "targetNodeCount": self.target_node_count,
            "allocationState": self.allocation_state,
            "provisioningState": self.provisioning_state,
            "errors": self.errors,
            "scaleSettings": self.scale_settings,
        }


class AmlCompute(ComputeTarget):
    """A cluster of Azure's; here this box, or the compute target of the same name in the workspace's settings."""

    @staticmethod
    def provisioning_configuration(
        vm_size: str = "",
        vm_priority: str = "dedicated",
        min_nodes: int = 0,
        max_nodes: int | None = None,
        idle_seconds_before_scaledown: int = 1800,
        admin_username: str | None = None,
        admin_user_password: str | None = None,
        admin_user_ssh_key: str | None = None,
        vnet_resourcegroup_name: str | None = None,
        vnet_name: str | None = None,
        subnet_name: str | None = None,
        tags: Mapping[str, str] | None = None,
        description: str | None = None,
        remote_login_port_public_access: str = "NotSpecified",
        identity_type: str | None = None,
        identity_id: Any = None,
        location: str | None = None,
        enable_node_public_ip: bool = True,
    ) -> ProvisioningConfiguration:
        if vm_priority not in ("dedicated", "lowpriority"):
            raise UserErrorException(f"vm_priority={vm_priority!r} is wrong; 'dedicated' or 'lowpriority' is expected")
        if max_nodes is not None and max_nodes < min_nodes:
            raise UserErrorException(f"max_nodes={max_nodes} is less than min_nodes={min_nodes}")
        note_ignored("the size of a cluster's machines, their priority, and how long they stay idle")
        return ProvisioningConfiguration(
            "AmlCompute",
            vm_size=vm_size,
            vm_priority=vm_priority,
            min_nodes=min_nodes,
            max_nodes=max_nodes,
            idle_seconds_before_scaledown=idle_seconds_before_scaledown,
            tags=dict(tags or {}),
        )

    @staticmethod
    def supported_vmsizes(workspace: Any, location: str | None = None) -> builtins.list[dict[str, Any]]:
        """This machine, as the one size that there is."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return [{"name": "local", "vCPUs": os.cpu_count(), "gpus": 0, "memoryGB": round(memory / 2**30, 1)}]

    def list_nodes(self) -> builtins.list[dict[str, Any]]:
        """One node: this machine."""
        return [{"nodeId": socket.gethostname(), "nodeState": "idle", "runId": None}]

    def update(
        self,
        min_nodes: int | None = None,
        max_nodes: int | None = None,
        idle_seconds_before_scaledown: int | None = None,
    ) -> None:
        """Change what is known of it."""
        if idle_seconds_before_scaledown is not None:
            note_ignored("the size of a cluster's machines, their priority, and how long they stay idle")
        changes = {"min_nodes": min_nodes, "max_nodes": max_nodes}
        given = {key: value for key, value in changes.items() if value is not None}
        kept = _find(self.workspace, self.name)
        _state.put(
            self.workspace.store, _KIND, self.name, {"type": self.type, "settings": {**kept["settings"], **given}}
        )
        self.__dict__.update(given)


class ComputeInstance(ComputeTarget):
    """A machine to work at; here this box."""

    @staticmethod
    def provisioning_configuration(vm_size: str = "", **others: Any) -> ProvisioningConfiguration:
        note_ignored("the size of a cluster's machines, their priority, and how long they stay idle")
        return ProvisioningConfiguration("ComputeInstance", vm_size=vm_size)


class DataFactoryCompute(ComputeTarget):
    """What copied data; here this box does."""

    @staticmethod
    def provisioning_configuration(location: str | None = None) -> ProvisioningConfiguration:
        return ProvisioningConfiguration("DataFactory", location=location)

    @staticmethod
    def attach_configuration(
        resource_group: str | None = None, factory_name: str | None = None, resource_id: str | None = None
    ) -> ProvisioningConfiguration:
        return ProvisioningConfiguration("DataFactory", resource_group=resource_group, factory_name=factory_name)


class DatabricksCompute(ComputeTarget):
    """A Databricks workspace: that which a compute target of the same name says, else the Spark of this machine."""

    @staticmethod
    def attach_configuration(
        resource_group: str | None = None,
        workspace_name: str | None = None,
        resource_id: str | None = None,
        access_token: str = "",
    ) -> ProvisioningConfiguration:
        note_ignored("the access token of a Databricks compute: the workspace's own compute target says where it is")
        return ProvisioningConfiguration("Databricks", resource_group=resource_group, workspace_name=workspace_name)


class RemoteCompute(ComputeTarget):
    """A machine that scripts were sent to; here this box."""

    _kind = "VirtualMachine"

    @classmethod
    def attach_configuration(
        cls,
        username: str | None = None,
        address: str | None = None,
        ssh_port: int = 22,
        password: str | None = None,
        private_key_file: str = "",
        private_key_passphrase: str = "",
        resource_id: str | None = None,
    ) -> ProvisioningConfiguration:
        note_ignored("the address of a machine, and how to sign in there")
        return ProvisioningConfiguration(cls._kind)


class HDInsightCompute(RemoteCompute):
    """A cluster with Spark; here this box."""

    _kind = "HDInsight"


class BatchCompute(ComputeTarget):
    """Machines of Azure Batch, for the step of that name."""

    @staticmethod
    def attach_configuration(
        resource_group: str | None = None, account_name: str | None = None, resource_id: str | None = None
    ) -> ProvisioningConfiguration:
        return ProvisioningConfiguration("Batch", resource_group=resource_group, account_name=account_name)


class KustoCompute(ComputeTarget):
    """A cluster of Azure Data Explorer, for the step of that name."""

    @staticmethod
    def attach_configuration(
        resource_group: str,
        workspace_name: str,
        resource_id: str | None = None,
        tenant_id: str = "",
        kusto_connection_string: str = "",
        application_id: str = "",
        application_key: str = "",
    ) -> ProvisioningConfiguration:
        note_ignored("how to sign in at a cluster of Azure Data Explorer")
        return ProvisioningConfiguration("Kusto", resource_group=resource_group, workspace_name=workspace_name)


class SynapseCompute(ComputeTarget):
    """A pool of Spark in Synapse, for the step of that name."""

    @staticmethod
    def attach_configuration(linked_service: Any, type: str, pool_name: str) -> ProvisioningConfiguration:
        return ProvisioningConfiguration("SynapseSpark", pool_name=pool_name)


class AksCompute(ComputeTarget):
    """A Kubernetes cluster, for services."""

    @staticmethod
    def provisioning_configuration(agent_count: int | None = None, **others: Any) -> ProvisioningConfiguration:
        note_ignored("the size of a cluster's machines, their priority, and how long they stay idle")
        return ProvisioningConfiguration("AKS", agent_count=agent_count)

    @staticmethod
    def attach_configuration(
        resource_group: str | None = None,
        cluster_name: str | None = None,
        resource_id: str | None = None,
        cluster_purpose: str | None = None,
        **others: Any,
    ) -> ProvisioningConfiguration:
        return ProvisioningConfiguration("AKS", resource_group=resource_group, cluster_name=cluster_name)


class AdlaCompute(ComputeTarget):
    """Azure Data Lake Analytics, which is gone."""

    @staticmethod
    def attach_configuration(
        resource_group: str | None = None, account_name: str | None = None, resource_id: str | None = None
    ) -> ProvisioningConfiguration:
        return ProvisioningConfiguration("DataLakeAnalytics", resource_group=resource_group, account_name=account_name)


_CLASSES: dict[str, type[ComputeTarget]] = {
    "AmlCompute": AmlCompute,
    "ComputeInstance": ComputeInstance,
    "DataFactory": DataFactoryCompute,
    "Databricks": DatabricksCompute,
    "DataLakeAnalytics": AdlaCompute,
    "VirtualMachine": RemoteCompute,
    "HDInsight": HDInsightCompute,
    "Batch": BatchCompute,
    "Kusto": KustoCompute,
    "SynapseSpark": SynapseCompute,
    "AKS": AksCompute,
}


def _find(workspace: Any, name: str) -> dict[str, Any]:
    kept: dict[str, Any] | None = _state.get(workspace.store, _KIND, name)
    if kept is not None:
        return kept
    if name in workspace.native.compute:
        return {"type": "AmlCompute", "settings": {}}
    raise ComputeTargetException(
        f"ComputeTargetNotFound: there is no compute target {name!r}; ComputeTarget.create(workspace, {name!r}, "
        "configuration) makes it known, and it is this box"
    )


def _keep(workspace: Any, name: str, configuration: ProvisioningConfiguration) -> ComputeTarget:
    if not isinstance(configuration, ProvisioningConfiguration):
        raise UserErrorException(
            f"compute target {name!r}: {configuration!r} is no configuration; "
            "AmlCompute.provisioning_configuration(...) gives one"
        )
    _state.put(workspace.store, _KIND, name, {"type": configuration.kind, "settings": configuration.settings})
    return ComputeTarget(workspace, name)


def native_target(workspace: Any, target: Any) -> str | None:
    """The compute target of the workspace's own settings that a cluster is mapped to; None is this box."""
    name = target[0] if isinstance(target, tuple) else getattr(target, "name", target)
    return name if name is not None and name in workspace.native.compute else None
