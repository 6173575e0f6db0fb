-- How often what executions are run by has changed: definitions, and what workers found out and built. Whoever has read it
-- need not read it again while the number is the same.
create table generation (
    number bigint not null
);

insert into generation (number) values (0);

create trigger pack_inserted after insert on pack begin update generation set number = number + 1; end;
create trigger pack_updated after update on pack begin update generation set number = number + 1; end;
create trigger pack_deleted after delete on pack begin update generation set number = number + 1; end;

create trigger runtime_inserted after insert on runtime begin update generation set number = number + 1; end;
create trigger runtime_updated after update on runtime begin update generation set number = number + 1; end;
create trigger runtime_deleted after delete on runtime begin update generation set number = number + 1; end;

create trigger runtime_alias_inserted after insert on runtime_alias begin update generation set number = number + 1; end;
create trigger runtime_alias_updated after update on runtime_alias begin update generation set number = number + 1; end;
create trigger runtime_alias_deleted after delete on runtime_alias begin update generation set number = number + 1; end;

create trigger plugin_grant_inserted after insert on plugin_grant begin update generation set number = number + 1; end;
create trigger plugin_grant_updated after update on plugin_grant begin update generation set number = number + 1; end;
create trigger plugin_grant_deleted after delete on plugin_grant begin update generation set number = number + 1; end;

create trigger runtime_version_inserted after insert on runtime_version begin update generation set number = number + 1; end;
create trigger runtime_version_updated after update on runtime_version begin update generation set number = number + 1; end;
create trigger runtime_version_deleted after delete on runtime_version begin update generation set number = number + 1; end;

create trigger action_inserted after insert on action begin update generation set number = number + 1; end;
create trigger action_updated after update on action begin update generation set number = number + 1; end;
create trigger action_deleted after delete on action begin update generation set number = number + 1; end;

create trigger runtime_installation_inserted after insert on runtime_installation begin update generation set number = number + 1; end;
create trigger runtime_installation_updated after update on runtime_installation begin update generation set number = number + 1; end;
create trigger runtime_installation_deleted after delete on runtime_installation begin update generation set number = number + 1; end;

create trigger detection_scan_inserted after insert on detection_scan begin update generation set number = number + 1; end;
create trigger detection_scan_updated after update on detection_scan begin update generation set number = number + 1; end;
create trigger detection_scan_deleted after delete on detection_scan begin update generation set number = number + 1; end;

create trigger plugin_answer_inserted after insert on plugin_answer begin update generation set number = number + 1; end;
create trigger plugin_answer_updated after update on plugin_answer begin update generation set number = number + 1; end;
create trigger plugin_answer_deleted after delete on plugin_answer begin update generation set number = number + 1; end;

create trigger environment_inserted after insert on environment begin update generation set number = number + 1; end;
create trigger environment_updated after update on environment begin update generation set number = number + 1; end;
create trigger environment_deleted after delete on environment begin update generation set number = number + 1; end;
