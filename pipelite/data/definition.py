"""What a dataset is made of: where its files are, how they are read, what is done with the rows."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

import attrs

from pipelite.data.locations import EXTRAS
from pipelite.errors import DatasetError

#: Formats whose files have rows and columns.
TABULAR = ("delimited", "parquet", "json_lines", "sql", "frame")


def _as_tuple(names: Iterable[str] | None) -> tuple[str, ...] | None:
    # JSON has lists.
    return None if names is None else tuple(names)


@attrs.frozen(kw_only=True)
class Source:
    """Where files are: one path or pattern."""

    #: Name of a datastore; None for a path of this machine, a URL, or an artifact of the workspace.
    datastore: str | None = None
    #: Path or pattern: on the datastore, else absolute, else a URL.
    path: str
    #: Fields of the reference of an artifact, as JSON gives them; then `path` is its name.
    artifact: Mapping[str, Any] | None = None
    #: Of the files below the path only these, by name; None for all.
    names: tuple[str, ...] | None = attrs.field(default=None, converter=_as_tuple)

    def __str__(self) -> str:
        return f"{self.datastore}/{self.path}" if self.datastore else self.path


@attrs.frozen(kw_only=True)
class Definition:
    """Everything that a dataset is, but for its data."""

    #: One of TABULAR, or "files".
    format: str
    sources: tuple[Source, ...]
    #: How the files are read: separator, encoding, types, partition_format, query and the like.
    options: Mapping[str, Any] = attrs.field(factory=dict)
    #: What is done with the rows, in order: ["keep", names], ["filter", text, values], ["take", n], ["skip", n],
    #: ["split", fraction, seed, part].
    operations: tuple[tuple[Any, ...], ...] = ()

    def to_json(self) -> str:
        """The same as text, the same for equal ones."""
        sources = [
            {key: value for key, value in attrs.asdict(source).items() if value is not None} for source in self.sources
        ]
        return json.dumps(
            {
                "format": self.format,
                "sources": sources,
                "options": dict(self.options),
                "operations": [list(each) for each in self.operations],
            },
            sort_keys=True,
            ensure_ascii=False,
        )

    @classmethod
    def from_json(cls, text: str) -> Definition:
        """Read what `to_json` wrote."""
        fields = json.loads(text)
        return cls(
            format=fields["format"],
            sources=tuple(Source(**source) for source in fields["sources"]),
            options=fields["options"],
            operations=tuple(tuple(each) for each in fields["operations"]),
        )

    @property
    def id(self) -> str:
        """An id, the same for equal ones."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"pipelite\0dataset\0{self.to_json()}"))

    @property
    def reading(self) -> str:
        """What of it counts besides the files: how they are read and what is done with the rows."""
        options = {name: value for name, value in self.options.items() if name not in ("credentials", "missing_ok")}
        counted = {"format": self.format, "options": options, "operations": self.operations}
        return json.dumps(counted, sort_keys=True)

    @property
    def is_on_server(self) -> bool:
        """Whether its rows are what a query gives on a server; else its files are on this machine, or on a datastore."""
        source = self.sources[0]
        protocol, separator, _ = source.path.partition("://")
        return self.format == "sql" and source.datastore is None and bool(separator) and protocol not in EXTRAS

    def __str__(self) -> str:
        return ", ".join(map(str, self.sources))


def encode_value(value: Any) -> Any:
    """A value of a filter or a query as JSON has it; `decode_value` gives it back.

    Raises
    ------
    DatasetError
        If it is of a type that is not provided for.
    """
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, list | tuple | set | frozenset):
        parts = [encode_value(part) for part in value]
        return sorted(parts, key=repr) if isinstance(value, set | frozenset) else parts
    if isinstance(value, date):
        return {"datetime" if isinstance(value, datetime) else "date": value.isoformat()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise DatasetError(
        f"a filter or a query takes no value of type {type(value).__qualname__!r}; give numbers, texts, dates or lists of these"
    )


def decode_value(value: Any) -> Any:
    """What `encode_value` was given."""
    if isinstance(value, list):
        return [decode_value(part) for part in value]
    if isinstance(value, dict):
        ((kind, text),) = value.items()
        return datetime.fromisoformat(text) if kind == "datetime" else date.fromisoformat(text)
    return value
