-- Environments that have one stable path, but are built with several interpreters, are on record each by itself. What was
-- on record is found again on the disk by the next use.
drop table environment;

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
    -- The interpreter that it is built with: one label may stand for several.
    installation text not null,
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
    constraint environment_path_unique unique (worker, path, installation),
    constraint environment_status check (status in ('building', 'ready', 'failed', 'broken'))
);

create trigger environment_inserted after insert on environment begin update generation set number = number + 1; end;
create trigger environment_updated after update on environment begin update generation set number = number + 1; end;
create trigger environment_deleted after delete on environment begin update generation set number = number + 1; end;
