"""A graph as the text of a mermaid flowchart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import attrs

from pipelite.define import Graph, Node, iter_handles
from pipelite.observe.figures import format_count
from pipelite.observe.groups import group_fan_outs
from pipelite.records import Status, StepRunRecord

#: A fan-out of more steps than this is drawn as one box.
DRAWN_FAN_OUT = 8

#: What a box that stands for many steps is colored by: the first of these that one of them is in.
_BY_WEIGHT = (
    Status.FAILED,
    Status.INTERRUPTED,
    Status.CANCELED,
    Status.RUNNING,
    Status.PENDING,
    Status.QUEUED,
    Status.COMPLETED,
    Status.REUSED,
    Status.SKIPPED,
)

_COLORS = {
    Status.COMPLETED: "fill:#d5f0d8,stroke:#2e7d32,color:#000",
    Status.REUSED: "fill:#dbeafe,stroke:#1d4ed8,color:#000",
    Status.FAILED: "fill:#fde2e1,stroke:#c62828,color:#000",
    Status.RUNNING: "fill:#fff4cc,stroke:#b7791f,color:#000",
}
_OTHER_COLOR = "fill:#eeeeee,stroke:#757575,color:#000"

#: Characters that mean something inside a quoted label.
_ESCAPES = {ord(char): f"#{ord(char)};" for char in '#&"<>`'}


@attrs.frozen(kw_only=True)
class _Box:
    """One node, or one fan-out, as it is drawn."""

    id: str
    label: str
    #: What stands before and after the label: `[[` for many steps, `{` for a choice.
    brackets: tuple[str, str] = ("[", "]")
    status: Status | None


@attrs.frozen
class _Drawn:
    """One node of a graph or one step run, reduced to what a drawing shows."""

    name: str
    upstream: tuple[str, ...]
    after: tuple[str, ...]
    status: Status | None = None
    #: Steps that it runs under, each with the word for how: "when" or "unless".
    conditions: tuple[tuple[str, str], ...] = ()
    #: What it does besides running: "map" or another expander, "choice".
    kind: str = ""


def to_mermaid(source: Graph | Sequence[StepRunRecord]) -> str:
    """Draw a graph, or the step runs of a stored run with their states, as a mermaid flowchart.

    Fan-outs of few steps have a frame around them, those of many are one box. Arrows are data; dotted ones order only, or
    conditions where a word stands at them.
    """
    if isinstance(source, Graph):
        nodes = [_reduce(node) for node in source.nodes]
    else:
        nodes = [_Drawn(each.name, _upstream_of(each), each.after, each.status) for each in source]
    return "\n".join(_draw(nodes)) + "\n"


def _reduce(node: Node) -> _Drawn:
    conditions = tuple(
        (handle.node.name, "when" if expected else "unless")
        for condition, expected in node.conditions
        for handle in iter_handles(condition)
    )
    kind = "choice" if getattr(node.step, "takes_skipped", False) else "map" if node.step.is_list else ""
    return _Drawn(
        node.name,
        tuple(each.name for each in node.upstream),
        tuple(each.name for each in node.after),
        conditions=conditions,
        kind=kind or ("expander" if node.step.is_expander else ""),
    )


def _upstream_of(step_run: StepRunRecord) -> tuple[str, ...]:
    origins = (origin[0] for given in step_run.inputs.values() for origin in given.get("from", ()))
    return tuple(dict.fromkeys(origins))


def _draw(nodes: Sequence[_Drawn]) -> Iterable[str]:
    position = {node.name: place for place, node in enumerate(nodes)}
    boxes: dict[str, _Box] = {}
    used: list[_Box] = []
    yield "flowchart TD"
    for base, members in group_fan_outs(nodes, lambda node: node.name):
        if base is not None and len(members) > DRAWN_FAN_OUT:
            box = _many(base, members, f"n{position[members[0].name]}")
            boxes.update(dict.fromkeys((node.name for node in members), box))
            used.append(box)
            yield f"    {_shape(box)}"
            continue
        drawn = [_one(node, f"n{position[node.name]}") for node in members]
        boxes.update({node.name: box for node, box in zip(members, drawn, strict=True)})
        used += drawn
        yield from _frame(base, drawn)
    yield from _draw_arrows(nodes, boxes)
    yield from _draw_classes(used)


def _one(node: _Drawn, id: str) -> _Box:
    label = f"{node.name} (one step per element)" if node.kind == "map" else node.name
    brackets = {"map": ("[[", "]]"), "expander": ("[[", "]]"), "choice": ("{", "}")}.get(node.kind, ("[", "]"))
    return _Box(id=id, label=label, status=node.status, brackets=brackets)


def _many(base: str, members: Sequence[_Drawn], id: str) -> _Box:
    found = {node.status for node in members}
    return _Box(
        id=id,
        label=f"{base} ({format_count(len(members), 'step')})",
        brackets=("[[", "]]"),
        status=next((status for status in _BY_WEIGHT if status in found), None),
    )


def _frame(base: str | None, boxes: Sequence[_Box]) -> Iterable[str]:
    if base is None or len(boxes) == 1:
        yield from (f"    {_shape(box)}" for box in boxes)
        return
    yield f'    subgraph s{boxes[0].id}["{_escape(base)}"]'
    yield from (f"        {_shape(box)}" for box in boxes)
    yield "    end"


def _shape(box: _Box) -> str:
    opening, closing = box.brackets
    return f'{box.id}{opening}"{_escape(box.label)}"{closing}'


def _draw_arrows(nodes: Sequence[_Drawn], boxes: dict[str, _Box]) -> Iterable[str]:
    arrows: dict[tuple[str, str], str] = {}
    kinds: tuple[tuple[str, Callable[[_Drawn], tuple[str, ...]]], ...] = (
        ("-->", lambda node: node.upstream),
        ("-.->", lambda node: node.after),
    )
    for arrow, before in kinds:
        for node in nodes:
            for name in before(node):
                # A run that is going on has no record yet of a step that waits.
                if name in boxes and boxes[name] is not boxes[node.name]:
                    arrows.setdefault((boxes[name].id, boxes[node.name].id), arrow)
    for node in nodes:
        for name, word in node.conditions:
            arrows[boxes[name].id, boxes[node.name].id] = f"-. {word} .->"
    yield from (f"    {start} {arrow} {end}" for (start, end), arrow in arrows.items())


def _draw_classes(boxes: Sequence[_Box]) -> Iterable[str]:
    ids: dict[Status, list[str]] = {}
    for box in boxes:
        if box.status is not None:
            ids.setdefault(box.status, []).append(box.id)
    for status, members in ids.items():
        yield f"    classDef {status.value} {_COLORS.get(status, _OTHER_COLOR)}"
        yield f"    class {','.join(members)} {status.value}"


def _escape(label: str) -> str:
    return " ".join(label.split()).translate(_ESCAPES)
