"""The graph of a pipeline as v1 showed it: nodes of steps and of data, with ports, and the edges between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs


@attrs.define(eq=False, repr=False)
class Port:
    """Where an edge begins or ends."""

    name: str
    node: Node
    #: The one that leads to it; None for an output.
    incoming_edge: Edge | None = None

    def __repr__(self) -> str:
        return f"<port {self.node.name!r} / {self.name!r}>"


@attrs.frozen(eq=False, repr=False)
class Edge:
    """What one step writes, or a place with data, on its way to a step."""

    source_port: Port
    dest_port: Port

    def __repr__(self) -> str:
        return f"<edge {self.source_port} -> {self.dest_port}>"


@attrs.define(eq=False, repr=False)
class Node:
    """A step, or data that steps read."""

    #: What it is called in runs: unlike the name no two have it.
    node_id: str
    name: str
    #: Kind of step, such as "PythonScriptStep"; "DataReference" or "Dataset" of data.
    type: str
    inputs: list[Port] = attrs.field(factory=list)
    outputs: list[Port] = attrs.field(factory=list)
    #: What it is given by name: values, or the names of parameters of the pipeline.
    params: dict[str, Any] = attrs.field(factory=dict)
    #: Nodes that it waits for without reading anything.
    run_after: list[Node] = attrs.field(factory=list)

    @property
    def input_dict(self) -> dict[str, Port]:
        return {port.name: port for port in self.inputs}

    @property
    def output_dict(self) -> dict[str, Port]:
        return {port.name: port for port in self.outputs}

    def get_input(self, name: str) -> Port | None:
        return self.input_dict.get(name)

    def get_output(self, name: str) -> Port | None:
        return self.output_dict.get(name)

    def __repr__(self) -> str:
        return f"<node {self.name!r}>"


@attrs.frozen(eq=False)
class Parameter:
    """A parameter of the pipeline."""

    name: str
    type: str
    default_value: Any


class Graph:
    """Nodes and edges of a pipeline; to look at, and not to be changed."""

    def __init__(self, name: str, form: Mapping[str, Any]) -> None:
        self.name = name
        #: Parameters of the pipeline by name.
        self.params = {
            each: Parameter(each, fields["type"], fields.get("default"))
            for each, fields in form.get("parameters", {}).items()
        }
        self.module_nodes: list[Node] = []
        self.datasource_nodes: list[Node] = []
        self.edges: list[Edge] = []
        sources = {key: self._add_data(key, fields) for key, fields in form.get("data_references", {}).items()}
        steps: Mapping[str, Any] = form["steps"]
        nodes = {key: self._add_step(key, fields, sources) for key, fields in steps.items()}
        for key, fields in steps.items():
            self._connect(nodes[key], _inputs_of(fields), sources)
            nodes[key].run_after += [nodes[each] for each in fields.get("run_after", ())]

    @property
    def nodes(self) -> list[Node]:
        """All of them, steps first."""
        return [*self.module_nodes, *self.datasource_nodes]

    @property
    def node_dict(self) -> dict[str, Node]:
        """Nodes by their ids."""
        return {node.node_id: node for node in self.nodes}

    @property
    def node_name_dict(self) -> dict[str, list[Node]]:
        """Nodes by their names, of which several may have one."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            found.setdefault(node.name, []).append(node)
        return found

    def get_node(self, node_id: str) -> Node | None:
        return self.node_dict.get(node_id)

    def _add_data(self, key: str, fields: Mapping[str, Any]) -> Port:
        node = Node(f"data/{key}", key, "DataReference" if "datastore" in fields else "Dataset", params=dict(fields))
        node.outputs.append(Port("output", node))
        self.datasource_nodes.append(node)
        return node.outputs[0]

    def _add_step(self, key: str, fields: Mapping[str, Any], sources: dict[str, Port]) -> Node:
        node = Node(key, fields["name"], fields["type"], params=dict(fields.get("parameters", {})))
        for name, output in fields.get("outputs", {}).items():
            node.outputs.append(Port(name, node))
            sources[output["destination"]] = node.outputs[-1]
        self.module_nodes.append(node)
        return node

    def _connect(self, node: Node, inputs: Iterator[tuple[str, Any]], sources: dict[str, Port]) -> None:
        for name, fields in inputs:
            source = fields["source"]
            if source not in sources:
                # A parameter that holds data.
                sources[source] = self._add_data(source, {})
            port = Port(name, node)
            edge = Edge(sources[source], port)
            port.incoming_edge = edge
            node.inputs.append(port)
            self.edges.append(edge)

    def __repr__(self) -> str:
        return f"<graph {self.name!r}: {len(self.module_nodes)} steps, {len(self.edges)} edges>"


def _inputs_of(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    kinds: Sequence[str] = ("source_data_reference", "inputs", "side_inputs")
    for kind in kinds:
        yield from fields.get(kind, {}).items()
