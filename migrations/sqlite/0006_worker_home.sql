-- Which data folder a worker has: two that are called alike by mistake are two all the same.
alter table worker add column home blob;
