-- How often what executions are run by has changed: definitions, and what workers found out and built. Whoever has read it
-- need not read it again while the number is the same.
--
-- A transaction counts once, right before it commits, so that it holds the row for no longer than the commit takes, and
-- never while it waits for another lock.
create table generation (
    number bigint not null,
    counted_by xid8
);

insert into generation (number) values (0);

create function count_change() returns trigger language plpgsql as $$
begin
    update generation set number = number + 1, counted_by = pg_current_xact_id()
    where counted_by is distinct from pg_current_xact_id();
    return null;
end
$$;

create constraint trigger pack_changed after insert or update or delete on pack
    deferrable initially deferred for each row execute function count_change();
create constraint trigger runtime_changed after insert or update or delete on runtime
    deferrable initially deferred for each row execute function count_change();
create constraint trigger runtime_alias_changed after insert or update or delete on runtime_alias
    deferrable initially deferred for each row execute function count_change();
create constraint trigger plugin_grant_changed after insert or update or delete on plugin_grant
    deferrable initially deferred for each row execute function count_change();
create constraint trigger runtime_version_changed after insert or update or delete on runtime_version
    deferrable initially deferred for each row execute function count_change();
create constraint trigger action_changed after insert or update or delete on action
    deferrable initially deferred for each row execute function count_change();
create constraint trigger runtime_installation_changed after insert or update or delete on runtime_installation
    deferrable initially deferred for each row execute function count_change();
create constraint trigger detection_scan_changed after insert or update or delete on detection_scan
    deferrable initially deferred for each row execute function count_change();
create constraint trigger plugin_answer_changed after insert or update or delete on plugin_answer
    deferrable initially deferred for each row execute function count_change();
create constraint trigger environment_changed after insert or update or delete on environment
    deferrable initially deferred for each row execute function count_change();
