-- What identifies a state of a row: another one with every change that somebody asks for, never the same again. What
-- workers find out about a version, its availability, is none.
alter table pack add column revision blob not null default x'00000000000000000000000000000000';
alter table runtime add column revision blob not null default x'00000000000000000000000000000000';
alter table runtime_version add column revision blob not null default x'00000000000000000000000000000000';
alter table action add column revision blob not null default x'00000000000000000000000000000000';
alter table sensor add column revision blob not null default x'00000000000000000000000000000000';

-- Made by somebody, not by a pack: no installation of the pack takes it away.
alter table runtime add column ad_hoc boolean not null default false;
alter table runtime_version add column ad_hoc boolean not null default false;
alter table action add column ad_hoc boolean not null default false;
alter table sensor add column ad_hoc boolean not null default false;
