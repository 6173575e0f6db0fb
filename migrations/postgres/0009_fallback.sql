-- Whether a worker could run what is required only as its `version_policy: fallback` allows: whoever satisfies it comes first.
alter table worker_requirement add column fallback boolean not null default false;

create index worker_active on worker (id) where status = 'active';
