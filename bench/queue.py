"""How many executions a second go through the queue, how long one takes from being asked for to its start, and what a claim
costs with up to a million in the queue, and with a thousand different requirements.

The base is a bare loop of posix_spawn and wait with as many threads as the worker has slots: once with `/bin/true`, and
once with the script that the action is, since an action can't be faster than its own process. All in one run.

    python3 bench/queue.py [--count N] [--slots N] [--depth] [--database URL]
"""

import argparse
import functools
import json
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import time
import urllib.request

from fixture import BINARY, attune, folder, install, spawn_rate, variables

PACK = {
    "pack.yaml": "ref: bench\nlabel: Bench\nversion: 0.1.0\n",
    "actions/shell.yaml": "ref: bench.shell\nruntime: core.shell\nentry_point: actions/noop.sh\n",
    "actions/noop.sh": "exit 0\n",
    "actions/never.yaml": 'ref: bench.never\nruntime: core.shell\nruntime_version_constraint: ">=99"\n'
                          "entry_point: actions/noop.sh\n",
}


class Worker:
    """A worker, and its events with the time at which each was read."""

    def __init__(self, env, slots):
        self.process = subprocess.Popen([BINARY, "worker", "--json", "--slots", str(slots)], env=env,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def until(self, name, count):
        """Times of so many events of this name, by the execution that each is of."""
        times = {}
        for line in self.process.stdout:
            event = json.loads(line)
            if event["event"] == "ready":
                self.monitor = event["monitor"]
            if event["event"] == name:
                times[event.get("id")] = time.time()
                if len(times) == count:
                    return times
        sys.exit(f"the worker ended after {len(times)} of {count}")

    def claims(self):
        """How many claims there were, and how many seconds they took in all."""
        with urllib.request.urlopen(f"http://{self.monitor}/metrics") as answer:
            text = answer.read().decode()
        figure = lambda name: float(re.search(rf"^attune_claim_duration_seconds_{name} (.*)$", text, re.M)[1])
        return figure("count"), figure("sum")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def bench(root, count, slots, database):
    env = variables(root, ATTUNE_MONITOR_ADDRESS="127.0.0.1:0", **({"ATTUNE_DATABASE": database} if database else {}))
    pack = install(root, env, PACK)
    script = ["/bin/bash", "--noprofile", "--norc", str(pack / "actions/noop.sh")]

    # Everything is found and answered once before it counts.
    attune(env, "execution", "enqueue", "bench.shell")
    worker = Worker(env, slots)
    worker.until("ended", 1)
    worker.stop()

    for _ in range(count):
        attune(env, "execution", "enqueue", "bench.shell")
    bare, base = (spawn_rate(command, count, slots) for command in (["/bin/true"], script))
    worker = Worker(env, slots)
    worker.until("ready", 1)
    begin = time.perf_counter()
    worker.until("ended", count)
    rate = count / (time.perf_counter() - begin)
    engine = "PostgreSQL" if database else "SQLite"
    print(f"{engine}, {slots} slots, {count} executions of a shell no-op")
    print(f"through the queue            {rate:8.0f}/s")
    print(f"posix_spawn of /bin/true     {bare:8.0f}/s   ratio {rate / bare:5.2f}   at least 0.6")
    print(f"posix_spawn of the script    {base:8.0f}/s   ratio {rate / base:5.2f}")

    waits = []
    for _ in range(40):
        execution = attune(env, "execution", "enqueue", "bench.shell")
        worker.until("ended", 1)
        row = json.loads(attune(env, "execution", "show", execution, "--json"))
        asked, started = (time_of(row[name]) for name in ("created_at", "started_at"))
        waits.append((started - asked) * 1000 + row["timings"].get("ask", 0) + row["timings"].get("select", 0)
                     + row["timings"].get("environment", 0) + row["timings"].get("launch", 0))
    worker.stop()
    waits.sort()
    print(f"from asking to the process   p50 {statistics.median(waits):6.1f} ms   p95 {waits[37]:6.1f} ms   "
          f"at most {'10 ms' if database else '2 ms and 8 ms in one process'}")
    idle(env, slots)


def idle(env, slots):
    """What a worker costs that has nothing to do, and how soon one is ready that finds all as it was."""
    begin = time.perf_counter()
    worker = Worker(env, slots)
    worker.until("ready", 1)
    ready = (time.perf_counter() - begin) * 1000
    time.sleep(3)
    before = ticks(worker.process.pid)
    time.sleep(10)
    busy = (ticks(worker.process.pid) - before) / os.sysconf("SC_CLK_TCK") / 10
    with open(f"/proc/{worker.process.pid}/status") as status:
        resident = int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1]) / 1024
    worker.stop()
    print(f"idle: ready after {ready:.0f} ms (at most 300), {resident:.0f} MB resident (at most 60), "
          f"{100 * busy:.1f} % of a processor")


