"""Native events of folders of this machine, where the extra `watch` is installed."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import attrs

#: Told of the absolute path of a file that its writer has closed or put in place, or of a folder that is new, in which
#: there may be files by now; and which of both it is.
Listener = Callable[[str, bool], None]


@attrs.frozen
class _Heard:
    """What a listener is told of."""

    folder: str
    is_deep: bool
    #: Which folder that is: another one may come to its place.
    identity: tuple[int, int]
    watch: Any
    handler: Any


class Notices:
    """The folders that are listened at in this process. Safe to use from every thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._observer: Any = None
        self._is_ended = False
        self._heard: dict[Listener, _Heard] = {}

    @staticmethod
    def are_there() -> bool:
        """Whether folders can be listened at."""
        return importlib.util.find_spec("watchdog") is not None

    def listen(self, listener: Listener, folder: str, *, is_deep: bool) -> bool:
        """Tell a listener of a folder, and of those below it, from now on; gives whether it was not told of it before.

        Nobody is told where the system has no more watches to give, or the folder has gone.
        """
        with self._guard:
            if self._is_ended:
                return False
            try:
                status = os.stat(folder)
                identity = status.st_dev, status.st_ino
                heard = self._heard.get(listener)
                if heard is not None:
                    is_same = (heard.folder, heard.is_deep, heard.identity) == (folder, is_deep, identity)
                    if is_same and self._is_alive(heard.watch):
                        return False
                    self._forget(listener)
                self._watch(listener, folder, is_deep=is_deep, identity=identity)
            except OSError:
                return False
            return True

    def ignore(self, listener: Listener) -> None:
        """Tell a listener nothing more."""
        with self._guard:
            self._forget(listener)

    def stop(self) -> None:
        """Tell nobody anything more."""
        with self._guard:
            self._is_ended = True
            self._heard.clear()
            if self._observer is not None:
                self._observer.stop()
                self._observer.join()
                self._observer = None

    def _watch(self, listener: Listener, folder: str, *, is_deep: bool, identity: tuple[int, int]) -> None:
        from watchdog import events, observers

        if self._observer is None:
            # It tells of folders that come while it looks at them, and of events on their way when it is told to end.
            warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"watchdog\.")
            logging.getLogger("watchdog").setLevel(logging.CRITICAL)
            # What is moved to its place from elsewhere is told as such only so.
            options = {"generate_full_events": True} if sys.platform == "linux" else {}
            observer = observers.Observer(**options)
            observer.start()
            self._observer = observer

        class Handler(events.FileSystemEventHandler):
            def on_any_event(self, event: events.FileSystemEvent) -> None:
                listener(os.fsdecode(event.dest_path or event.src_path), event.is_directory)

        # Triggers with the same folder share a watch.
        others = [each for each in self._heard.values() if (each.folder, each.is_deep) == (folder, is_deep)]
        if others and not (self._is_alive(others[0].watch) and others[0].identity == identity):
            self._observer.unschedule(others[0].watch)
        handler = Handler()
        kinds = [events.FileClosedEvent, events.FileMovedEvent, events.DirCreatedEvent, events.DirMovedEvent]
        watch = self._observer.schedule(handler, folder, recursive=is_deep, event_filter=kinds)
        for each in others:
            self._observer.add_handler_for_watch(each.handler, watch)
        self._heard[listener] = _Heard(folder, is_deep, identity, watch, handler)

    def _is_alive(self, watch: Any) -> bool:
        return any(emitter.watch == watch and emitter.is_alive() for emitter in self._observer.emitters)

    def _forget(self, listener: Listener) -> None:
        heard = self._heard.pop(listener, None)
        if heard is None:
            return
        # It may be gone with its folder.
        with contextlib.suppress(KeyError):
            if any(each.watch == heard.watch for each in self._heard.values()):
                self._observer.remove_handler_for_watch(heard.handler, heard.watch)
            else:
                self._observer.unschedule(heard.watch)
