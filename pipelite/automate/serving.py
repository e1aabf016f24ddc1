"""Who serves a workspace now, and where it listens: a row of the settings for each, void once its process is gone."""

from __future__ import annotations

from pipelite.store import Store, get_settings, is_alive, put_setting, remove_setting

_PREFIX = "serving."


def announce(store: Store, url: str | None) -> None:
    """Say that this process executes the queue, and where it answers requests, if it does."""
    for owner in get_settings(store, _PREFIX):
        if not is_alive(store.path, owner):
            remove_setting(store, _PREFIX + owner)
    put_setting(store, _PREFIX + store.owner.name, {"url": url})


def withdraw(store: Store) -> None:
    """Say that it does no more."""
    remove_setting(store, _PREFIX + store.owner.name)


def is_served(store: Store) -> bool:
    """Whether a living process executes the queue."""
    return any(is_alive(store.path, owner) for owner in get_settings(store, _PREFIX))


def find_server_url(store: Store) -> str | None:
    """Base address of a living server, if there is one."""
    for owner, setting in get_settings(store, _PREFIX).items():
        if setting["url"] is not None and is_alive(store.path, owner):
            return str(setting["url"])
    return None
