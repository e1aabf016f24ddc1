"""Containers: the engine that runs them, its images, and a process in one, as a worker sees it."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from pipelite.clock import CLOCK
from pipelite.errors import EnvironmentFailed
from pipelite.execute.badges import VARIABLE as BADGE_VARIABLE
from pipelite.execute.badges import find_children, forget_container, note_container
from pipelite.execute.threads import CORES_VARIABLE, STEP_SLOTS_VARIABLE, THREAD_VARIABLES

#: The container engine, by its name on the PATH or its path, where it is not to be the first that works.
ENGINE_VARIABLE = "PIPELITE_CONTAINER_ENGINE"
#: Where a container finds this library and what that needs.
LIBRARY = "/pipelite-library"

_ENGINES = ("docker", "podman")
#: Seconds that an engine has to say whether it works.
_ANSWER_S = 30.0
#: Seconds that what podman leaves behind a container has to end.
_HELPERS_S = 5.0
#: Lines of the engine's that an error shows.
_SHOWN_LINES = 10
#: What of the variables around a container goes into it, besides those of its environment.
_PASSED = frozenset({*THREAD_VARIABLES, CORES_VARIABLE, "PYTHONUNBUFFERED"})


@attrs.frozen(kw_only=True)
class Engine:
    """A program that runs containers as `docker` does."""

    path: str
    is_podman: bool

    def image_id(self, image: str) -> str:
        """The id of an image, which tells its content; one that is not there is pulled.

        Raises
        ------
        EnvironmentFailed
            If it cannot be had; gives the engine's reason.
        """
        code, said = self.run("image", "inspect", "--format", "{{.Id}}", image)
        if code:
            code, said = self.run("pull", "--quiet", image)
            if code == 0:
                code, said = self.run("image", "inspect", "--format", "{{.Id}}", image)
        if code:
            raise EnvironmentFailed(f"the image {image!r} cannot be had; {self.name} said:\n{said}")
        return said.strip().removeprefix("sha256:")

    def probe(self, image: str, program: str, *arguments: str) -> str | None:
        """What a program of an image prints; None if it fails, or is not there."""
        code, said = self.run("run", "--rm", "--network", "none", "--entrypoint", program, image, *arguments)
        return None if code else said

    def run(self, *words: str, timeout_s: float | None = None) -> tuple[int, str]:
        """Exit code of a command, and what it printed: its output, or the last lines of what went wrong."""
        done = subprocess.run(
            [self.path, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            return done.returncode, "\n".join((done.stderr or done.stdout).strip().splitlines()[-_SHOWN_LINES:])
        return 0, done.stdout

    @property
    def name(self) -> str:
        return os.path.basename(self.path)


def find_engine() -> Engine:
    """The container engine of this machine: docker, else podman, whichever works.

    Raises
    ------
    EnvironmentFailed
        If none does; says what each said.
    """
    return _find_engine(os.environ.get(ENGINE_VARIABLE, ""))


@functools.cache
def _find_engine(wanted: str) -> Engine:
    problems = []
    for name in [wanted] if wanted else _ENGINES:
        path = shutil.which(name)
        if path is None:
            problems.append(f"there is no program {name!r}")
            continue
        engine = Engine(path=path, is_podman=False)
        try:
            # Of a docker without its daemon there is a version, but no list.
            code, said = engine.run("ps", "--quiet", timeout_s=_ANSWER_S)
        except (OSError, subprocess.TimeoutExpired) as exc:
            code, said = 1, str(exc)
        if code == 0:
            return attrs.evolve(engine, is_podman="podman" in engine.run("--version")[1])
        problems.append(f"{name} does not work: {said}")
    raise EnvironmentFailed(
        f"an image needs docker or podman, and here {'; '.join(problems)}; start or install one, or name one in the "
        f"environment variable {ENGINE_VARIABLE}"
    )


@attrs.frozen(kw_only=True)
class Container:
    """What processes of one environment run in: each in a container of its own."""

    engine: Engine
    #: Id of the image.
    image: str
    has_network: bool
    #: This library and what it needs, by name, to where they are; nothing where they do not fit the image's Python.
    library: tuple[tuple[str, str], ...]
    #: Why not.
    misfit: str = ""

    def start(
        self,
        command: Sequence[str],
        *,
        folder: str,
        variables: Mapping[str, str],
        own: Iterable[str],
        writes: Iterable[str],
        reads: Iterable[str],
        **streams: Any,
    ) -> ContainerProcess:
        """Start a command in a container that sees the folder it runs in, and what it reads and writes, at their paths.

        `own` are names of variables that the container has besides those by which a step finds its run.
        """
        program, *arguments = command
        name = f"pipelite-{os.urandom(6).hex()}"
        passed = sorted({*own, *(each for each in variables if each.startswith("PIPELITE_") or each in _PASSED)})
        words = [self.engine.path, "run", "--rm", "--interactive", "--name", name, "--entrypoint", program]
        words += ["--workdir", folder, "--cpus", variables.get(STEP_SLOTS_VARIABLE) or "1"]
        # Where SELinux is on, it would keep the container from what is mounted.
        words += ["--security-opt", "label=disable", "--env", "HOME=/tmp"]
        words += [] if self.has_network else ["--network", "none"]
        words += ["--user", f"{os.getuid()}:{os.getgid()}"]
        if self.engine.is_podman and os.getuid():
            words += ["--userns", "keep-id"]
        for variable in passed:
            # Their values, which may be secret, do not stand in a command that everybody can list.
            words += ["--env", variable]
        for target, (source, mode) in sorted(self._mounts(folder, writes, reads).items()):
            words += ["--mount", f"type=bind,source={source},target={target}{mode}"]
        return ContainerProcess(self.engine, name, [*words, self.image, *arguments], env=variables, **streams)

    def _mounts(self, folder: str, writes: Iterable[str], reads: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Where in the container what is seen, and whether it may be written to."""
        found = {f"{LIBRARY}/{name}": (path, ",readonly") for name, path in self.library}
        found.update({path: (path, ",readonly") for path in reads})
        found.update({path: (path, "") for path in _outermost((folder, *writes))})
        return {target: each for target, each in found.items() if target != os.sep and os.path.exists(each[0])}


class ContainerProcess(subprocess.Popen[bytes]):
    """The engine's process that stands for a container, which ends with the worker that waits for it."""

    def __init__(self, engine: Engine, name: str, command: Sequence[str], **options: Any) -> None:
        self._engine = engine
        self._children = find_children(os.getpid())
        # By the kernel's means nobody reaches a container of a daemon's: who ends the worker is told its name.
        self._note = note_container(options["env"].get(BADGE_VARIABLE, ""), engine.path, name)
        try:
            super().__init__(command, **options)
        except BaseException:
            forget_container(self._note)
            raise

    def wait(self, timeout: float | None = None) -> int:
        """Exit code of the command, or the signal that ended it as a negative number."""
        code = super().wait(timeout)
        forget_container(self._note)
        if self._engine.is_podman:
            # Its monitor of the container is about to end; nobody is to take it for something that the step left.
            until = CLOCK.monotonic() + _HELPERS_S
            while find_children(os.getpid()) - self._children - {self.pid} and CLOCK.monotonic() < until:
                CLOCK.sleep(0.01)
        return 128 - code if 128 < code < 192 else code


def _outermost(paths: Iterable[str]) -> list[str]:
    """Those that do not lie below another: between two mounts no file can be renamed."""
    kept: list[str] = []
    for path in sorted(set(paths) - {os.sep}):
        if not any(path.startswith(f"{each}{os.sep}") for each in kept):
            kept.append(path)
    return kept
