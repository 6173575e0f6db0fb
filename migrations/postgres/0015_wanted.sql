-- What somebody wants of a worker: to take nothing more ('cordoned'), or to end when what it runs has ended ('drained').
alter table worker add column wanted text;
