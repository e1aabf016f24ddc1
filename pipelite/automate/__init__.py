"""A graph and a time to run it come in; queued and started runs go out: published versions, their queue, runners."""

from __future__ import annotations

from pipelite.automate.dispatching import Dispatcher
from pipelite.automate.queue import (
    Limits,
    count_waiting,
    find_requested_version,
    get_assignments,
    refuse,
    requeue,
    submit,
)
from pipelite.automate.serving import announce, find_server_url, is_served, withdraw
from pipelite.automate.versions import (
    STATUSES,
    Draft,
    EndpointRecord,
    PublishedVersion,
    add_version,
    check_names,
    find_version,
    get_defaults_pickle,
    get_version_sources,
    list_endpoints,
    list_versions,
    set_default,
    set_status,
)

__all__ = [
    "STATUSES",
    "Dispatcher",
    "Draft",
    "EndpointRecord",
    "Limits",
    "PublishedVersion",
    "add_version",
    "announce",
    "check_names",
    "count_waiting",
    "find_requested_version",
    "find_server_url",
    "find_version",
    "get_assignments",
    "get_defaults_pickle",
    "get_version_sources",
    "is_served",
    "list_endpoints",
    "list_versions",
    "refuse",
    "requeue",
    "set_default",
    "set_status",
    "submit",
    "withdraw",
]
