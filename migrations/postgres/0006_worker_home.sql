-- The same as for SQLite, with the types of this engine.
alter table worker add column home uuid;
