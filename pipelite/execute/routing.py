"""Leads the steps of a run to their compute targets, where there is more than one."""

from __future__ import annotations

from collections.abc import Callable

from pipelite.execute.dispatch import Dispatcher, Lease
from pipelite.execute.state import NodeRun
from pipelite.execute.targets import Target, Targets


class RoutedQueue:
    """Looks like one queue, and is one for each target."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def append(self, state: NodeRun) -> None:
        self._router.of(state).queue.append(state)

    def appendleft(self, state: NodeRun) -> None:
        self._router.of(state).queue.appendleft(state)

    def remove(self, state: NodeRun) -> None:
        self._router.of(state).queue.remove(state)

    def clear(self) -> None:
        for dispatcher in self._router.dispatchers():
            dispatcher.queue.clear()

    def __contains__(self, state: NodeRun) -> bool:
        return state in self._router.of(state).queue

    def __len__(self) -> int:
        return sum([len(dispatcher.queue) for dispatcher in self._router.dispatchers()])


class Router:
    """What one `Dispatcher` would be to the coordinator, for any number of targets.

    Parameters
    ----------
    make : makes the dispatcher of a target
    wake : called, from any thread, when slots come free
    """

    def __init__(self, targets: Targets, make: Callable[[Target], Dispatcher], *, wake: Callable[[], None]) -> None:
        self._targets = targets
        self._make = make
        self._wake = wake
        self._by_name: dict[str | None, Dispatcher] = {}
        self._tickets: list[tuple[Target, int]] = []
        self._all: list[Dispatcher] = []
        #: Whether steps run in the coordinator's thread.
        self.is_inline = False
        self.queue = RoutedQueue(self)

    @property
    def leases(self) -> list[Lease]:
        return [lease for dispatcher in self._all for lease in dispatcher.leases]

    def dispatch(self) -> None:
        """Send as much as there is room for."""
        for dispatcher in self._all:
            dispatcher.dispatch()

    def release_idle(self) -> None:
        """Give back the slots that have nothing to do."""
        for dispatcher in self._all:
            dispatcher.release_idle()

    def find_wait(self) -> str | None:
        """What the run waits for, in words, if it has waited in line for a slot for a moment."""
        return next((wait for dispatcher in self._all if (wait := dispatcher.find_wait())), None)

    def running_count(self) -> int:
        return sum([dispatcher.running_count() for dispatcher in self._all])

    def send_singly(self, batch: list[NodeRun]) -> None:
        """Send each of these steps alone from now on."""
        self.of(batch[0]).send_singly(batch)

    def close(self) -> None:
        """The run is over."""
        self.release_idle()
        for target, ticket in self._tickets:
            target.forget(ticket)
            target.finish_run()
        for dispatcher in self._all:
            dispatcher.close()

    def dispatchers(self) -> list[Dispatcher]:
        return self._all

    def of(self, state: NodeRun) -> Dispatcher:
        """The dispatcher of a step's target."""
        name = state.node.step.options.compute
        dispatcher = self._by_name.get(name)
        if dispatcher is None:
            dispatcher = self._by_name[name] = self._open(self._targets.find(name))
        return dispatcher

    def _open(self, target: Target) -> Dispatcher:
        for dispatcher in self._all:
            if dispatcher.target is target:
                return dispatcher
        self._tickets.append((target, target.call_when_free(self._wake)))
        # One in the coordinator's thread comes last: it keeps the coordinator until its step is done.
        made = self._make(target)
        self._all = sorted([*self._all, made], key=lambda dispatcher: dispatcher.target.is_inline)
        self.is_inline = self.is_inline or target.is_inline
        return made
