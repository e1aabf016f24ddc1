"""The workspace folder: takes runs, results and values, and gives them back to whoever asks for them later.

Comes in: records of runs as rows, values of steps. Goes out: what is stored under a key, runs with their history, values.
"""

from __future__ import annotations

from pipelite.store.artifacts import ArtifactStore
from pipelite.store.canceling import mark_canceled, request_cancel
from pipelite.store.circles import find_circles
from pipelite.store.claims import NONE_REFUSED, Refusals, Wish, find_claims, get_version
from pipelite.store.dead_runs import LeftRun, Recovered, close_dead_runs, find_dead_runs, recover_ended_run
from pipelite.store.locks import FileLock, is_locked
from pipelite.store.logs import LOG_CAP_BYTES, find_log_part, read_log, read_log_from
from pipelite.store.owners import OwnerLock, clear_dead_owners, clear_dead_workers, is_alive, temporary_prefix
from pipelite.store.parts import PARTS, Part, iter_parts, join_parts
from pipelite.store.paths import remove_tree
from pipelite.store.pickles import dumps_value, loads_value, refuse_code
from pipelite.store.reader import (
    count_logged,
    find_known,
    get_code,
    get_growth,
    get_logged,
    get_metrics,
    get_origin,
    get_parameters_pickle,
    get_previous_step_run,
    get_previous_step_runs,
    get_run,
    get_run_sources,
    get_source,
    get_step_run,
    get_step_run_by_id,
    get_step_runs,
    get_stored_outputs,
    is_cancel_requested,
    list_runs,
)
from pipelite.store.rows import decode_outputs, encode_outputs, encode_reads, finite, now_text, to_json, to_text
from pipelite.store.schema import (
    ARTIFACT_COLUMNS,
    METRIC_COLUMNS,
    RESULT_COLUMNS,
    STEP_RUN_COLUMNS,
    STEP_RUNS_PER_RUN,
    step_run_id,
)
from pipelite.store.serializers import register_serializer
from pipelite.store.settings import (
    ENVIRONMENT_MODES,
    get_environments_mode,
    get_setting,
    get_settings,
    put_environments_mode,
    put_setting,
    remove_setting,
)
from pipelite.store.sizes import size_text
from pipelite.store.snapshots import (
    KEPT_SNAPSHOTS,
    Snapshot,
    SourceFolder,
    describe_kept,
    keep_snapshot,
    take_snapshot,
    use_kept,
)
from pipelite.store.takeover import EarlierStepRun, check_resumable, get_earlier_step_runs, take_over, take_queued
from pipelite.store.workspace import AREAS, CACHE, LOCAL_DATA, Store, find_workspace, hold_store
from pipelite.store.workspace import VARIABLE as WORKSPACE_VARIABLE
from pipelite.store.writer import RunWriter, add_sources, create_run, insert_run

__all__ = [
    "AREAS",
    "ARTIFACT_COLUMNS",
    "CACHE",
    "ENVIRONMENT_MODES",
    "KEPT_SNAPSHOTS",
    "LOCAL_DATA",
    "LOG_CAP_BYTES",
    "METRIC_COLUMNS",
    "NONE_REFUSED",
    "PARTS",
    "RESULT_COLUMNS",
    "STEP_RUNS_PER_RUN",
    "STEP_RUN_COLUMNS",
    "WORKSPACE_VARIABLE",
    "ArtifactStore",
    "EarlierStepRun",
    "FileLock",
    "LeftRun",
    "OwnerLock",
    "Part",
    "Recovered",
    "Refusals",
    "RunWriter",
    "Snapshot",
    "SourceFolder",
    "Store",
    "Wish",
    "add_sources",
    "check_resumable",
    "clear_dead_owners",
    "clear_dead_workers",
    "close_dead_runs",
    "count_logged",
    "create_run",
    "decode_outputs",
    "describe_kept",
    "dumps_value",
    "encode_outputs",
    "encode_reads",
    "find_circles",
    "find_claims",
    "find_dead_runs",
    "find_known",
    "find_log_part",
    "find_workspace",
    "finite",
    "get_code",
    "get_earlier_step_runs",
    "get_environments_mode",
    "get_growth",
    "get_logged",
    "get_metrics",
    "get_origin",
    "get_parameters_pickle",
    "get_previous_step_run",
    "get_previous_step_runs",
    "get_run",
    "get_run_sources",
    "get_setting",
    "get_settings",
    "get_source",
    "get_step_run",
    "get_step_run_by_id",
    "get_step_runs",
    "get_stored_outputs",
    "get_version",
    "hold_store",
    "insert_run",
    "is_alive",
    "is_cancel_requested",
    "is_locked",
    "iter_parts",
    "join_parts",
    "keep_snapshot",
    "list_runs",
    "loads_value",
    "mark_canceled",
    "now_text",
    "put_environments_mode",
    "put_setting",
    "read_log",
    "read_log_from",
    "recover_ended_run",
    "refuse_code",
    "register_serializer",
    "remove_setting",
    "remove_tree",
    "request_cancel",
    "size_text",
    "step_run_id",
    "take_over",
    "take_queued",
    "take_snapshot",
    "temporary_prefix",
    "to_json",
    "to_text",
    "use_kept",
]
