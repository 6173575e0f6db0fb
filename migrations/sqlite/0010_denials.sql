-- What components asked for and were denied, counted.
create table denial (
    runtime integer not null references runtime (id) on delete cascade,
    component text not null,
    what text not null,
    count bigint not null,
    first_at text not null,
    last_at text not null,
    constraint denial_unique primary key (runtime, component, what)
);
