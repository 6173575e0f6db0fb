"""The client of graphile-worker, which is asked in SQL. The worker itself runs `tasks/job.js`."""

import sys
import time

import psycopg

DATABASE = psycopg.connect(sys.argv[2], autocommit=True)
asked = 0


def fill(count):
    global asked
    asked += count
    DATABASE.execute("select graphile_worker.add_job('job') from generate_series(1, %s)", [count])


def ask():
    begin = time.time()
    fill(1)
    return [begin]


def ended():
    """What has ended is deleted."""
    return asked - DATABASE.execute("select count(*) from graphile_worker.jobs").fetchone()[0]
