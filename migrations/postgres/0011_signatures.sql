-- Which of the trusted keys a pack was signed with when it was installed.
alter table pack add column verified_by text;
