"""Amounts of bytes for people."""

from __future__ import annotations


def size_text(n_bytes: int) -> str:
    """Return an amount of bytes in the unit that suits it: "312 bytes", "1.2 GB"."""
    if n_bytes < 1000:
        return f"{n_bytes} bytes"
    amount = float(n_bytes)
    for unit in ("KB", "MB", "GB"):
        amount /= 1000
        if amount < 999.95:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:.1f} TB"
