"""A graph and a time to run it come in; queued and started runs go out: published versions, their queue, runners."""

from __future__ import annotations

from pipelite.automate.dispatching import Dispatcher
from pipelite.automate.hooks import (
    ENDS,
    EVENTS,
    Delivery,
    Hook,
    add_hook,
    count_deliveries,
    find_hook,
    list_deliveries,
    list_hooks,
    redeliver,
    remove_hook,
)
from pipelite.automate.queue import Limits, count_waiting, get_assignments, refuse, requeue, submit
from pipelite.automate.sending import Backoff, HookSender, send_test
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
    "ENDS",
    "EVENTS",
    "STATUSES",
    "Backoff",
    "Delivery",
    "Dispatcher",
    "Draft",
    "EndpointRecord",
    "Hook",
    "HookSender",
    "Limits",
    "PublishedVersion",
    "add_hook",
    "add_version",
    "announce",
    "check_names",
    "count_deliveries",
    "count_waiting",
    "find_hook",
    "find_server_url",
    "find_version",
    "get_assignments",
    "get_defaults_pickle",
    "get_version_sources",
    "is_served",
    "list_deliveries",
    "list_endpoints",
    "list_hooks",
    "list_versions",
    "redeliver",
    "refuse",
    "remove_hook",
    "requeue",
    "send_test",
    "set_default",
    "set_status",
    "submit",
    "withdraw",
]
