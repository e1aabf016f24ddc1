"""The step of a service that is gone."""

from __future__ import annotations

from typing import Any

from pipelite.azureml.exceptions import NotOnOneBoxError
from pipelite.azureml.pipeline.core.step import PipelineStep


class AdlaStep(PipelineStep):
    """A step of Azure Data Lake Analytics, which is gone; its language, U-SQL, is run by nothing else."""

    def __init__(self, script_name: str, name: str | None = None, **settings: Any) -> None:
        raise NotOnOneBoxError(
            f"step {name or script_name!r}: Azure Data Lake Analytics was retired, and U-SQL is run by nothing else. Write the "
            "query as SQL for DuckDB: pipelite.steps.sql(query, tables=...) reads Parquet, CSV and JSON files, datasets and "
            "outputs of steps"
        )
