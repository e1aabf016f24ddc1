"""Which trace records the step calls of this thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pipelite.define.graph import Node
    from pipelite.define.step import Step


class Recorder(Protocol):
    """What a step tells about its calls while a pipeline's body runs."""

    #: True once a node waits for one that was made later than itself.
    has_later: bool

    def add(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], caller: FrameType) -> Any: ...

    def check_own(self, node: Node) -> None: ...

    def add_map(
        self, step: Step[..., Any], rows: Sequence[tuple[Any, ...]], shared: dict[str, Any], caller: FrameType
    ) -> Any: ...

    def add_growing_map(
        self,
        step: Step[..., Any],
        lists: tuple[Any, ...],
        shared: dict[str, Any],
        caller: FrameType,
        first: tuple[Any, ...] = (),
    ) -> Any: ...


class _Active(threading.local):
    trace: Recorder | None = None


#: `active.trace` is None wherever no pipeline's body is running: there a step is its function.
active = _Active()
