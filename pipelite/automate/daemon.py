"""The life of a process that serves a workspace without a network: until it is told to end, and on good terms with systemd."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipelite.automate.bell import SignalBell
from pipelite.automate.dispatching import Dispatcher
from pipelite.automate.queue import Limits
from pipelite.automate.ticking import Ticker
from pipelite.automate.trouble import Trouble
from pipelite.automate.watching import Watcher
from pipelite.clock import CLOCK
from pipelite.store import Store, to_text

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Log:
    """A line for each event, as text or as JSON, on standard output."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def tell(self, event: str, details: dict[str, Any]) -> None:
        at = to_text(CLOCK.now())
        if self._as_json:
            line = json.dumps({"at": at, "event": event, **details}, default=str)
        else:
            shown = " ".join(f"{name}={shlex.quote(str(value))}" for name, value in details.items())
            line = f"{at} {event} {shown}".rstrip().replace("\n", "\\n")
        # Who reads the log may have gone, and its disk may be full: neither is a reason to end.
        with contextlib.suppress(OSError):
            os.write(sys.stdout.fileno(), f"{line}\n".encode())


class Systemd:
    """What a service tells its manager; nothing where there is none."""

    def __init__(self) -> None:
        # Not for the processes that this one starts.
        self._address = os.environ.pop("NOTIFY_SOCKET", None)
        interval_us = os.environ.pop("WATCHDOG_USEC", None)
        #: Seconds within which it expects a sign of life; None for never.
        self.watchdog_s = None if interval_us is None or self._address is None else int(interval_us) / 1e6

    def tell(self, state: str) -> None:
        if self._address is None:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.sendto(state.encode(), address)


def run_daemon(store: Store, limits: Limits | None, *, grace_s: float, as_json: bool) -> None:
    """Execute the queue and see to schedules and triggers until SIGTERM or SIGINT.

    SIGHUP reads time zones and schedules anew, and looks at all files that triggers watch.

    Parameters
    ----------
    grace_s : float
        Seconds that running steps have to finish when it ends; a second signal ends them at once.
    """
    log, systemd = Log(as_json=as_json), Systemd()
    trouble = Trouble(log.tell)
    dispatcher = Dispatcher(store, limits, trouble=trouble)
    ticker = Ticker(store, tell=log.tell, trouble=trouble)
    watcher = Watcher(store, tell=log.tell, trouble=trouble)
    with _signals() as next_signal:
        dispatcher.start()
        ticker.start()
        watcher.start()
        log.tell("started", {"workspace": store.path, "process": os.getpid()})
        systemd.tell("READY=1")
        while True:
            # Half of the time, as systemd recommends.
            number = next_signal(None if systemd.watchdog_s is None else systemd.watchdog_s / 2)
            if number is None:
                # A part that has died is a reason to be started anew.
                if ticker.is_alive and watcher.is_alive and dispatcher.is_alive:
                    systemd.tell("WATCHDOG=1")
            elif number == signal.SIGHUP:
                log.tell("reloaded", {})
                ticker.reload()
                watcher.reload()
            else:
                break
        log.tell("ending", {"signal": signal.Signals(number).name, "grace_s": grace_s})
        systemd.tell("STOPPING=1")
        ticker.stop()
        watcher.stop()
    # A second signal ends this process at once; its runners end by themselves.
    dispatcher.stop(grace_s=grace_s)
    log.tell("ended", {})


@contextlib.contextmanager
def _signals() -> Iterator[Callable[[float | None], int | None]]:
    """Gives what waits for the next signal, for so many seconds."""
    heard: deque[int] = deque()
    earlier = {number: signal.signal(number, lambda heard_number, _: heard.append(heard_number)) for number in _SIGNALS}
    try:
        with SignalBell() as bell:

            def wait(timeout_s: float | None) -> int | None:
                if not heard:
                    bell.wait(timeout_s)
                return heard.popleft() if heard else None

            yield wait
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


_UNIT = """\
# A service of your own account; save it as ~/.config/systemd/user/pipelite.service, and then:
#   systemctl --user daemon-reload
#   systemctl --user enable --now pipelite
#   loginctl enable-linger        (it runs also while you are not logged in)
[Unit]
Description=pipelite: runs, schedules and triggers of {workspace}
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=kill -HUP $MAINPID
Restart=on-failure
RestartSec=2
WatchdogSec=60
# Running steps have {grace_s:g} s to finish; what is left then is ended.
KillMode=mixed
TimeoutStopSec={stop_s:g}
OOMPolicy=continue

# Steps are your own code, and run with these limits too. They write below the workspace and in /tmp; add other places to
# ReadWritePaths.
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={workspace}
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
UMask=0077

[Install]
WantedBy=default.target
"""


def format_systemd_unit(workspace: Path, *, grace_s: float) -> str:
    """A unit for systemd that has a daemon serve a workspace, with no rights that it does not need."""
    command = [sys.executable, "-m", "pipelite", "daemon", "--workspace", str(workspace), "--grace", f"{grace_s:g}"]
    return _UNIT.format(
        workspace=_escape(str(workspace)),
        command=" ".join(_escape(word) for word in command),
        grace_s=grace_s,
        # The dispatcher takes some seconds more for runners that do not keep to it.
        stop_s=grace_s + 15,
    )


def _escape(text: str) -> str:
    """A word as units have it."""
    text = text.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if any(sign.isspace() for sign in text) else text
