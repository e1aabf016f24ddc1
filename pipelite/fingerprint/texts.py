"""Identity of texts."""

from __future__ import annotations

from typing import Any

from blake3 import blake3

from pipelite.fingerprint.digests import INLINE_CHARS, combine, identify


def identify_text(value: str) -> str:
    """Identity of a text, whatever is in it.

    Only printable ASCII stands for itself: identities are kept in a database and shown to people, and neither takes
    half a surrogate pair or a control character well.
    """
    if len(value) <= INLINE_CHARS and value.isascii() and value.isprintable():
        return "str:" + value
    return "str#" + blake3(value.encode("utf-8", "surrogatepass")).hexdigest()


def identify_texts(values: list[Any]) -> str | None:
    """Identity of a column of texts and missing values, many times faster than one by one; None for anything else."""
    kinds = set(map(type, values))
    if kinds == {str}:
        lengths = list(map(len, values))
    elif kinds <= {str, type(None), float} and str in kinds:
        if any(type(value) is float and value == value for value in values):
            return None
        lengths = [len(value) if type(value) is str else (-1 if value is None else -2) for value in values]
        values = [value for value in values if type(value) is str]
    else:
        return None
    return combine("texts", (identify("lengths", ",".join(map(str, lengths))), identify_text("".join(values))))
