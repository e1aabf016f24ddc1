"""What makes the key of one step run differ from that of another, part by part and by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelite.observe.groups import group_fan_outs
from pipelite.observe.identities import describe_change, is_path, read_identity
from pipelite.records import CodeFingerprint, StepRunRecord


def compare_keys(
    old: StepRunRecord, new: StepRunRecord, *, old_code: CodeFingerprint | None, new_code: CodeFingerprint | None
) -> list[str]:
    """Say what is different, in half sentences: code first, then inputs, environment and outputs.

    Parameters
    ----------
    old_code, new_code : the code of each; None where it is not stored
    """
    changes: list[str] = []
    if old.code != new.code:
        changes += compare_code(old_code, new_code)
    changes += _compare_inputs(old.inputs, new.inputs)
    if old.environment != new.environment:
        changes.append(f"{old.environment} -> {new.environment}")
    if old.outputs and new.outputs and tuple(old.outputs) != tuple(new.outputs):
        changes.append(f"its outputs were {', '.join(old.outputs)}, are {', '.join(new.outputs)}")
    return changes


def compare_code(old: CodeFingerprint | None, new: CodeFingerprint | None) -> list[str]:
    """Parts of a step's code that changed, came or went."""
    if old is None or new is None:
        return ["its code changed"]
    changes = [
        _describe_part(part, old.parts[part], identity)
        for part, identity in new.parts.items()
        if part in old.parts and old.parts[part] != identity
    ]
    changes += [f"it uses {part} now" for part in new.parts if part not in old.parts]
    changes += [f"it no longer uses {part}" for part in old.parts if part not in new.parts]
    return changes or ["its code changed"]


def _describe_part(part: str, old: str, new: str) -> str:
    if part.startswith("package "):
        return f"{part} {_version(old)} -> {_version(new)}"
    change = describe_change(old, new)
    return f"{part} changed" if change is None else f"{part} {change}"


def _version(identity: str) -> str:
    text = read_identity(identity)
    return identity if text is None else text.strip("'")


def _compare_inputs(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name, given in new.items():
        if name not in old:
            yield f"input {name!r} is new"
        elif old[name]["id"] != given["id"]:
            yield _describe_input(name, old[name]["id"], given)
    for name in old:
        if name not in new:
            yield f"input {name!r} is gone"


def _describe_input(name: str, old: str, given: Mapping[str, Any]) -> str:
    change = describe_change(old, given["id"])
    steps = list(dict.fromkeys(origin[0] for origin in given.get("from", ())))
    if steps:
        came = f"it comes from {_list_steps(steps)}"
        return f"input {name!r} changed ({came})" if change is None else f"input {name!r} {change} ({came})"
    if change is not None:
        return f"input {name!r} {change}"
    if is_path(old) and is_path(given["id"]):
        return f"input {name!r} changed (content or name of the {given['id'].partition('#')[0].partition(':')[0]})"
    return f"input {name!r} changed"


def _list_steps(names: list[str]) -> str:
    """ "step 'a'", "steps 'a', 'b' and 2 more"; a fan-out counts as one."""
    groups = group_fan_outs(names, str)
    if len(groups) == 1:
        base, members = groups[0]
        return f"step {names[0]!r}" if len(members) == 1 else f"the {len(members)} steps of {base!r}"
    shown = [repr(members[0] if len(members) == 1 else base) for base, members in groups[:3]]
    return f"steps {', '.join(shown)}" + (f" and {len(groups) - 3} more" if len(groups) > 3 else "")
