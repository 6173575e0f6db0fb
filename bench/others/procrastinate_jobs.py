"""procrastinate: the worker imports this, and so does the client."""

import os
import time

import psycopg
from procrastinate import App, PsycopgConnector

import job

URL = os.environ["BENCH_POSTGRES"]
# A connection for every slot, and two for what the worker itself does.
CONNECTIONS = int(os.environ.get("BENCH_SLOTS", 1)) + 2

app = App(connector=PsycopgConnector(conninfo=URL, min_size=CONNECTIONS, max_size=CONNECTIONS))


@app.task
def run():
    job.run()


def fill(count):
    run.batch_defer(*[{} for _ in range(count)])


def ask():
    begin = time.time()
    run.defer()
    return [begin]


def connect():
    global database
    database = psycopg.connect(URL, autocommit=True)
    app.open()
    app.schema_manager.apply_schema()


def ended():
    return database.execute("select count(*) from procrastinate_jobs where status = 'succeeded'").fetchone()[0]
