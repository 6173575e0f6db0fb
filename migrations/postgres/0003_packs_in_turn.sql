-- Limits and fairness by pack: what is required is kept for each pack by itself.

alter table pack add column concurrency bigint;

-- Whose executions share a requirement: those of the action, if only so many of them may run at a time, or of the pack.
alter table requirement rename column limited_action to scope;
alter table requirement add column pack text not null default '';

update requirement set pack = split_part(scope, '.', 1) where scope <> '';

insert into requirement (runtime, constraint_text, variant, fallback, scope, pack)
select distinct shared.runtime, shared.constraint_text, shared.variant, shared.fallback, execution.pack, execution.pack
from execution join requirement as shared on shared.id = execution.requirement
where shared.scope = '';

update execution set requirement = (
    select own.id from requirement as own
    join requirement as shared on shared.id = execution.requirement
    where own.runtime = shared.runtime and own.constraint_text = shared.constraint_text
        and own.variant = shared.variant and own.fallback = shared.fallback and own.scope = execution.pack)
where requirement in (select id from requirement where scope = '');

delete from requirement where scope = '';

-- How many of a pack or an action run, and when one of it was started last.
create index execution_running_of_action on execution (action) where status = 'running';
create index execution_running_of_pack on execution (pack) where status = 'running';
create index execution_started on execution (pack, started_at) where started_at is not null;
