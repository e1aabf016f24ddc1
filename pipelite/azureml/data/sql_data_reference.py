"""`azureml.data.sql_data_reference`: rows of a database as what a step copies."""

from __future__ import annotations

from typing import Any

from pipelite.azureml.exceptions import NotOnOneBoxError


class SqlDataReference:
    """Rows of a database, which no datastore has here."""

    def __init__(self, datastore: Any, data_reference_name: str | None = None, **others: Any) -> None:
        raise NotOnOneBoxError(
            f"data reference {data_reference_name!r}: a database is not a datastore here; Dataset.from_sql of pipelite reads "
            "one by its address, and a registered dataset is an input of steps"
        )
