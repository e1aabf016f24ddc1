"""Options of a step, checked when it is defined."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import attrs

from pipelite.define.wording import did_you_mean, followed_by, listed, shortened
from pipelite.errors import DefinitionError


@runtime_checkable
class EnvironmentSpec(Protocol):
    """The packages that a step runs with, as far as what follows needs to know."""

    def identity(self) -> str:
        """What a step's key has for its environment."""

    def takes_by_value(self, mode: str) -> bool:
        """Whether functions run in it that travel by value; `mode` is the workspace's setting."""

    def prepare(self, root: Path, mode: str) -> Any:
        """The interpreter that serves, made below the workspace if need be, and in use until it is released."""


@attrs.frozen(kw_only=True)
class StepOptions:
    """How a step is run and reused."""

    #: None: reuse unless it returned only None. True: always. False: never. A timedelta: while the result is younger.
    cache: bool | timedelta | None = None
    #: Counts as part of the step's code.
    version: str | None = None
    #: Files and folders whose contents count as part of the step's code.
    depends_on: tuple[Path, ...] = ()
    #: Installed packages whose source counts as the user's own.
    track: tuple[str, ...] = ()
    #: How often a failed step is run again.
    retries: int = 0
    #: Wait before the first retry.
    retry_delay_s: float = 0.0
    #: Each further wait is so many times as long.
    retry_backoff: float = 2.0
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    #: For one attempt; None is no limit.
    timeout_s: float | None = None
    #: Slots that one attempt takes.
    cpus: int = 1
    #: Name of a compute target; None is the run's own.
    compute: str | None = None
    environment: EnvironmentSpec | None = None
    #: Compute in any case, and store the new result.
    regenerate_outputs: bool = False


def change_options(options: StepOptions, changes: Mapping[str, Any], *, where: str) -> StepOptions:
    """A copy with options as the user writes them: times in seconds or as timedelta, one name for a tuple of one.

    Raises
    ------
    DefinitionError
        Naming the option, what came and what it takes.
    """
    fields: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in _CHECKS:
            known = sorted({"name", "outputs", *_CHECKS})
            raise DefinitionError(
                followed_by(
                    f"{where} has no option {name!r}{did_you_mean(name, known)}", f"the options are {', '.join(known)}"
                )
            )
        field, check = _CHECKS[name]
        try:
            fields[field] = check(value)
        except _WrongOption as exc:
            raise DefinitionError(f"{where}: {name}={shortened(value)} is wrong; {name} takes {exc}") from None
    return attrs.evolve(options, **fields)


def check_name(name: Any, *, where: str) -> str:
    """A name that can stand in `inner/fit[0]` and on a command line."""
    if not isinstance(name, str):
        raise DefinitionError(f"{where}: name={shortened(name)} is wrong; name takes a text")
    if not name or name != name.strip() or not name.isprintable() or any(mark in name for mark in "/[]"):
        raise DefinitionError(
            f"{where}: name={name!r} is wrong; a name is not empty, has no spaces around it and none of the marks / [ ], "
            "which pipelite itself puts into the names of nodes"
        )
    return name


def check_outputs(outputs: Any, *, where: str) -> tuple[str, ...]:
    """Names of several outputs."""
    advice = 'outputs takes a tuple of names, for example outputs=("train", "test")'
    if isinstance(outputs, str):
        raise DefinitionError(f'{where}: outputs={outputs!r} is one text; for one name write outputs=("{outputs}",)')
    if not isinstance(outputs, (tuple, list)):
        raise DefinitionError(f"{where}: outputs={shortened(outputs)} is wrong; {advice}")
    wrong = [name for name in outputs if not (isinstance(name, str) and name.isidentifier())]
    if wrong:
        raise DefinitionError(
            f"{where}: {shortened(wrong[0])} in outputs is no name (letters, digits and _, not starting with a digit)"
        )
    twice = sorted({name for name in outputs if outputs.count(name) > 1})
    if twice:
        raise DefinitionError(
            f"{where}: outputs names {listed(twice)} more than once; each output needs a name of its own"
        )
    return tuple(outputs)


class _WrongOption(Exception):
    """What the option takes, in words."""


def _cache(value: Any) -> bool | timedelta | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, timedelta) and value >= timedelta(0):
        return value
    raise _WrongOption("True, False or a timedelta: how old a result may be, such as timedelta(hours=1)")


def _version(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise _WrongOption("a text")


def _paths(value: Any) -> tuple[Path, ...]:
    parts = (value,) if isinstance(value, (str, Path)) else value
    if not isinstance(parts, (tuple, list)) or not all(isinstance(part, (str, Path)) and str(part) for part in parts):
        raise _WrongOption("a path or a tuple of paths")
    return tuple(Path(part) for part in parts)


def _names(value: Any) -> tuple[str, ...]:
    parts = (value,) if isinstance(value, str) else value
    if not isinstance(parts, (tuple, list)) or not all(isinstance(part, str) and part for part in parts):
        raise _WrongOption("names of installed packages, as they are imported")
    return tuple(parts)


def _count(value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _WrongOption(f"a whole number of at least {least}")
    return value


def _number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _seconds(value: Any) -> float | None:
    return value.total_seconds() if isinstance(value, timedelta) else _number(value)


def _timeout(value: Any) -> float | None:
    if value is None:
        return None
    seconds = _seconds(value)
    if seconds is None or seconds <= 0:
        raise _WrongOption("seconds above 0 or a timedelta, or None for no limit")
    return seconds


def _delay(value: Any) -> float:
    seconds = _seconds(value)
    if seconds is None or seconds < 0:
        raise _WrongOption("seconds of at least 0 or a timedelta")
    return seconds


def _backoff(value: Any) -> float:
    factor = _number(value)
    if factor is None or factor < 1:
        raise _WrongOption("a number of at least 1, by which each further delay is longer")
    return factor


def _exceptions(value: Any) -> tuple[type[BaseException], ...]:
    parts: Any = (value,) if isinstance(value, type) else value
    if isinstance(parts, Iterable) and not isinstance(parts, str):
        kinds = tuple(parts)
        if kinds and all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
            return kinds
    raise _WrongOption("an exception class or a tuple of them, for example retry_on=(ConnectionError, TimeoutError)")


def _target(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    raise _WrongOption("the name of a compute target")


def _environment(value: Any) -> EnvironmentSpec | None:
    if value is None or isinstance(value, EnvironmentSpec):
        return value
    raise _WrongOption('an Environment, for example pipelite.steps.Environment(packages=["pandas==2.2.3"])')


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _WrongOption("True or False")
    return value


#: What the user writes, to the field that keeps it and the check that makes it.
_CHECKS: dict[str, tuple[str, Any]] = {
    "cache": ("cache", _cache),
    "version": ("version", _version),
    "depends_on": ("depends_on", _paths),
    "track": ("track", _names),
    "retries": ("retries", lambda value: _count(value, 0)),
    "retry_delay": ("retry_delay_s", _delay),
    "retry_backoff": ("retry_backoff", _backoff),
    "retry_on": ("retry_on", _exceptions),
    "timeout": ("timeout_s", _timeout),
    "cpus": ("cpus", lambda value: _count(value, 1)),
    "compute": ("compute", _target),
    "environment": ("environment", _environment),
    "regenerate_outputs": ("regenerate_outputs", _flag),
}
