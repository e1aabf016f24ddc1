"""Identities as people read them: an identity that holds its value's encoding gives the value back."""

from __future__ import annotations

from collections.abc import Callable

#: Longer values are cut: they stand in the middle of a sentence.
_WIDTH = 50

_BRACKETS = {"list": ("[", "]"), "tuple": ("(", ")"), "set": ("{", "}"), "frozenset": ("frozenset({", "})")}


def read_identity(identity: str) -> str | None:
    """The value as it would be written in Python, "0.1" for "float:0.1"; None where only a hash is kept."""
    tag, colon, encoding = identity.partition(":")
    # A "#" before the colon, or no colon: a hash stands in the place of the encoding.
    if not colon or "#" in tag:
        return None
    if tag in _PLAIN:
        return _PLAIN[tag](encoding)
    parts = _split(encoding) if tag in _BRACKETS or tag == "dict" else None
    values = None if parts is None else [read_identity(part) for part in parts]
    if values is None or None in values:
        return None
    return _write(tag, [value for value in values if value is not None])


def describe_change(old: str, new: str) -> str | None:
    """ "was 0.1, is 0.2"; None where not both can be read."""
    before, after = read_identity(old), read_identity(new)
    if before is None or after is None:
        return None
    if before == after:
        before, after = f"{before} ({old.partition(':')[0]})", f"{after} ({new.partition(':')[0]})"
    return f"was {_cut(before)}, is {_cut(after)}"


def is_path(identity: str) -> bool:
    """Whether it stands for a file or a folder."""
    return identity.startswith(("file:", "file#", "folder:", "folder#"))


def _read_bytes(encoding: str) -> str:
    return repr(bytes.fromhex(encoding))


def _read_timedelta(encoding: str) -> str:
    from datetime import timedelta

    return str(timedelta(*map(int, encoding.split(","))))


_PLAIN: dict[str, Callable[[str], str]] = {
    "None": lambda encoding: "None",
    "bool": str,
    "int": str,
    "float": str,
    "str": repr,
    "bytes": _read_bytes,
    "date": str,
    "timedelta": _read_timedelta,
    "Decimal": str,
}


def _split(encoding: str) -> list[str] | None:
    """Parts of a combined encoding: each has its length before it."""
    parts = []
    while encoding:
        length, colon, rest = encoding.partition(":")
        if not colon or not length.isdigit() or int(length) > len(rest):
            return None
        parts.append(rest[: int(length)])
        encoding = rest[int(length) :]
    return parts


def _write(tag: str, values: list[str]) -> str | None:
    if tag == "dict":
        pairs = [f"{values[place]}: {values[place + 1]}" for place in range(0, len(values) - 1, 2)]
        return "{" + ", ".join(pairs) + "}"
    if tag == "tuple" and len(values) == 1:
        return f"({values[0]},)"
    if not values and tag in ("set", "frozenset"):
        return f"{tag}()"
    opening, closing = _BRACKETS[tag]
    return opening + ", ".join(values) + closing


def _cut(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."
