"""`pipelite graph`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pipelite.cli.options import json_option, parameters_option, target_argument, workspace_option
from pipelite.cli.output import print_json
from pipelite.cli.targets import load_pipeline

if TYPE_CHECKING:
    from pipelite.define import Graph


@click.command()
@target_argument
@parameters_option
@click.option("--mermaid", is_flag=True, help="Draw a mermaid flowchart; for now the only form.")
@workspace_option
@json_option
def graph(target: str, parameters: dict[str, str], *, mermaid: bool, as_json: bool) -> None:
    """Draw the steps of a pipeline, without running them.

    Parameters without a default are needed here too: they may shape the graph.
    """
    from pipelite.define import bind_parameters
    from pipelite.observe import to_mermaid

    if mermaid and as_json:
        raise click.UsageError("--mermaid and --json exclude each other")
    pipeline = load_pipeline(target)
    values = bind_parameters(pipeline.specs, parameters, text=True, pipeline=pipeline.name)
    traced = pipeline.trace(**values)
    if as_json:
        print_json(_as_dict(traced))
    else:
        click.echo(to_mermaid(traced), nl=False)


def _as_dict(graph: Graph) -> dict[str, Any]:
    from pipelite.define import iter_handles
    from pipelite.fingerprint import qualified_name

    return {
        "name": graph.name,
        "nodes": [
            {
                "name": node.name,
                "step": qualified_name(node.step.func),
                "upstream": [each.name for each in node.upstream],
                "after": [each.name for each in node.after],
                "conditions": [
                    {"step": handle.node.name, "expected": expected}
                    for condition, expected in node.conditions
                    for handle in iter_handles(condition)
                ],
                "place": node.place,
            }
            for node in graph.nodes
        ],
        "outputs": list(graph.outputs),
    }
