-- Only what is of this pack may be changed with a token.
alter table api_token add column pack text;
alter table api_token add column revoked_at text;

-- Who changed what by the API, and what came of it. Nothing is changed or deleted here.
create table audit (
    id integer primary key autoincrement,
    at text not null,
    token text not null,
    role text not null,
    method text not null,
    path text not null,
    status integer not null,
    request_id text not null
);

create trigger audit_is_not_changed before update on audit
begin
    select raise(abort, 'the audit is append-only');
end;
create trigger audit_is_not_deleted before delete on audit
begin
    select raise(abort, 'the audit is append-only');
end;
