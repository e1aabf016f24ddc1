"""Named places for data, and named, versioned references to data in them.

Comes in: names, paths, URLs. Goes out: data with an identity by content, wherever it lies.
"""

from __future__ import annotations

from pipelite.data.datastores import Datastore, DatastorePath, Datastores
from pipelite.data.locations import Entry

__all__ = ["Datastore", "DatastorePath", "Datastores", "Entry"]
