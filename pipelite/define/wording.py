"""Small pieces of the sentences in error messages."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ "; did you mean 'features'?" if a known name is near, else nothing."""
    # Needed only when something went wrong.
    import difflib

    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    near += [each for each in names if len(name) > 1 and each.startswith(name)]
    return f"; did you mean {near[0]!r}?" if near else ""


def followed_by(first: str, second: str) -> str:
    """Two sentences, the first of which may end with a question."""
    return f"{first} {second[0].upper()}{second[1:]}" if first.endswith("?") else f"{first}; {second}"


def listed(names: Iterable[str]) -> str:
    """ "'a', 'b' and 'c'"."""
    quoted = [repr(name) for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]]) if len(quoted) > 1 else "".join(quoted)


def with_article(noun: str) -> str:
    """ "a list", "an int"."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def shortened(value: object) -> str:
    """The `repr` of a value, cut where it is long."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
