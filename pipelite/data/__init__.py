"""Named places for data, and named, versioned references to data in them.

Comes in: names, paths, URLs. Goes out: data with an identity by content, wherever it lies.
"""

from __future__ import annotations

from pipelite.data.dataset import Dataset, to_source
from pipelite.data.datastores import Datastore, DatastorePath, Datastores
from pipelite.data.definition import Definition, Source
from pipelite.data.locations import Entry
from pipelite.data.parameters import register_parameter_type
from pipelite.data.registry import DatasetRecord, Datasets, Use, identify_read, parse_label

register_parameter_type()

__all__ = [
    "Dataset",
    "DatasetRecord",
    "Datasets",
    "Datastore",
    "DatastorePath",
    "Datastores",
    "Definition",
    "Entry",
    "Source",
    "Use",
    "identify_read",
    "parse_label",
    "to_source",
]
