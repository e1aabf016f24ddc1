"""What a step call returns in a pipeline's body: a name for a value that does not exist yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pipelite.define.context import active
from pipelite.define.graph import Node
from pipelite.define.mistakes import Refusing, described, unpacked_into
from pipelite.define.places import get_frame
from pipelite.define.wording import did_you_mean, followed_by, with_article
from pipelite.errors import TracingError

#: Types of values that hold nothing: they need no look inside.
PLAIN = frozenset({str, int, float, bool, bytes, complex, type(None)})

#: What can stand in `handle[...]`: it travels with the graph and is looked up when the value is there.
_KEYS = (str, int, float, bool, bytes, type(None))


class Output(Refusing):
    """An output of a step that has not run yet: pass it to steps, unpack it, index it, order with `.after`."""

    __slots__ = ("node", "output", "path")

    node: Node
    #: Name of the output; None for all outputs of a step with several, together.
    output: str | None
    #: Look-ups inside the value, from the outside in: `handle["a"][0]` has ("a", 0).
    path: tuple[Any, ...]

    def __init__(self, node: Node, output: str | None, path: tuple[Any, ...] = ()) -> None:
        self.node = node
        self.output = output
        self.path = path

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Where it comes from."""
        return (self.node,)

    def after(self, *others: Output | ListOutput | Iterable[Any]) -> Output:
        """Start this step only when the others have ended; they give it nothing and do not count in its key."""
        _wait_for([self.node], others)
        return self

    def __iter__(self) -> Iterator[Output]:
        names = self._names()
        wanted = unpacked_into(get_frame(1))
        if wanted is not None and wanted != len(names):
            self._refuse_unpacking(names, wanted)
        if not names:
            self._refuse(
                "looped over",
                "To call a step for each element, write step.map(handle); "
                'to unpack several outputs, name them: @step(outputs=("a", "b")).',
            )
        return iter([Output(self.node, name) for name in names])

    def __getitem__(self, key: Any) -> Output:
        names = self._names()
        if not names:
            if isinstance(key, str) and key == self.output == self.node.step.whole_output and self._is_named():
                # A step with one named output: its call stands for that, and may be asked for it by name.
                return self
            if self.node.step.is_list and not self.path:
                self._check_list_key(key)
            return Output(self.node, self.output, (*self.path, self._key(key)))
        if isinstance(key, str):
            if key not in names:
                message = f"{self._step()} has no output {key!r}{did_you_mean(key, names)}"
                raise TracingError(followed_by(message, f"it has {_all(names)}"))
            return Output(self.node, key)
        position = self._key(key)
        if not isinstance(position, int) or not -len(names) <= position < len(names):
            raise TracingError(f"{self._step()} has no output [{key!r}]; it has {_all(names)}")
        return Output(self.node, names[position])

    def __repr__(self) -> str:
        output = f".{self.output}" if self.output in self.node.step.outputs else ""
        return f"<output {self.node.name}{output}{''.join(f'[{key!r}]' for key in self.path)}>"

    def _names(self) -> tuple[str, ...]:
        """Names that it can be unpacked into; none where it is a single value."""
        return self.node.step.outputs if self.output is None and not self.path else ()

    def _is_named(self) -> bool:
        return self.output in self.node.step.outputs and not self.path

    def _check_list_key(self, key: Any) -> None:
        if isinstance(key, str) and key not in self.node.step.element_outputs:
            raise TracingError(
                f"{self._what()} is indexed with {key!r}; it is a list as long as what was mapped: take an element by "
                f"handle[0], or {key!r} inside a step that takes the list as an argument"
            )
        if isinstance(key, slice):
            raise TracingError(f"{self._what()} is cut by a slice; cut it inside a step that takes it as an argument")

    def _key(self, key: Any) -> Any:
        if isinstance(key, Refusing):
            raise TracingError(f"{self._what()} is indexed with {described(key)}; pass both to a step and index there")
        if isinstance(key, _KEYS) or (isinstance(key, tuple) and all(isinstance(part, _KEYS) for part in key)):
            return key
        if hasattr(type(key), "__index__"):
            return key.__index__()
        raise TracingError(
            f"{self._what()} is indexed with {with_article(type(key).__name__)}; a handle takes texts and numbers, "
            "anything else goes inside a step that takes the whole as an argument"
        )

    def _refuse_unpacking(self, names: tuple[str, ...], wanted: int) -> None:
        into = "1 name" if wanted == 1 else f"{wanted} names"
        if names:
            raise TracingError(f"{self._step()} has {_all(names)}, but its call is unpacked into {into}")
        if self.path or self.output in self.node.step.outputs:
            raise TracingError(f"{self._what()} is unpacked into {into}; take the parts by handle[0], handle[1], ...")
        example = ", ".join(f'"{letter}"' for letter in "abcdefgh"[: min(wanted, 8)])
        raise TracingError(
            f"{self._step()} has one output, but its call is unpacked into {into}; "
            f"name its outputs: @step(outputs=({example}{',' if wanted == 1 else ''}))"
        )

    def _step(self) -> str:
        return f"step {self.node.name!r}{_at(self.node.place)}"

    def _what(self) -> str:
        if self.node.step.is_list and not self.path:
            return f"the list of outputs of {self.node.name!r}{_at(self.node.place)}"
        named = f"output {self.output!r}" if self.output in self.node.step.outputs else "the output"
        part = "".join(f"[{key!r}]" for key in self.path)
        return f"{part + ' of ' if part else ''}{named} of {self._step()}"


