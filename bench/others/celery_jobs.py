"""Celery with Redis as broker and for results: the worker imports this, and so does the client."""

import os
import time

import redis
from celery import Celery

import job

SOCKET = os.environ["BENCH_REDIS"]

app = Celery("celery_jobs", broker=f"redis+socket://{SOCKET}?virtual_host=1",
             backend=f"redis+socket://{SOCKET}?virtual_host=2")
# A job that a killed worker had is run again, and no process holds more than it runs, as with the others.
app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, worker_prefetch_multiplier=1,
                broker_connection_retry_on_startup=True)


@app.task
def run():
    job.run()


def fill(count):
    for _ in range(count):
        run.delay()


def ask():
    begin = time.time()
    run.delay()
    return [begin]


def ended():
    """Results less what is not acknowledged yet."""
    broker, results = (redis.Redis(unix_socket_path=SOCKET, db=number) for number in (1, 2))
    return results.dbsize() - broker.hlen("unacked")
