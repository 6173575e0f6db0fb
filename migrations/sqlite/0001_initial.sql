-- JSON lives in text columns: SQLite gives a column declared as json numeric affinity.
-- Times are UTC texts as RFC 3339, which sort as they should.

create table pack (
    id integer primary key,
    ref text not null,
    label text not null,
    description text,
    version text not null,
    author text,
    config_schema text,
    tags text not null,
    digest text not null,
    source text not null,
    installed_at text not null,
    constraint pack_ref_unique unique (ref)
);

-- The files are kept by digest, outside the database: two packs may ship the same component.
create table plugin (
    pack integer not null references pack (id) on delete cascade,
    name text not null,
    sha256 text not null,
    size bigint not null,
    contract_version text,
    imports text not null,
    exports text not null,
    constraint plugin_name_unique primary key (pack, name)
);

create table runtime (
    id integer primary key,
    pack integer not null references pack (id) on delete cascade,
    ref text not null,
    name text not null,
    label text not null,
    description text,
    distributions text not null,
    execution_config text not null,
    -- Digest of the component that serves it.
    plugin text,
    plugin_declaration text,
    -- Words that stand for constraints, as the component says: [["lts", "22"], …]
    constraint_aliases text not null,
    constraint runtime_ref_unique unique (ref)
);

create table runtime_alias (
    alias text not null,
    runtime integer not null references runtime (id) on delete cascade,
    constraint runtime_alias_unique primary key (alias, runtime)
);

-- Grants belong to a runtime: one component may serve several, each asking for something else.
create table plugin_grant (
    runtime integer primary key references runtime (id) on delete cascade,
    plugin text not null,
    asked text not null,
    approved text,
    approved_by text,
    approved_at text
);

create table runtime_version (
    id integer primary key,
    runtime integer not null references runtime (id) on delete cascade,
    runtime_ref text not null,
    version text not null,
    version_major bigint,
    version_minor bigint,
    version_patch bigint,
    position bigint not null,
    execution_config text not null,
    distributions text not null,
    is_default boolean not null default false,
    available boolean not null default false,
    verified_at text,
    source text not null default 'declared',
    meta text not null,
    constraint runtime_version_unique unique (runtime, version),
    constraint runtime_version_source check (source in ('declared', 'detected'))
);

create unique index runtime_version_default on runtime_version (runtime) where is_default;

create table worker (
    id blob primary key,
    name text not null,
    host text not null,
    labels text not null,
    status text not null,
    capacity bigint not null,
    version text not null,
    started_at text not null,
    heartbeat_at text not null,
    constraint worker_name_unique unique (name),
    constraint worker_status check (status in ('active', 'draining', 'cordoned', 'stopped', 'lost'))
);

create table runtime_installation (
    id integer primary key,
    worker blob not null references worker (id) on delete cascade,
    runtime integer not null references runtime (id) on delete cascade,
    runtime_version integer references runtime_version (id) on delete set null,
    version text,
    version_major bigint,
    version_minor bigint,
    version_patch bigint,
    native_version text,
    variant text,
    path text not null,
    source text not null,
    aliases text not null,
    attributes text not null,
    identity text,
    status text not null,
    failure_class text,
    failure_message text,
    checks text not null,
    -- What the verdict depends on besides the file: component, commands, settings.
    verified_against text,
    verified_at text not null,
    constraint runtime_installation_path_unique unique (worker, runtime, path),
    constraint runtime_installation_status check (status in ('verified', 'failed', 'rejected'))
);

create index runtime_installation_by_runtime on runtime_installation (runtime, worker);

-- What a detection looked at: while none of it has changed, looking again finds the same.
create table detection_scan (
    worker blob not null references worker (id) on delete cascade,
    runtime integer not null references runtime (id) on delete cascade,
    detected_against text not null,
    folders text not null,
    scanned_at text not null,
    constraint detection_scan_unique primary key (worker, runtime)
);

-- What programs answered to probes whose answers depend on nothing but the program file.
create table tool_probe (
    worker blob not null references worker (id) on delete cascade,
    plugin text not null,
    path text not null,
    invocation text not null,
    identity text not null,
    entry text not null,
    probed_at text not null,
    constraint tool_probe_unique primary key (worker, plugin, path, invocation)
);

-- What components answered, with what that depended on: while it is unchanged, so is the answer.
create table plugin_answer (
    worker blob not null references worker (id) on delete cascade,
    plugin text not null,
    function text not null,
    asked text not null,
    answer text not null,
    answered_at text not null,
    constraint plugin_answer_unique primary key (worker, plugin, function, asked)
);

create table action (
    id integer primary key,
    pack integer not null references pack (id) on delete cascade,
    ref text not null,
    label text not null,
    description text,
    runtime text not null,
    entry_point text not null,
    parameters text,
    output_schema text,
    runtime_version_constraint text,
    runtime_variant text,
    version_policy text not null,
    parameter_delivery text not null,
    parameter_format text not null,
    output_format text not null,
    timeout_ms bigint,
    retries bigint not null,
    concurrency bigint,
    idempotent boolean not null,
    env_vars text not null,
    secrets text not null,
    enabled boolean not null,
    constraint action_ref_unique unique (ref)
);

