"""The one hash, and the text form of an identity.

An identity is either the encoding itself, ``tag:text``, where that is short, or ``tag#digest``. A tag holds neither
``:`` nor ``#``, so the two never meet, and equal text under different tags differs.
"""

from __future__ import annotations

from collections.abc import Iterable

from blake3 import blake3

#: An encoding up to this many characters stands for itself: hashing it would cost more and say less.
INLINE_CHARS = 64


class Identified:
    """Stands for a value, inside of another one, whose identity is known and which need not be loaded for it."""

    __slots__ = ("identity",)

    def __init__(self, identity: str) -> None:
        self.identity = identity


def digest(tag: str, *parts: bytes) -> str:
    """Hash a tagged sequence; length prefixes keep ("ab", "c") apart from ("a", "bc")."""
    hasher = blake3()
    for part in (tag.encode(), *parts):
        hasher.update(len(part).to_bytes(8, "big"))
        hasher.update(part)
    return hasher.hexdigest()


def identify(tag: str, encoding: str) -> str:
    """Identity of one encoding: itself where it is short, else its hash."""
    if len(encoding) <= INLINE_CHARS:
        return f"{tag}:{encoding}"
    return f"{tag}#{blake3(encoding.encode('utf-8', 'surrogatepass')).hexdigest()}"


def combine(tag: str, parts: Iterable[str]) -> str:
    """Identity of a sequence of identities, each with its length before it."""
    return identify(tag, "".join([f"{len(part)}:{part}" for part in parts]))
