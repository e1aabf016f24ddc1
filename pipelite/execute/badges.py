"""Every worker and all that it starts wear a badge: a word in their environment, which stays when a parent is gone.

Also the script of the watcher, a small process that ends a coordinator's workers when the coordinator dies. It is started
by the path of this file, without site-packages, so that it costs 10 ms: only the standard library is imported here.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterable

#: The environment variable; holds one badge for each worker around a process, the outermost first.
VARIABLE = "PIPELITE_WORKER"
#: Between two looks at what is still there; SIGKILL needs an instant.
_LOOK_S = 0.005
#: Between two looks at whether the parent is there, where the system cannot tell of its end.
_PARENT_POLL_S = 0.2

_OWNER_BYTES = 8
#: Seconds that a container engine has to end a container.
_ENGINE_S = 10.0


def make_owner() -> str:
    """What the badges of all workers of one coordinating process begin with."""
    return os.urandom(_OWNER_BYTES).hex() + "."


def make_badge(owner: str, number: int) -> str:
    """The badge of one worker; the end mark keeps the first apart from the eleventh."""
    return f"{owner}{number};"


def find_wearers(badge: str) -> set[int]:
    """Processes that wear a badge, and all descendants of these, dead ones left out."""
    word = badge.encode()
    parents, wearers = _look(word)
    while True:
        born = {process for process, parent in parents.items() if parent in wearers} - wearers
        if not born:
            return wearers
        wearers |= born


def find_children(process: int) -> set[int]:
    """Living children of a process."""
    parents, _ = _look(VARIABLE.encode())
    return {child for child, parent in parents.items() if parent == process}


def kill(processes: Iterable[int], number: int = signal.SIGKILL) -> None:
    """Send a signal to processes of which some may have gone."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)


def end_wearers(badge: str, *, spare: Iterable[int] = (), timeout_s: float) -> set[int]:
    """Kill processes that wear a badge until none is left, also of those that are started meanwhile.

    Gives those that were still there when the time was over.
    """
    spared = set(spare)
    until = time.monotonic() + timeout_s
    while True:
        found = find_wearers(badge) - spared
        if not found or time.monotonic() >= until:
            return found
        kill(found)
        time.sleep(_LOOK_S)


def note_container(worn: str, engine: str, name: str) -> str | None:
    """Leave word of a container that a process with these badges starts; it may run as a child of somebody else."""
    if not worn:
        return None
    folder = _notes_folder()
    os.makedirs(folder, mode=0o700, exist_ok=True)
    _check_own(folder)
    path = f"{folder}/{worn}{name}"
    with open(path, "w") as file:
        file.write(f"{engine}\n{name}")
    return path


def forget_container(note: str | None) -> None:
    """It has ended."""
    if note is not None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(note)


def end_containers(badge: str, *, is_last: bool) -> None:
    """Have their engines end the containers that were started by processes with a badge, and are still there.

    Done before those processes are killed, since podman needs its own to end one; and once more after that, for what was
    only being started then.
    """
    folder = _notes_folder()
    try:
        _check_own(folder)
        notes = [f"{folder}/{note}" for note in os.listdir(folder) if badge in note]
    except OSError:
        return
    for note in notes:
        import subprocess  # Late: hardly anybody has containers.

        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            with open(note) as file:
                engine, name = file.read().split("\n")
            quiet = subprocess.DEVNULL
            # To remove one asks it first to end by itself, which takes its time.
            for command in (["kill"], ["rm", "--force"]):
                whole = [engine, *command, name]
                subprocess.run(whole, stdin=quiet, stdout=quiet, stderr=quiet, timeout=_ENGINE_S, check=False)
        if is_last:
            forget_container(note)


def _notes_folder() -> str:
    return f"{os.environ.get('TMPDIR') or '/tmp'}/pipelite-containers-{os.getuid()}"  # noqa: S108 - looked at before use


def _check_own(folder: str) -> None:
    if os.stat(folder).st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user, who could have programs run there")


def _look(word: bytes) -> tuple[dict[int, int], set[int]]:
    """Parent of each living process, and those that have a word in their environment."""
    return _look_linux(word) if os.path.exists("/proc/self/environ") else _look_elsewhere(word)


def _look_linux(word: bytes) -> tuple[dict[int, int], set[int]]:
    parents, wearers = {}, set()
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        process = int(name)
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                # The command stands in brackets and may hold any character.
                state, parent = file.read().rpartition(b")")[2].split(None, 2)[:2]
            if state in (b"Z", b"X"):
                continue
            parents[process] = int(parent)
            with open(f"/proc/{name}/environ", "rb") as file:
                if word in file.read():
                    wearers.add(process)
        except OSError:
            # It has gone, or is another user's: one that changed its user is found by its parent.
            continue
    return parents, wearers


def _look_elsewhere(word: bytes) -> tuple[dict[int, int], set[int]]:
    import psutil

    parents, wearers = {}, set()
    for process in psutil.process_iter(["ppid", "status", "environ"]):
        known = process.info
        if known["status"] in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            continue
        parents[process.pid] = known["ppid"] or 0
        if word in (known["environ"] or {}).get(VARIABLE, "").encode():
            wearers.add(process.pid)
    return parents, wearers


def watch(parent: int, owner: str) -> None:
    """Wait until the parent has gone, however it went, and end the workers it leaves, with all that they started."""
    try:
        handle = os.pidfd_open(parent)
    except (AttributeError, OSError):  # an older kernel, or it has gone already
        while os.getppid() == parent:
            time.sleep(_PARENT_POLL_S)
    else:
        # Its number could be another's by now: then it is not the parent of this process.
        if os.getppid() == parent:
            select.select([handle], [], [])
    end_containers(owner, is_last=False)
    end_wearers(owner, timeout_s=10.0)
    end_containers(owner, is_last=True)


if __name__ == "__main__":
    watch(int(sys.argv[1]), sys.argv[2])
