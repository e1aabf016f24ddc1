"""Settings of a workspace: values by name, as JSON."""

from __future__ import annotations

import json
from typing import Any

from pipelite.errors import ParameterError
from pipelite.store.workspace import Store


def get_settings(store: Store, prefix: str) -> dict[str, Any]:
    """Return the settings whose names start with a prefix, without it."""
    rows = store.database.read("SELECT name, value FROM settings ORDER BY name")
    return {row["name"][len(prefix) :]: json.loads(row["value"]) for row in rows if row["name"].startswith(prefix)}


def get_setting(store: Store, name: str) -> Any:
    """Return the value of one setting; None if there is none of that name."""
    rows = store.database.read("SELECT value FROM settings WHERE name = ?", (name,))
    return json.loads(rows[0]["value"]) if rows else None


def put_setting(store: Store, name: str, value: Any) -> None:
    """Keep a setting; one of the same name is replaced."""
    with store.database.write() as connection:
        connection.execute(
            "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, json.dumps(value)),
        )


def remove_setting(store: Store, name: str) -> None:
    """Remove a setting; nothing happens if there is none."""
    with store.database.write() as connection:
        connection.execute("DELETE FROM settings WHERE name = ?", (name,))


#: What becomes of a step's environment: the interpreter that runs it serves if it has what is asked for, else one is
#: built; one is always built; whatever runs the step serves.
ENVIRONMENT_MODES = ("check", "build", "off")
_ENVIRONMENTS = "environments"


def get_environments_mode(store: Store) -> str:
    """Return the workspace's setting `environments`."""
    return str(get_settings(store, _ENVIRONMENTS).get("", ENVIRONMENT_MODES[0]))


def put_environments_mode(store: Store, mode: str) -> None:
    """Keep the workspace's setting `environments`.

    Raises
    ------
    ParameterError
        If there is no such mode.
    """
    if mode not in ENVIRONMENT_MODES:
        raise ParameterError(f"environments is {mode!r}; one of {', '.join(map(repr, ENVIRONMENT_MODES))} is expected")
    put_setting(store, _ENVIRONMENTS, mode)
