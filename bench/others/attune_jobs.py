"""Attune's client, for either database: executions are asked for by the command, as anybody does."""

import os
import sqlite3
import subprocess
import sys
import time
from datetime import datetime

import psycopg

BINARY, URL = sys.argv[2:]
IS_SERVER = URL.startswith("postgres:")
# Both commit each statement by itself.
DATABASE = (psycopg.connect(URL, autocommit=True) if IS_SERVER
            else sqlite3.connect(URL.removeprefix("sqlite://"), isolation_level=None))
NEW = "gen_random_uuid()" if IS_SERVER else "randomblob(16)"


def enqueue():
    subprocess.run([BINARY, "--quiet", "execution", "enqueue", "bench.job"], env=os.environ, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, check=True)


def fill(count):
    """One is asked for, the others are copies: a process for each would take longer than the benchmark."""
    enqueue()
    columns = [column[0] for column in DATABASE.execute("select * from execution limit 0").description]
    names = ", ".join(name for name in columns if name != "id")
    if count > 1:
        DATABASE.execute(
            f"""with recursive copies (number) as
                (select 1 union all select number + 1 from copies where number < {count - 1})
            insert into execution (id, {names}) select {NEW}, {names}
            from (select * from execution where status = 'queued' limit 1) as queued, copies""")


def ask():
    """When it was created, which the command writes before it commits, and when the command was started."""
    begin = time.time()
    enqueue()
    created = DATABASE.execute("select max(created_at) from execution").fetchone()[0]
    if isinstance(created, str):
        created = datetime.fromisoformat(created)
    return [created.timestamp(), begin]


def ended():
    return DATABASE.execute("select count(*) from execution where status = 'succeeded'").fetchone()[0]
