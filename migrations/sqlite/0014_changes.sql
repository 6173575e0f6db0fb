-- What became of executions, for those who follow all of them: kept while somebody does (`until`, in seconds since 1970), and
-- for a while after that. While nobody does, a change costs a look at this row.
create table change_follower (
    until integer not null,
    -- The last that was given to a change.
    number integer not null
);

insert into change_follower (until, number) values (0, 0);

create table execution_change (
    id integer primary key autoincrement,
    -- Given in the order in which changes are seen, so that one that is committed late comes late, and none is passed over.
    number integer,
    execution blob not null,
    action text not null,
    status text not null,
    attempt integer not null,
    reason text,
    -- Milliseconds since 1970.
    at integer not null,
    constraint execution_change_number unique (number)
);

create index execution_change_new on execution_change (id) where number is null;

create trigger execution_inserted after insert on execution
when (select until from change_follower) > unixepoch()
begin
    insert into execution_change (execution, action, status, attempt, reason, at)
    values (new.id, new.action, new.status, new.attempt, new.reason, cast(unixepoch('subsec') * 1000 as integer));
end;

create trigger execution_changed after update of status, attempt on execution
when (old.status <> new.status or old.attempt <> new.attempt) and (select until from change_follower) > unixepoch()
begin
    insert into execution_change (execution, action, status, attempt, reason, at)
    values (new.id, new.action, new.status, new.attempt, new.reason, cast(unixepoch('subsec') * 1000 as integer));
end;

-- SHA-256 of the token that the attempt which runs has for the API.
alter table execution add column token_hash text;
