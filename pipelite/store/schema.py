"""Tables, indexes and views of the workspace's database, and the order of columns in hot rows.

Times are UTC as ISO text, structured values JSON text: the file is to be read with plain `sqlite3` and datasette too.
The newest schema stands here in full, so that a new workspace is made in one go and without sqlite-utils, whose import
alone would cost a first run 100 ms of its 600. Older workspaces get here by the migrations; a test holds both equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    import sqlite_utils

#: Step runs of one run have the ids number * STEP_RUNS_PER_RUN + position: the primary key finds them, no other index.
STEP_RUNS_PER_RUN = 10_000_000


def step_run_id(number: int, position: int) -> int:
    """Return the id of the step run at a position of the graph, in the run of this number."""
    return number * STEP_RUNS_PER_RUN + position


STEP_RUN_COLUMNS: tuple[str, ...] = (
    "id",
    "run_id",
    "position",
    "name",
    "step",
    "status",
    "key",
    "code",
    "inputs",
    "after",
    "environment",
    "outputs",
    "form",
    "computed_by",
    "reason",
    "attempts",
    "started_at",
    "ended_at",
    "duration_s",
    "cpu_s",
    "peak_memory_bytes",
    "error",
    "reads",
    "log_file",
    "log_start",
    "log_end",
)
RESULT_COLUMNS: tuple[str, ...] = ("key", "reads_digest", "step_run_id")
ARTIFACT_COLUMNS: tuple[str, ...] = (
    "digest",
    "kind",
    "path",
    "size_bytes",
    "mtime_ns",
    "file_digest",
    "type_name",
    "created_at",
)
GROWTH_COLUMNS: tuple[str, ...] = ("run_id", "position", "kind", "value")
METRIC_COLUMNS: tuple[str, ...] = ("step_run_id", "name", "kind", "step", "value", "logged_at")

_RUNS = """
CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,
    pipeline TEXT NOT NULL,
    target TEXT,
    experiment TEXT NOT NULL,
    description TEXT,
    status TEXT NOT NULL,
    parameters TEXT NOT NULL,
    parameters_pickle BLOB,
    options TEXT NOT NULL,
    outputs TEXT NOT NULL,
    tags TEXT NOT NULL,
    error TEXT,
    created_at TEXT NOT NULL,
    started_at TEXT,
    ended_at TEXT,
    duration_s REAL,
    owner TEXT,
    spools TEXT NOT NULL DEFAULT '{}',
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    rerun_of TEXT REFERENCES runs(id) ON DELETE SET NULL,
    host TEXT NOT NULL,
    python TEXT NOT NULL,
    working_directory TEXT NOT NULL,
    git_commit TEXT,
    packages TEXT NOT NULL,
    sources TEXT NOT NULL
)
"""

_CODE = """
CREATE TABLE code (
    digest TEXT PRIMARY KEY,
    parts TEXT NOT NULL,
    not_tracked TEXT NOT NULL,
    sources TEXT NOT NULL
)
"""

_SOURCES = """
CREATE TABLE sources (
    digest TEXT PRIMARY KEY,
    content BLOB NOT NULL
)
"""

# Two equal nodes of one run may be committed in any order, so `computed_by` is looked at when the transaction ends.
_STEP_RUNS = f"""
CREATE TABLE step_runs (
    id INTEGER PRIMARY KEY CHECK (id = (id / {STEP_RUNS_PER_RUN}) * {STEP_RUNS_PER_RUN} + position),
    run_id TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    step TEXT NOT NULL,
    status TEXT NOT NULL,
    key TEXT,
    code TEXT REFERENCES code(digest),
    inputs TEXT NOT NULL,
    "after" TEXT NOT NULL,
    environment TEXT,
    outputs TEXT,
    form TEXT NOT NULL,
    computed_by INTEGER REFERENCES step_runs(id) DEFERRABLE INITIALLY DEFERRED,
    reason TEXT,
    attempts INTEGER NOT NULL,
    started_at TEXT,
    ended_at TEXT,
    duration_s REAL,
    cpu_s REAL,
    peak_memory_bytes INTEGER,
    error TEXT,
    reads TEXT NOT NULL,
    log_file TEXT,
    log_start INTEGER,
    log_end INTEGER
)
"""

# Keys come in no order, so every commit touches pages all over this table: what it need not hold is left out.
_RESULTS = """
CREATE TABLE results (
    key TEXT NOT NULL,
    reads_digest TEXT NOT NULL,
    step_run_id INTEGER NOT NULL REFERENCES step_runs(id) ON DELETE CASCADE,
    PRIMARY KEY (key, reads_digest)
) WITHOUT ROWID
"""

_ARTIFACTS = """
CREATE TABLE artifacts (
    digest TEXT NOT NULL,
    kind TEXT NOT NULL,
    path TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER,
    file_digest TEXT,
    type_name TEXT NOT NULL,
    created_at TEXT NOT NULL,
    removal_marked_at TEXT,
    PRIMARY KEY (digest, kind)
)
"""

_METRICS = """
CREATE TABLE metrics (
    id INTEGER PRIMARY KEY,
    step_run_id INTEGER NOT NULL REFERENCES step_runs(id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    step INTEGER,
    value TEXT NOT NULL,
    logged_at TEXT NOT NULL
)
"""

_FILE_DIGESTS = """
CREATE TABLE file_digests (
    path TEXT PRIMARY KEY,
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    digest TEXT NOT NULL
) WITHOUT ROWID
"""

_ITEM_IDENTITIES = """
CREATE TABLE item_identities (
    whole TEXT NOT NULL,
    item TEXT NOT NULL,
    identity TEXT NOT NULL,
    PRIMARY KEY (whole, item)
) WITHOUT ROWID
"""

# A row for each step at work, made and removed within moments. So it holds the least: run and owner are found by the
# step run's number, and its row may not be there yet, hence no foreign key.
_CLAIMS = """
CREATE TABLE claims (
    key TEXT PRIMARY KEY,
    step_run_id INTEGER NOT NULL,
    step TEXT NOT NULL
) WITHOUT ROWID
"""

_SETTINGS = """
CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID
"""

# What the expanders of a run did and were told, in order, so that a resume can drive them through the same again.
_GROWTH = """
CREATE TABLE growth (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL
)
"""

# Credentials are not here: only where they are, as names of environment variables and files.
_DATASTORES = """
CREATE TABLE datastores (
    name TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    options TEXT NOT NULL,
    credentials TEXT NOT NULL,
    created_at TEXT NOT NULL
) WITHOUT ROWID
"""

_DATASETS = """
CREATE TABLE datasets (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    definition TEXT NOT NULL,
    identity TEXT NOT NULL,
    files INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    description TEXT,
    tags TEXT NOT NULL,
    created_at TEXT NOT NULL,
    run_id TEXT REFERENCES runs(id) ON DELETE SET NULL,
    step_run TEXT,
    output TEXT,
    UNIQUE (name, version)
)
"""

# Which step runs took a dataset as an input or read it. The row of the step run may not be there yet.
_DATASET_USES = """
CREATE TABLE dataset_uses (
    dataset_id INTEGER NOT NULL REFERENCES datasets(id) ON DELETE CASCADE,
    run_id TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    PRIMARY KEY (dataset_id, run_id, position)
) WITHOUT ROWID
"""

# What the validator of a store (version id, ETag, size, time) said of an object when its bytes were read.
_FETCHED = """
CREATE TABLE fetched (
    url TEXT PRIMARY KEY,
    validator TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    digest TEXT NOT NULL,
    fetched_at TEXT NOT NULL
) WITHOUT ROWID
"""

_DATA = (
    _DATASTORES,
    _DATASETS,
    _DATASET_USES,
    _FETCHED,
    "CREATE INDEX dataset_uses_by_run ON dataset_uses(run_id, position)",
)

# Versions of pipelines that can be called; nothing but the status of one ever changes.
_PUBLISHED = """
CREATE TABLE published (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    description TEXT,
    status TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    target TEXT NOT NULL,
    experiment TEXT NOT NULL,
    parameters TEXT NOT NULL,
    defaults_pickle BLOB,
    options TEXT NOT NULL,
    outputs TEXT NOT NULL,
    sources TEXT NOT NULL,
    packages TEXT NOT NULL,
    python TEXT NOT NULL,
    git_commit TEXT,
    content TEXT NOT NULL,
    run_id TEXT REFERENCES runs(id) ON DELETE SET NULL,
    created_at TEXT NOT NULL,
    UNIQUE (name, version)
)
"""

_ENDPOINTS = """
CREATE TABLE endpoints (
    name TEXT PRIMARY KEY,
    default_id TEXT NOT NULL REFERENCES published(id),
    description TEXT,
    updated_at TEXT NOT NULL
) WITHOUT ROWID
"""

# The queue, and what was in it: a row for each run of a published pipeline. `state` is waiting, taken or done; the run's
# own status says how it is.
_REQUESTS = """
CREATE TABLE requests (
    run_id TEXT PRIMARY KEY REFERENCES runs(id) ON DELETE CASCADE,
    number INTEGER NOT NULL UNIQUE,
    published_id TEXT NOT NULL REFERENCES published(id),
    state TEXT NOT NULL,
    priority INTEGER NOT NULL,
    assignments TEXT NOT NULL,
    schedule TEXT,
    requested_by TEXT,
    idempotency_key TEXT UNIQUE,
    taken_by TEXT,
    deaths INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID
"""

# Who may call the server. The token itself is nowhere: `hash` is SHA-256 of it, which for 256 random bits is enough.
_TOKENS = """
CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    hash TEXT NOT NULL,
    name TEXT NOT NULL,
    scope TEXT NOT NULL,
    pipelines TEXT,
    created_at TEXT NOT NULL,
    expires_at TEXT,
    last_used_at TEXT,
    revoked_at TEXT
) WITHOUT ROWID
"""

# `timing` says when, as JSON. `next_at` is the next slot to be decided, `due_at` when: its jitter later. `decided_at` is
# what the clock showed at the last decision or change. Nothing from before `changed_at` is decided any more.
_SCHEDULES = """
CREATE TABLE schedules (
    name TEXT PRIMARY KEY,
    description TEXT,
    published_id TEXT REFERENCES published(id),
    endpoint TEXT REFERENCES endpoints(name),
    experiment TEXT,
    parameters TEXT NOT NULL,
    timing TEXT NOT NULL,
    jitter_s REAL NOT NULL,
    catch_up TEXT NOT NULL,
    overlap TEXT NOT NULL,
    slot_parameter TEXT,
    history_days INTEGER NOT NULL DEFAULT 90,
    is_paused INTEGER NOT NULL,
    next_at TEXT,
    due_at TEXT,
    forgotten_until TEXT,
    decided_at TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    created_at TEXT NOT NULL,
    CHECK ((published_id IS NULL) <> (endpoint IS NULL))
) WITHOUT ROWID
"""

# What became of each slot; a row with `until` stands for all slots of the schedule from `at` to that one.
_SLOTS = """
CREATE TABLE slots (
    schedule TEXT NOT NULL REFERENCES schedules(name) ON DELETE CASCADE,
    at TEXT NOT NULL,
    local TEXT NOT NULL,
    fold INTEGER NOT NULL,
    until TEXT,
    outcome TEXT NOT NULL,
    reason TEXT,
    run_id TEXT REFERENCES runs(id) ON DELETE SET NULL,
    decided_at TEXT NOT NULL,
    PRIMARY KEY (schedule, at)
) WITHOUT ROWID
"""

_PUBLISHING = (
    _PUBLISHED,
    _ENDPOINTS,
    _REQUESTS,
    _TOKENS,
    _SCHEDULES,
    _SLOTS,
    "CREATE INDEX schedules_due ON schedules(due_at) WHERE is_paused = 0",
    "CREATE INDEX schedules_decided ON schedules(decided_at)",
    "CREATE INDEX slots_by_run ON slots(run_id)",
    "CREATE INDEX requests_of_schedules ON requests(schedule) WHERE schedule IS NOT NULL AND state <> 'done'",
    "CREATE INDEX requests_waiting ON requests(published_id, priority DESC, number) WHERE state = 'waiting'",
    "CREATE INDEX requests_taken ON requests(taken_by) WHERE state = 'taken'",
)

# Requests to be sent on events of runs. Secrets are not here: only where they are, as `env:NAME` and `file:PATH`.
_HOOKS = """
CREATE TABLE hooks (
    name TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    events TEXT NOT NULL,
    published TEXT,
    pipelines TEXT,
    body TEXT NOT NULL,
    headers TEXT NOT NULL,
    secret_headers TEXT NOT NULL,
    secret TEXT,
    created_at TEXT NOT NULL
) WITHOUT ROWID
"""

# One event for one hook. `seen` is what the event changed of the run, which goes on changing; `state` is waiting, sending,
# delivered or dead.
_DELIVERIES = """
CREATE TABLE deliveries (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    hook TEXT NOT NULL REFERENCES hooks(name) ON DELETE CASCADE,
    run_id TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    event TEXT NOT NULL,
    event_at TEXT NOT NULL,
    seen TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    due_at TEXT NOT NULL,
    body TEXT,
    claimed_by TEXT,
    answer INTEGER,
    problem TEXT,
    ended_at TEXT
)
"""

# That a run which had ended is put back to be resumed is no event, but that it starts again is one.
_CHANGES = (
    "new.status <> old.status AND new.status <> 'canceling' "
    "AND NOT (new.status = 'interrupted' AND old.status IN ('failed', 'canceled'))"
)
_EVENT = "iif(new.status = 'running', 'started', new.status)"

#: The SQL function that tells the time; `connect` gives it to each connection. SQLite's own goes by another clock.
NOW = "pipelite_now"
_NOW = f"{NOW}()"

# In the transaction that changes the run: whoever changes it, an event that can be seen has its deliveries. It must not be
# able to fail, for then the run could not go on; so it looks into no JSON but that of the hooks, and that of options
# where it is valid.
_DELIVER = f"""
BEGIN
    INSERT INTO deliveries (id, hook, run_id, event, event_at, seen, state, attempts, due_at)
    SELECT
        'msg_' || lower(hex(randomblob(16))), hooks.name, new.id, {_EVENT}, {_NOW},
        json_object(
            'status', new.status, 'error', substr(new.error, 1, 4000), 'started_at', new.started_at,
            'ended_at', new.ended_at, 'duration_s', new.duration_s
        ),
        'waiting', 0, {_NOW}
    FROM hooks
    WHERE {_EVENT} IN (SELECT value FROM json_each(hooks.events))
        AND (hooks.pipelines IS NULL OR new.pipeline IN (SELECT value FROM json_each(hooks.pipelines)))
        AND (
            hooks.published IS NULL
            OR iif(json_valid(new.options), json_extract(new.options, '$.published.name'), NULL)
                IN (SELECT value FROM json_each(hooks.published))
        );
END
"""

_HOOKING = (
    _HOOKS,
    _DELIVERIES,
    "CREATE INDEX deliveries_waiting ON deliveries(hook, due_at) WHERE state = 'waiting'",
    "CREATE INDEX deliveries_sending ON deliveries(claimed_by) WHERE state = 'sending'",
    "CREATE INDEX deliveries_ended ON deliveries(ended_at) WHERE ended_at IS NOT NULL",
    "CREATE INDEX deliveries_by_run ON deliveries(run_id)",
    f"CREATE TRIGGER hooks_on_start AFTER INSERT ON runs WHEN new.status IN ('queued', 'running') {_DELIVER}",
    f"CREATE TRIGGER hooks_on_change AFTER UPDATE OF status ON runs WHEN {_CHANGES} {_DELIVER}",
)

# When published pipelines run because something happened. `source` says what, as JSON; `generation` counts the decisions
# on files, so that one that was made by what is out of date can be told. `problem` is why the last look failed.
_TRIGGERS = """
CREATE TABLE triggers (
    name TEXT PRIMARY KEY,
    description TEXT,
    published_id TEXT REFERENCES published(id),
    endpoint TEXT REFERENCES endpoints(name),
    experiment TEXT,
    parameters TEXT NOT NULL,
    kind TEXT NOT NULL,
    source TEXT NOT NULL,
    cause_parameter TEXT,
    secret_hash TEXT UNIQUE,
    is_paused INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    problem TEXT,
    changed_at TEXT NOT NULL,
    created_at TEXT NOT NULL,
    CHECK ((published_id IS NULL) <> (endpoint IS NULL))
) WITHOUT ROWID
"""

# The files of a trigger as they were when it was last decided what becomes of them. One that is gone is remembered for
# a while: a disk that comes back is no change.
_WATCHED_FILES = """
CREATE TABLE watched_files (
    trigger_name TEXT NOT NULL REFERENCES triggers(name) ON DELETE CASCADE,
    path TEXT NOT NULL,
    stamp TEXT NOT NULL,
    generation INTEGER NOT NULL,
    gone_at TEXT,
    PRIMARY KEY (trigger_name, path)
) WITHOUT ROWID
"""

# What happened, and what became of it: `outcome` is waiting, fired, skipped or failed.
_FIRINGS = """
CREATE TABLE firings (
    number INTEGER PRIMARY KEY,
    trigger_name TEXT NOT NULL REFERENCES triggers(name) ON DELETE CASCADE,
    at TEXT NOT NULL,
    cause TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT,
    run_id TEXT REFERENCES runs(id) ON DELETE SET NULL,
    decided_at TEXT
)
"""

# In the transaction in which it happens, so that nothing is lost that can be seen. It must not be able to fail, for then
# that could not happen; so it looks into no JSON but that of the triggers, and that of options where it is valid.
_HAPPEN = f"""
BEGIN
    INSERT INTO firings (trigger_name, at, cause, outcome, reason, decided_at)
    SELECT
        triggers.name, {_NOW}, {{cause}}, iif(triggers.is_paused, 'skipped', 'waiting'),
        iif(triggers.is_paused, 'the trigger was paused', NULL), iif(triggers.is_paused, {_NOW}, NULL)
    FROM triggers
    WHERE {{which}};
END
"""
_ENDS = "new.status <> old.status AND new.status IN ('completed', 'failed', 'canceled')"
_RUN_ENDED = _HAPPEN.format(
    cause="json_object('run', new.id, 'status', new.status)",
    which="""triggers.kind = 'run'
        AND new.status IN (SELECT value FROM json_each(triggers.source, '$.states'))
        AND json_extract(triggers.source, '$.pipeline') IN (
            new.pipeline, iif(json_valid(new.options), json_extract(new.options, '$.published.name'), NULL)
        )""",
)
_VERSION_ADDED = _HAPPEN.format(
    cause="json_object('dataset', new.name, 'version', new.version)",
    which="triggers.kind = 'dataset' AND json_extract(triggers.source, '$.dataset') = new.name",
)

_TRIGGERING = (
    _TRIGGERS,
    _WATCHED_FILES,
    _FIRINGS,
    "CREATE INDEX firings_of_triggers ON firings(trigger_name, number)",
    "CREATE INDEX firings_waiting ON firings(number) WHERE outcome = 'waiting'",
    "CREATE INDEX firings_by_run ON firings(run_id)",
    f"CREATE TRIGGER triggers_on_end AFTER UPDATE OF status ON runs WHEN {_ENDS} {_RUN_ENDED}",
    f"CREATE TRIGGER triggers_on_version AFTER INSERT ON datasets {_VERSION_ADDED}",
)

_RUN_SUMMARY = f"""
CREATE VIEW run_summary AS
SELECT
    runs.id, runs.number, runs.pipeline, runs.experiment, runs.status,
    runs.created_at, runs.started_at, runs.ended_at, runs.duration_s,
    count(step_runs.id) AS steps,
    coalesce(sum(step_runs.status = 'completed'), 0) AS computed,
    coalesce(sum(step_runs.status = 'reused'), 0) AS reused,
    coalesce(sum(step_runs.status = 'failed'), 0) AS failed,
    coalesce(sum(step_runs.status = 'skipped'), 0) AS skipped,
    coalesce(sum(step_runs.status = 'running'), 0) AS running,
    runs.parameters, runs.tags, runs.error
FROM runs
LEFT JOIN step_runs ON step_runs.id BETWEEN runs.number * {STEP_RUNS_PER_RUN}
    AND runs.number * {STEP_RUNS_PER_RUN} + {STEP_RUNS_PER_RUN - 1}
GROUP BY runs.number
"""

_STEP_RUN_DETAILS = """
CREATE VIEW step_run_details AS
SELECT
    step_runs.id, step_runs.run_id, runs.number AS run_number, runs.pipeline, runs.experiment,
    runs.status AS run_status, step_runs.position, step_runs.name, step_runs.step, step_runs.status,
    step_runs.reason, step_runs.attempts, step_runs.started_at, step_runs.ended_at, step_runs.duration_s,
    step_runs.cpu_s, step_runs.peak_memory_bytes, step_runs.error, step_runs.key, step_runs.code,
    step_runs.inputs, step_runs."after", step_runs.environment, step_runs.reads,
    coalesce(origin.outputs, step_runs.outputs) AS outputs,
    coalesce(origin.form, step_runs.form) AS form,
    step_runs.computed_by, origin.run_id AS computed_by_run, origin.name AS computed_by_name,
    coalesce(origin.log_file, step_runs.log_file) AS log_file,
    iif(origin.id IS NULL, step_runs.log_start, origin.log_start) AS log_start,
    iif(origin.id IS NULL, step_runs.log_end, origin.log_end) AS log_end
FROM step_runs
JOIN runs ON runs.id = step_runs.run_id
LEFT JOIN step_runs AS origin ON origin.id = step_runs.computed_by
"""

#: Runs that an owner works on or will: the only ones that can turn out to be dead.
OPEN_RUNS = "status IN ('queued', 'running', 'canceling')"

_STATEMENTS = (
    _RUNS,
    _CODE,
    _SOURCES,
    _STEP_RUNS,
    _RESULTS,
    _CLAIMS,
    _ARTIFACTS,
    _METRICS,
    _FILE_DIGESTS,
    _ITEM_IDENTITIES,
    _SETTINGS,
    _GROWTH,
    *_DATA,
    *_PUBLISHING,
    *_HOOKING,
    *_TRIGGERING,
    "CREATE INDEX growth_by_run ON growth(run_id)",
    "CREATE INDEX runs_by_pipeline ON runs(pipeline, number)",
    f"CREATE INDEX runs_open ON runs(owner) WHERE {OPEN_RUNS}",
    "CREATE INDEX metrics_by_step_run ON metrics(step_run_id)",
    _RUN_SUMMARY,
    _STEP_RUN_DETAILS,
)


@attrs.frozen(kw_only=True)
class Migration:
    """One change of the schema."""

    #: The schema that it leads to.
    version: int
    #: For people and for the table in which sqlite-utils keeps what was applied.
    name: str
    #: Runs inside the one transaction of the whole migration, with foreign keys off. `transform` of sqlite-utils does
    #: not know tables without row ids: those are made anew by plain SQL.
    apply: Callable[[sqlite_utils.Database], None]


@attrs.frozen(kw_only=True)
class Schema:
    """What the database of a workspace is to look like."""

    #: Kept in the file as `PRAGMA user_version`; 0 is a file without a schema.
    version: int
    #: Make the newest schema from nothing.
    statements: tuple[str, ...]
    #: Lead from every earlier schema to the newest, in order.
    migrations: tuple[Migration, ...] = ()


def _add_data(database: sqlite_utils.Database) -> None:
    for statement in _DATA:
        database.execute(statement)


def _add_publishing(database: sqlite_utils.Database) -> None:
    for statement in (*_PUBLISHING, *_HOOKING):
        database.execute(statement)


def _add_triggers(database: sqlite_utils.Database) -> None:
    for statement in _TRIGGERING:
        database.execute(statement)
    # Those that had no schedules before have these with them.
    known = database["schedules"].columns_dict
    for name, kind in (
        ("slot_parameter", "TEXT"),
        ("history_days", "INTEGER NOT NULL DEFAULT 90"),
        ("forgotten_until", "TEXT"),
    ):
        if name not in known:
            database.execute(f"ALTER TABLE schedules ADD COLUMN {name} {kind}")


CURRENT = Schema(
    version=4,
    statements=_STATEMENTS,
    migrations=(
        Migration(version=2, name="datastores and datasets", apply=_add_data),
        Migration(version=3, name="published pipelines, their queue, schedules, tokens, hooks", apply=_add_publishing),
        Migration(version=4, name="triggers, parameters of slots, history that is forgotten", apply=_add_triggers),
    ),
)
