"""How many executions a second go through the queue, and how long one takes from being asked for to its start.

The base is a bare loop of posix_spawn and wait with as many threads as the worker has slots: once with `/bin/true`, and
once with the script that the action is, since an action can't be faster than its own process. All in one run.

    python3 bench/queue.py [--count N] [--slots N] [--database URL]
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
BINARY = os.environ.get("ATTUNE_BINARY", str(PROJECT / "target/release/attune"))

PACK = {
    "pack.yaml": "ref: bench\nlabel: Bench\nversion: 0.1.0\n",
    "actions/shell.yaml": "ref: bench.shell\nruntime: core.shell\nentry_point: actions/noop.sh\n",
    "actions/noop.sh": "exit 0\n",
}


def spawn_rate(command, count, slots):
    """Processes a second that a bare loop starts and waits for."""
    left = [count]
    lock = threading.Lock()

    def loop():
        while True:
            with lock:
                if left[0] == 0:
                    return
                left[0] -= 1
            os.waitpid(os.posix_spawn(command[0], command, {}), 0)

    threads = [threading.Thread(target=loop) for _ in range(slots)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count / (time.perf_counter() - begin)


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
            if event["event"] == name:
                times[event.get("id")] = time.time()
                if len(times) == count:
                    return times
        sys.exit(f"the worker ended after {len(times)} of {count}")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def attune(env, *arguments):
    done = subprocess.run([BINARY, "--quiet", *arguments], env=env, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True)
    if done.returncode != 0:
        sys.exit(f"attune {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def bench(root, count, slots, database):
    env = {name: value for name, value in os.environ.items() if not name.startswith("ATTUNE_")}
    env["ATTUNE_DATA_DIR"] = str(root / "data")
    if database:
        env["ATTUNE_DATABASE"] = database
    pack = root / "bench"
    for name, text in PACK.items():
        path = pack / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    attune(env, "pack", "install", str(pack))
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


def time_of(text):
    from datetime import datetime
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--slots", type=int, default=os.cpu_count())
    parser.add_argument("--database", help="an empty database on a PostgreSQL server; SQLite unless given")
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="attune-bench-"))
    try:
        bench(root, arguments.count, arguments.slots, arguments.database)
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
