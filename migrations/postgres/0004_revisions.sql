-- The same as for SQLite, with the types of this engine.
alter table pack add column revision uuid not null default '00000000-0000-0000-0000-000000000000';
alter table runtime add column revision uuid not null default '00000000-0000-0000-0000-000000000000';
alter table runtime_version add column revision uuid not null default '00000000-0000-0000-0000-000000000000';
alter table action add column revision uuid not null default '00000000-0000-0000-0000-000000000000';
alter table sensor add column revision uuid not null default '00000000-0000-0000-0000-000000000000';

alter table runtime add column ad_hoc boolean not null default false;
alter table runtime_version add column ad_hoc boolean not null default false;
alter table action add column ad_hoc boolean not null default false;
alter table sensor add column ad_hoc boolean not null default false;