create table sensor (
    id integer primary key,
    pack integer not null references pack (id) on delete cascade,
    ref text not null,
    label text not null,
    description text,
    runtime text not null,
    entry_point text not null,
    event_schema text,
    runtime_version_constraint text,
    runtime_variant text,
    version_policy text not null,
    env_vars text not null,
    secrets text not null,
    enabled boolean not null,
    constraint sensor_ref_unique unique (ref)
);

create table requirement (
    id integer primary key,
    runtime text not null,
    constraint_text text not null,
    variant text not null default '',
    fallback boolean not null default false,
    -- The action, if only so many of its executions may run at a time; else empty.
    limited_action text not null default '',
    concurrency_limit bigint,
    constraint requirement_unique unique (runtime, constraint_text, variant, fallback, limited_action)
);

-- Which requirements a worker satisfies: it claims only those.
create table worker_requirement (
    worker blob not null references worker (id) on delete cascade,
    requirement integer not null references requirement (id) on delete cascade,
    satisfied boolean not null,
    reason text not null,
    selection text,
    judged_at text not null,
    constraint worker_requirement_unique primary key (worker, requirement)
);

create table execution (
    id blob primary key,
    action text not null,
    pack text not null,
    pack_digest text not null,
    requirement integer references requirement (id),
    parameters text not null,
    status text not null,
    reason text,
    priority bigint not null default 0,
    -- The order in the queue: when it may run, in microseconds, less what its priority is worth.
    rank bigint not null default 0,
    attempt bigint not null default 0,
    retries bigint not null default 0,
    rescues bigint not null default 0,
    idempotent boolean not null default false,
    run_at text not null,
    created_at text not null,
    started_at text,
    finished_at text,
    deadline_at text,
    timeout_ms bigint,
    constraint_override text,
    cancel_requested_at text,
    -- Those that run outside of the queue have none.
    lease_owner blob,
    lease_expires_at text,
    worker blob references worker (id) on delete set null,
    runtime text,
    selected_version text,
    runtime_version text,
    installation_path text,
    installation_identity text,
    selection text,
    environment_key text,
    environment_path text,
    plugin_digest text,
    warnings text not null,
    result text,
    error_class text,
    error_message text,
    exit_code bigint,
    output_incomplete boolean not null default false,
    sandbox text,
    timings text not null,
    idempotency_key text,
    -- Digest of what was asked of the queue.
    request_digest text,
    constraint execution_status check (
        status in ('queued', 'running', 'succeeded', 'failed', 'timed_out', 'cancelled', 'abandoned')
    )
);

create unique index execution_idempotency_key on execution (idempotency_key) where idempotency_key is not null;
create index execution_queued on execution (requirement, rank, id) where status = 'queued';
create index execution_deadline on execution (deadline_at) where status = 'queued' and deadline_at is not null;
create index execution_running on execution (requirement) where status = 'running';
create index execution_leased on execution (lease_owner) where status = 'running';
create index execution_ended on execution (finished_at) where finished_at is not null;
create index execution_by_action on execution (action, id);

create table execution_log (
    execution blob not null references execution (id) on delete cascade,
    attempt bigint not null,
    sequence bigint not null,
    stream text not null,
    bytes blob not null,
    constraint execution_log_unique primary key (execution, attempt, sequence),
    constraint execution_log_stream check (stream in ('stdout', 'stderr'))
);

create table environment (
    id integer primary key,
    worker blob not null references worker (id) on delete cascade,
    pack text not null,
    runtime text not null,
    -- The declared version's label, or empty for the base environment.
    runtime_version text not null,
    -- The folder of the pack that the dependencies are for, or empty for its root.
    scope text not null,
    key text not null,
    path text not null,
    status text not null,
    plan_digest text not null,
    -- What the component was asked when it planned: asking the same again needs no new plan.
    prepared_for text not null,
    stage text,
    size bigint,
    log text,
    error text,
    created_at text not null,
    last_used_at text not null,
    constraint environment_path_unique unique (worker, path),
    constraint environment_status check (status in ('building', 'ready', 'failed', 'broken'))
);

create table event (
    id blob primary key,
    sensor text not null,
    dedupe_key text,
    payload text not null,
    occurred_at text not null,
    received_at text not null,
    constraint event_dedupe_unique unique (sensor, dedupe_key)
);

create table sensor_process (
    sensor integer primary key references sensor (id) on delete cascade,
    worker blob references worker (id) on delete set null,
    status text not null,
    restarts bigint not null default 0,
    restart_at text,
    lease_expires_at text,
    last_error text
);

create table api_token (
    id blob primary key,
    name text not null,
    hash text not null,
    role text not null,
    created_at text not null,
    expires_at text,
    last_used_at text,
    constraint api_token_name_unique unique (name),
    constraint api_token_hash_unique unique (hash)
);
