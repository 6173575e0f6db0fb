"""huey with Redis: the consumer imports this, and so does the client."""

import os
import time

from huey import RedisHuey

import job

# Without a result kept for each, nothing would say that a job ended.
huey = RedisHuey("bench", url=f"unix://{os.environ['BENCH_REDIS']}?db=0", store_none=True)


@huey.task()
def run():
    job.run()


def fill(count):
    for _ in range(count):
        run()


def ask():
    begin = time.time()
    run()
    return [begin]


def ended():
    return huey.storage.result_store_size()
