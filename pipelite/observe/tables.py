"""Rows as aligned plain text."""

from __future__ import annotations

from collections.abc import Sequence

GAP = "  "


def format_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> str:
    """Columns as wide as their widest cell; those without any content are left out.

    Parameters
    ----------
    headings : names of the columns; empty ones give a table without a line of headings
    right : headings of the columns that are aligned to the right
    """
    kept = [place for place in range(len(headings)) if any(row[place] for row in rows)] if rows else []
    lines = [[headings[place] for place in kept]] if any(headings) else []
    lines += [[one_line(row[place]) for place in kept] for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(kept))]
    is_right = [headings[place] in right for place in kept]
    return "\n".join(
        GAP.join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, is_right, strict=True)
        ).rstrip()
        for line in lines
    )


def one_line(text: str) -> str:
    """Text that keeps the rows of a table apart: line ends and other control characters become spaces."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " for char in text)


def shorten(text: str, width: int) -> str:
    """The beginning of a text on one line."""
    text = one_line(text)
    return text if len(text) <= width else f"{text[: width - 3]}..."