def ticks(pid):
    """Of processor time, so far."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def depth(root, slots, database):
    """What a claim costs with ever more that this worker can run and that differ in what they need; then with more and more in
    the queue, half of which it can run and half of which, before the others, nobody can."""
    env = variables(root, ATTUNE_MONITOR_ADDRESS="127.0.0.1:0", **({"ATTUNE_DATABASE": database} if database else {}))
    change = functools.partial(sql, database, root / "data/attune.db")
    print("\n   queued   requirements   a claim")
    for requirements, each in ((1, 1_000), (1_000, 1), (1, 100_000), (1_000, 100)):
        attune(env, "execution", "enqueue", "bench.shell")
        change(REQUIRE.format(requirements))
        change(SPREAD.format(each, requirements))
        claims(env, slots, requirements * each, requirements)
        change("delete from execution where status = 'queued'")
    attune(env, "execution", "enqueue", "bench.never")
    attune(env, "execution", "enqueue", "bench.shell", "--delay", "1s")
    filled = 0
    for queued in (100, 10_000, 1_000_000):
        change(COPY.format((queued - filled) // 2))
        filled = queued
        claims(env, slots, queued, 2)


def claims(env, slots, queued, requirements):
    # What filled the queue is not to be written while claims wait for the disk.
    os.sync()
    worker = Worker(env, slots)
    # Until then it also judges what the queue needs. Of what waits for one need that it can't satisfy, there is little else.
    few = 20 if requirements == 2 else 200
    worker.until("ended", few)
    before = worker.claims()
    worker.until("ended", 2 * few)
    count, seconds = (after - before for after, before in zip(worker.claims(), before))
    worker.stop()
    print(f"{queued:9,}   {requirements:12,}   {1000 * seconds / count:7.2f} ms, mean of {count:.0f}", flush=True)


# Copies of what waits, one of each action: asking for each would take longer than the benchmark.
NUMBERS = "with recursive numbers (number) as (select 1 union all select number + 1 from numbers where number < {})"
COLUMNS = "action, pack, pack_digest, parameters, status, rank, run_at, created_at, warnings, timings, request_digest"
ASKED = """(select execution.*, row_number() over (partition by action) as place
    from execution where status = 'queued') as asked"""
COPY = f"""{NUMBERS} insert into execution (id, requirement, {COLUMNS}) select random_id(), requirement, {COLUMNS}
    from {ASKED}, numbers where place = 1"""
# In turn: the first of each, then the second of each.
SPREAD = f"""{NUMBERS} insert into execution (id, requirement, constraint_override, {COLUMNS})
    select random_id(), requirement.id, constraint_text,
        {", ".join(f"asked.{column}" for column in COLUMNS.split(", ")).replace("asked.rank", "asked.rank + number")}
    from {ASKED}, numbers, requirement
    where place = 1 and constraint_text like '>=0.0.%' and cast(substr(constraint_text, 7) as integer) <= {{}}"""
REQUIRE = f"""{NUMBERS} insert into requirement (runtime, constraint_text, variant, fallback, scope, pack)
    select 'core.shell', '>=0.0.' || number, '', false, 'bench', 'bench' from numbers where true
    on conflict do nothing"""


def sql(database, path, statement):
    """Changes the database behind the worker's back."""
    if database:
        statement = statement.replace("random_id()", "gen_random_uuid()")
        subprocess.run(["psql", database, "--quiet", "--set", "ON_ERROR_STOP=1", "--command", statement], check=True)
        return
    with sqlite3.connect(path, timeout=60) as file:
        file.execute(statement.replace("random_id()", "randomblob(16)"))


def time_of(text):
    from datetime import datetime
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--slots", type=int, default=os.cpu_count())
    parser.add_argument("--depth", action="store_true", help="only what a claim costs")
    parser.add_argument("--database", help="an empty database on a PostgreSQL server; SQLite unless given")
    arguments = parser.parse_args()
    with folder() as root:
        if arguments.depth:
            env = variables(root, **({"ATTUNE_DATABASE": arguments.database} if arguments.database else {}))
            install(root, env, PACK)
        else:
            bench(root, arguments.count, arguments.slots, arguments.database)
        depth(root, arguments.slots, arguments.database)


if __name__ == "__main__":
    main()
