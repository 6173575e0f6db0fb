-- Environments that have one stable path, but are built with several interpreters, are on record each by itself. What was
-- on record is found again on the disk by the next use.
alter table environment
    -- One label may stand for several.
    add column installation text not null default '',
    drop constraint environment_path_unique;
alter table environment
    alter column installation drop default,
    add constraint environment_path_unique unique (worker, path, installation);

delete from environment;