class Item(Output):
    """An element of an output that is there already, with its value: what a map gives to its calls."""

    __slots__ = ("value",)

    value: Any

    def __init__(self, node: Node, output: str | None, path: tuple[Any, ...], value: Any) -> None:
        self.node = node
        self.output = output
        self.path = path
        self.value = value


class ListOutput(Refusing):
    """The list of outputs that `step.map(...)` gives: as long as what was mapped, and a list for the steps that take it."""

    __slots__ = ("elements",)

    elements: tuple[Output, ...]

    def __init__(self, elements: Iterable[Output]) -> None:
        self.elements = tuple(elements)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Where its elements come from."""
        return tuple(element.node for element in self.elements)

    def after(self, *others: Output | ListOutput | Iterable[Any]) -> ListOutput:
        """Start each of these steps only when the others have ended."""
        _wait_for([element.node for element in self.elements], others)
        return self

    def __len__(self) -> int:
        return len(self.elements)

    def __iter__(self) -> Iterator[Output]:
        return iter(self.elements)

    def __reversed__(self) -> Iterator[Output]:
        return reversed(self.elements)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return ListOutput(self.elements[key])
        if isinstance(key, str):
            raise TracingError(
                f"{self._what()} is indexed with {key!r}; it is a list with one handle per call: "
                f"[each[{key!r}] for each in handles]"
            )
        return self.elements[key]

    def __repr__(self) -> str:
        return f"<list of {len(self.elements)} outputs{f' of {self._name()}' if self.elements else ''}>"

    def _name(self) -> str:
        """What its nodes have before their [0], [1], ..."""
        return self.elements[0].node.name.rpartition("[")[0]

    def _what(self) -> str:
        if not self.elements:
            return "the empty list of outputs of a map"
        return f"the list of outputs of {self._name()!r}{_at(self.elements[0].node.place)}"


def iter_handles(value: Any) -> Iterator[Output]:
    """All handles in nested lists, tuples and dicts, in order."""
    if isinstance(value, Output):
        yield value
    elif isinstance(value, ListOutput):
        yield from value.elements
    elif isinstance(value, (list, tuple)):
        if not PLAIN.issuperset(map(type, value)):
            for item in value:
                yield from iter_handles(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from iter_handles(item)


def replace_handles(value: Any, replace: Callable[[Output], Any]) -> Any:
    """A copy of nested lists, tuples and dicts with something else for every handle."""
    if isinstance(value, Output):
        return replace(value)
    if isinstance(value, ListOutput):
        return [replace(element) for element in value.elements]
    return rebuild(value, lambda item: replace_handles(item, replace))


def rebuild(value: Any, change: Callable[[Any], Any]) -> Any:
    """A list, tuple or dict of the same type with changed items; anything else as it is."""
    if isinstance(value, tuple):
        items = [change(item) for item in value]
        # A named tuple takes its items one by one.
        return type(value)._make(items) if hasattr(value, "_make") else type(value)(items)
    if isinstance(value, list):
        return [change(item) for item in value] if type(value) is list else type(value)(change(item) for item in value)
    if type(value) is dict:
        return {key: change(item) for key, item in value.items()}
    if isinstance(value, dict):
        # A subclass may keep more than its items, such as the factory of a defaultdict.
        clone = value.copy()
        for key, item in value.items():
            clone[key] = change(item)
        return clone
    return value


def _wait_for(nodes: list[Node], others: Iterable[Any]) -> None:
    trace = active.trace
    if trace is None:
        raise TracingError(".after orders steps in a pipeline's body, and none is running here")
    before = list(dict.fromkeys(node for other in others for node in _nodes(other)))
    for node in (*nodes, *before):
        trace.check_own(node)
    for node in nodes:
        known = {*node.upstream, *node.after}
        for other in before:
            if other in known:
                continue
            if other.position >= node.position:
                trace.has_later = True
            if trace.has_later and _depends(other, node):
                which = "itself" if other is node else f"step {other.name!r}{_at(other.place)}, which waits for it"
                raise TracingError(
                    f"step {node.name!r}{_at(node.place)} cannot start after {which}; take that .after(...) away"
                )
            node.after.append(other)


def _nodes(other: Any) -> Iterator[Node]:
    if isinstance(other, Output):
        yield other.node
    elif isinstance(other, (ListOutput, list, tuple)):
        for item in other:
            yield from _nodes(item)
    else:
        name = getattr(other, "__name__", None)
        call = f"; did you mean {name}(...)?" if name and callable(other) else ""
        raise TracingError(f".after(...) takes what step calls return, not {with_article(type(other).__name__)}{call}")


def _depends(node: Node, on: Node) -> bool:
    """Whether a node waits for another, directly or not."""
    seen = {node}
    waiting = [node]
    while waiting:
        each = waiting.pop()
        if each is on:
            return True
        found = {*each.iter_earlier()} - seen
        seen |= found
        waiting.extend(found)
    return False


def _at(place: str) -> str:
    return f" ({place})" if place else ""


def _all(names: tuple[str, ...]) -> str:
    return f"1 output ({names[0]})" if len(names) == 1 else f"{len(names)} outputs ({', '.join(names)})"
