-- What waits in a pack, in order: what comes next is found without asking each requirement.
create index execution_queued_of_pack on execution (pack, rank, id) where status = 'queued';
create index requirement_of_pack on requirement (pack);
create index requirement_limited on requirement (id) where concurrency_limit is not null;

-- Which executions have a requirement, so that one that nobody needs any more can be removed.
drop index execution_running;
create index execution_by_requirement on execution (requirement);
create index worker_requirement_by_requirement on worker_requirement (requirement);
