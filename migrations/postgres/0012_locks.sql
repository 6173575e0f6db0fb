-- Whether the pack's `attune.lock` named the digests of its components when it was installed.
alter table pack add column locked boolean not null default false;
