-- What components asked for and were denied, counted.
create table denial (
    runtime bigint not null references runtime (id) on delete cascade,
    component text not null,
    what text not null,
    count bigint not null,
    first_at timestamptz not null,
    last_at timestamptz not null,
    constraint denial_unique primary key (runtime, component, what)
);
