"""A run that goes on drives its expanders through what they did and were told before, in the same order.

Each expander has a log of its own. While it is in it, its body is told what the log says and nothing else, the steps that
it makes get the places that they had, and those of them that were not done wait. So it comes to where it was without
anything being computed. What happens meanwhile is told afterwards.

The log of an expander is left before its end where a step is not any more what it was then (its output is gone, its
inputs changed) or the body does not do the same again. What it did after that is cut off, and the run goes on from
there; step runs still count by their name and key.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from pipelite.define import Ended, Logged
from pipelite.execute.earlier_growth import EarlierGrowth, News, Replay, without
from pipelite.execute.expansion import Expansion, Host
from pipelite.execute.state import NodeRun
from pipelite.plan import Decision
from pipelite.records import Status


class Replays:
    """The expanders of a run that are on their way through their logs.

    Parameters
    ----------
    pending : deque
        Takes what is to be told to expanders after their replay.
    advance : callable
        Lets the body of an expander go on with an answer, or with the answer to the request that it is `parked` at.
    """

    def __init__(
        self,
        host: Host,
        earlier: EarlierGrowth,
        states: Sequence[NodeRun],
        pending: deque[tuple[Expansion, News]],
        advance: Callable[..., None],
    ) -> None:
        self._host = host
        self._earlier = earlier
        self._states = states
        self._pending = pending
        self._advance = advance
        self._under_way: list[Expansion] = []

    def start(self, expansion: Expansion) -> None:
        """An expander begins: if it has a log, it is driven through it."""
        expansion.replay = self._earlier.start(expansion.state.node.position)
        if expansion.replay is not None:
            self._under_way.append(expansion)

    def follow(self) -> bool:
        """Everything that was done before and can be known is known: go on with the replays as far as that goes.

        Where it goes no further, the run goes on from there. False if there was nothing to do.
        """
        if not self._under_way:
            return False
        if any(self._follow_one(expansion) for expansion in list(self._under_way)):
            return True
        for expansion in list(self._under_way):
            parked = None if expansion.replay is None else expansion.replay.parked
            self.leave(expansion)
            if parked is not None:
                self._advance(expansion, None, parked=parked)
        return True

    def _follow_one(self, expansion: Expansion) -> bool:
        """Tell an expander what it was told; whether it was anything."""
        has_moved = False
        while (replay := expansion.replay) is not None:
            if replay.parked is not None:
                parked, replay.parked = replay.parked, None
                self._advance(expansion, None, parked=parked)
                if replay.parked is not None:
                    break
            else:
                event = self._find_event(expansion, replay)
                if event is None:
                    break
                replay.n_done += 1
                self._advance(expansion, event)
            has_moved = True
        return has_moved

    def _find_event(self, expansion: Expansion, replay: Replay) -> Ended | Logged | None:
        """What an expander was told next, if the step that it was about is as it was then."""
        entry, earlier = replay.next, self._earlier
        if entry is None or entry.kind not in ("logged", "ended") or entry.value[0] not in expansion.listening:
            return None
        position = entry.value[0]
        state = self._states[position]
        if entry.kind == "logged":
            if not (state.is_final or position in replay.held) or not earlier.is_same(state):
                return None
            expansion.heard.setdefault(position, []).append(tuple(entry.value[1:]))
            return expansion.hear_logged(*entry.value)
        status = Status(entry.value[1])
        if status in (Status.FAILED, Status.CANCELED) and position in replay.held and not state.is_final:
            if not earlier.was(state, status):
                return None
            self._host.keep(state, status)
        if state.status is not status:
            return None
        return expansion.hear_end(position, status, *entry.value[2:])

    def leave(self, expansion: Expansion) -> None:
        """From here on an expander is told what happens now."""
        replay, expansion.replay = expansion.replay, None
        if replay is None:
            return
        self._under_way.remove(expansion)
        if replay.next is not None:
            self._host.record(expansion.state, "cut", replay.n_done)
            if replay.next.kind != "failed":
                earlier = self._earlier.describe(replay.next)
                reason = f"not as before the run was resumed, when {earlier} at this point"
                expansion.state.decision = Decision(result=None, reason=reason)
        news: list[News] = []
        for state in replay.held.values():
            if not state.is_final:
                news += self._unheard(expansion, state)
                self._host.arrive(state)
        self._pending.extendleft((expansion, each) for each in reversed([*news, *replay.waiting]))

    def _unheard(self, expansion: Expansion, state: NodeRun) -> list[News]:
        """What a step had logged without its expander being told."""
        n_logged, heard = self._earlier.n_logged(state), expansion.heard.get(state.node.position, ())
        if n_logged <= len(heard) or not self._earlier.is_same(state):
            return []
        return [News(state, logged) for logged in without(self._host.logged_by(state)[:n_logged], heard)]
