"""One expander that is under way, and what its driver needs of the run around it."""

from __future__ import annotations

from typing import Any, Protocol

from pipelite.clock import CLOCK
from pipelite.define import Ended, Expander, Logged, Node, Output
from pipelite.execute.earlier_growth import Replay
from pipelite.execute.state import NodeRun
from pipelite.records import CodeFingerprint, Failure, Status


class Host(Protocol):
    """What growing needs of the run around it."""

    def arrive(self, state: NodeRun) -> None:
        """A node has nothing left to wait for."""

    def add(self, states: list[NodeRun], codes: list[CodeFingerprint]) -> None:
        """Nodes were added, with code that the run has not seen yet."""

    def settle(self, state: NodeRun) -> None:
        """A node that only stands for others has done its part."""

    def skip(self, state: NodeRun, reason: str) -> None:
        """A node will not run, and nothing that needs its output."""

    def fail(self, state: NodeRun, failure: Failure) -> None:
        """A node failed without having been sent to a slot."""

    def begin(self, state: NodeRun) -> None:
        """An expander with a step run of its own has started."""

    def complete(self, state: NodeRun, value: Any, duration_s: float) -> None:
        """It has returned, and all that its output holds is there."""

    def stop_step(self, state: NodeRun, reason: str) -> None:
        """A node is not wanted any more."""

    def keep(self, state: NodeRun, status: Status) -> None:
        """A node stays as it had ended before the run was resumed, and so does its record."""

    def record(self, state: NodeRun, kind: str, value: Any) -> None:
        """Something that a resume has to replay."""

    def note_outputs(self) -> None:
        """The outputs of the pipeline are known better."""

    def logged_by(self, state: NodeRun) -> list[tuple[str, Any, int | None]]:
        """Numbers and texts that the step logged whose result a node reuses."""


class Expansion:
    """One expander that is under way."""

    def __init__(self, state: NodeRun, step: Expander) -> None:
        self.state = state
        self.step = step
        self.body = step.expand(state.node.inputs)
        self.started = CLOCK.monotonic()
        #: Steps that it listens to and whose end it has not been told, by position.
        self.listening: dict[int, Output] = {}
        #: Last values that these logged.
        self.metrics: dict[int, dict[str, Any]] = {}
        #: Steps whose end it has been told: each is told once.
        self.told: set[int] = set()
        self.made: list[Node] = []
        #: Name, value and step number of all that it was told in a replay that steps had logged, by position.
        self.heard: dict[int, list[tuple[str, Any, int | None]]] = {}
        #: Its way through what it did before the run was resumed; None once it goes on from there.
        self.replay: Replay | None = None
        #: Whether it was told already that nothing is under way any more.
        self.was_told = False
        self.has_returned = False
        self.returned: Any = None
        #: Steps that have to end before its output is there.
        self.waits_for: set[int] = set()

    def hear_logged(self, position: int, name: str, value: Any, step: int | None) -> Logged:
        """The event that a step logged something; the value is also told when the step ends."""
        self.metrics.setdefault(position, {})[name] = value
        return Logged(handle=self.listening[position], name=name, value=value, step=step)

    def hear_end(self, position: int, status: Status, error: str | None, duration_s: float) -> Ended:
        """The event that a step ended; it is not listened to any more."""
        self.told.add(position)
        return Ended(
            handle=self.listening.pop(position),
            status=status,
            error=error,
            metrics=self.metrics.pop(position, {}),
            duration_s=duration_s,
        )
