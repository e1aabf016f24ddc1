"""What code is made of: items that refer to each other, and the targets that names lead to."""

from __future__ import annotations

from typing import Any

import attrs

from pipelite.fingerprint.sources import SourceFile
from pipelite.fingerprint.unloaded import OwnModule


@attrs.frozen(eq=False)
class Live:
    """An object of this process."""

    value: Any
    #: Where it was found, for people: "flow.RATE".
    label: str
    #: Folder of the module that holds it: a path in a global is where it is from there.
    home: str = ""


@attrs.frozen
class Foreign:
    """Something that Python or an installed package provides, by its dotted name."""

    name: str
    #: The module that was imported to get there.
    module: str


@attrs.frozen
class Static:
    """A name of one of the user's own modules that this process has not loaded."""

    module: OwnModule
    name: str


@attrs.frozen
class Binary:
    """An own module without Python source."""

    module: str
    path: str


@attrs.frozen
class Folder:
    """An own package without `__init__.py`: only a way to its modules."""

    name: str


Target = Live | Foreign | Static | Binary | Folder | OwnModule


@attrs.frozen(eq=False, kw_only=True)
class Item:
    """One piece of code or one value, without what it refers to."""

    #: What people call it: "function flow.clean". None for what is not worth a line of its own.
    label: str | None
    #: What `explain` compares: of this piece alone, with the names in it.
    identity: str
    #: What counts: of this piece alone, without the names of what it refers to.
    shape: str
    references: tuple[Target, ...] = ()
    #: What in it could not be seen through, in words.
    notes: tuple[str, ...] = ()
    sources: tuple[SourceFile, ...] = ()
    #: Values count by content: where two are one object does not matter.
    is_value: bool = False
