"""How many jobs a second other queues do beside Attune, with equal slots and durability, and how soon a job starts.

The job is the same for all: start one child and record how it ended, as an automation runner does. The child is a
shell script that writes the time at which it runs. Below all is a bare loop of posix_spawn and wait with as many threads as
there are slots, and `xargs -P`; neither records anything. Then each queue as its documentation has it set up:

    Attune            SQLite or PostgreSQL; keeps the output too, which the others throw away. What a killed worker had
                      is run again if the action allows it, and marked otherwise
    huey              Redis, process workers, result kept. What a killed worker had is lost: it is taken before it runs
    Celery            Redis, prefork, result kept, acknowledged after the run: what a killed worker had is run again,
                      after an hour unless set otherwise
    graphile-worker   PostgreSQL, one job at a time and slot, without its local queue and batches. An ended job is
                      deleted; what a killed worker had is run again after four hours
    procrastinate     PostgreSQL. What a killed worker had stays until somebody asks for stalled jobs

Equal durability: what is asked for and what has ended is on the disk before anybody is told so (SQLite `synchronous=full`,
PostgreSQL `synchronous_commit=on`, Redis `appendfsync always`), all on the disk that `--folder` is on.

Jobs a second: the queue is filled, then one worker is started. What counts is from the start of the job after
the first quarter until the queue's own record says that all have ended, so neither the worker's start nor a cold
interpreter does. The processor's time for a job is that of the worker, the server and the child, in the same span; on a
machine that others use as well it is what can be compared best. From asking to the start, with the worker
idle: from before the client's call until the child's own time, so the start of the shell is in it. Attune is
asked by a command: its time is counted from when the execution was created, and from the start of the command in a
line below.

All take turns after a round that does not count, in another order each round; the figures are medians, and a ratio
is the median of the ratios within each round. What is needed is installed below `target/compare` once. Debian's
redis-server, postgresql, nodejs, npm and python3-venv must be there.

    python3 bench/compare.py [--slots N …] [--count N] [--rounds N] [--seconds N] [--binary PATH] [--json]
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from fcntl import F_SETPIPE_SZ, fcntl
from pathlib import Path

import fixture
import servers
from fixture import PROJECT, attune, folder, install, spawn_rate, variables

OTHERS = PROJECT / "bench/others"
TOOLS = PROJECT / "target/compare"
PYPI = ["huey==3.5.4", "celery==5.7.0", "redis==8.1.0", "procrastinate==3.10.0", "psycopg[binary]==3.3.9"]
NPM = ["graphile-worker@0.17.3"]
# What Debian calls each program that must be there.
DEBIAN = {"redis-server": "redis-server", "redis-cli": "redis-server", "psql": "postgresql", "node": "nodejs", "npm": "npm",
          "xargs": "findutils", "setpriv": "util-linux", "bash": "bash"}
JOB_MAX = 60  # seconds

PACK = {
    "pack.yaml": "ref: bench\nlabel: Bench\nversion: 0.1.0\n",
    "actions/job.yaml": "ref: bench.job\nruntime: core.shell\nentry_point: actions/job.sh\n",
}


def tools():
    """Installs the other queues, unless they are there."""
    missing = {package for program, package in DEBIAN.items() if not shutil.which(program)}
    if not servers.POSTGRES:
        missing.add("postgresql")
    if missing:
        sys.exit(f"some programs are missing: apt-get install {' '.join(sorted(missing))}")
    wanted, stamp = "\n".join([sys.version, *PYPI, *NPM]), TOOLS / "installed"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    shutil.rmtree(TOOLS, ignore_errors=True)
    TOOLS.mkdir(parents=True)
    for command in (
        [sys.executable, "-m", "venv", TOOLS / "venv"],
        [TOOLS / "venv/bin/pip", "install", "--quiet", *PYPI],
        ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", TOOLS, *NPM],
    ):
        if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode != 0:
            sys.exit(f"{' '.join(map(str, command))} failed")
    stamp.write_text(wanted)


class Starts:
    """When children started, as each wrote it."""

    def __init__(self, path):
        os.mkfifo(path)
        # For writing too: it never ends, and no child waits for a reader.
        self.pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        fcntl(self.pipe, F_SETPIPE_SZ, 1 << 20)
        self.text = b""

    def clear(self):
        with contextlib.suppress(BlockingIOError):
            while os.read(self.pipe, 1 << 16):
                pass
        self.text = b""

    def take(self, count, check):
        """The next so many, once they are there."""
        deadline = time.monotonic() + JOB_MAX
        while self.text.count(b"\n") < count:
            with contextlib.suppress(BlockingIOError):
                self.text += os.read(self.pipe, 1 << 16)
                continue
            check(self.text.count(b"\n"), time.monotonic() > deadline)
            time.sleep(0.002)
        *lines, self.text = self.text.split(b"\n", count)
        return sorted(float(line.replace(b",", b".")) for line in lines)


class Floor:
    """Processes without a queue."""

    durability = "none"

    def __init__(self, name, measure, starts, script=None):
        self.name, self.measure, self.starts, self.script = name, measure, starts, script

    def turn(self, count, slots, samples):
        before = sum(os.times()[:4])
        rate = self.measure(count, slots)
        processor = (sum(os.times()[:4]) - before) / count
        self.starts.clear()
        return rate, processor, [self.wait() for _ in range(samples)] if self.script else []

    def wait(self):
        time.sleep(random.uniform(0.05, 0.1))
        begin = time.time()
        os.waitpid(os.posix_spawn(self.script[0], self.script, {}), 0)
        return [self.starts.take(1, lambda *_: None)[0] - begin]


class Queue:
    """A queue with a client, which stays, and a worker, which is started for each turn."""

    def __init__(self, name, durability, starts, log, env, client, worker, server=None):
        self.name, self.durability, self.starts, self.log = name, durability, starts, log
        self.env, self.worker, self.server = env, worker, server
        with open(log, "ab") as file:
            self.client = subprocess.Popen(list(map(str, client)), env=env, cwd=OTHERS, text=True, stdin=subprocess.PIPE,
                                           stdout=subprocess.PIPE, stderr=file, start_new_session=True)

    def call(self, *words):
        with contextlib.suppress(BrokenPipeError):
            self.client.stdin.write(f"{' '.join(map(str, words))}\n")
            self.client.stdin.flush()
        answer = self.client.stdout.readline()
        if not answer:
            sys.exit(f"the client of {self.name} ended:\n{self.log.read_text(errors='replace')[-2000:]}")
        return json.loads(answer)

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self.client.stdin.close()
        try:
            self.client.wait(servers.END_MAX)
        except subprocess.TimeoutExpired:
            self.client.kill()
            self.client.wait()

    def turn(self, count, slots, samples):
        """Jobs a second, seconds of processor time for one, and for each sample the seconds from asking to the start."""
        done = self.call("ended") + count
        self.call("fill", count)
        # What the turns before left to be written is nobody's cost here.
        os.sync()
        worker = servers.Program(self.worker(slots), self.log, env=self.env | {"BENCH_SLOTS": str(slots)}, cwd=OTHERS)

        def check(started, is_late):
            worker.check()
            if is_late:
                worker.fail(f"started {started} jobs and no more")

        try:
            # The quarter that does not count, and then the others.
            first = self.starts.take(count // 4, check)
            before = self.processor_time(worker)
            begin = self.starts.take(count - len(first), check)[0]
            self.until_ended(done, check)
            rate = (count - len(first)) / (time.time() - begin)
            processor = (self.processor_time(worker) - before) / (count - len(first))
            waits = []
            for number in range(1, samples + 1):
                time.sleep(random.uniform(0.05, 0.1))
                asked = self.call("ask")
                start = self.starts.take(1, check)[0]
                waits.append([start - moment for moment in asked])
                self.until_ended(done + number, check)
        finally:
            worker.stop()
        return rate, processor, waits

    def processor_time(self, worker):
        return worker.processor_time() + (self.server.processor_time() if self.server else 0)

    def until_ended(self, count, check):
        deadline = time.monotonic() + JOB_MAX
        while (ended := self.call("ended")) != count:
            check(ended, time.monotonic() > deadline)
            time.sleep(0.001)


@contextlib.contextmanager
def systems(root):
    """All that take part, the base first."""
    starts = Starts(root / "starts")
    files = PACK | {"actions/job.sh": f'echo "$EPOCHREALTIME" >{root}/starts\n'}
    clean = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "LANG": "C.UTF-8", "PYTHONPATH": str(OTHERS),
             "PYTHONDONTWRITEBYTECODE": "1"}
    python, scripts = TOOLS / "venv/bin/python", TOOLS / "venv/bin"
    with contextlib.ExitStack() as stack:
        redis, socket = stack.enter_context(servers.redis(root / "redis"))
        postgres, create = stack.enter_context(servers.postgres(root / "postgres"))

        attunes = []
        file = f"sqlite://{root}/file/data/attune.db"
        for name, url, server in ("SQLite", file, None), ("PostgreSQL", create("attune"), postgres):
            # A worker looks for everything that it may need in its first seconds: the other runtimes are not needed here.
            env = variables(root / ("server" if server else "file"), ATTUNE_DATABASE=url, ATTUNE_WORKER_RUNTIMES="shell")
            pack = install(root, env, files)
            # Everything is found and answered once before it counts.
            shell = json.loads(attune(env, "run", "bench.job", "--json"))["installation"]["path"]
            attunes.append((name, url, server, env))
        script = [shell, "--noprofile", "--norc", str(pack / "actions/job.sh")]
        starts.clear()
        env = clean | {"BENCH_JOB": json.dumps(script), "BENCH_REDIS": str(socket)}

        def xargs(count, slots):
            begin = time.perf_counter()
            subprocess.run(["xargs", "-P", str(slots), "-n", "1", *script], input="job\n" * count, text=True, env=clean,
                           check=True)
            return count / (time.perf_counter() - begin)

        def queue(name, durability, server, env, client, worker):
            made = Queue(name, durability, starts, root / f"{name.replace(' ', '-')}.log", env, client, worker, server)
            stack.callback(made.close)
            return made

        all_of_them = [
            Floor("posix_spawn", lambda count, slots: spawn_rate(script, count, slots), starts, script),
            Floor("posix_spawn of /bin/true", lambda count, slots: spawn_rate(["/bin/true"], count, slots), starts),
            Floor("xargs -P", xargs, starts),
        ]
        for name, url, server, own in attunes:
            all_of_them.append(queue(
                f"Attune, {name}", "fsync, rescued or marked", server, own,
                [python, "client.py", "attune_jobs", fixture.BINARY, url],
                lambda slots: [fixture.BINARY, "worker", "--slots", slots]))
        all_of_them.append(queue(
            "huey, Redis", "fsync, at most once", redis, env, [python, "client.py", "huey_jobs"],
            lambda slots: [scripts / "huey_consumer", "huey_jobs.huey", "-k", "process", "-w", slots]))
        all_of_them.append(queue(
            "Celery, Redis", "fsync, at least once", redis, env, [python, "client.py", "celery_jobs"],
            lambda slots: [scripts / "celery", "-A", "celery_jobs", "worker", "--pool", "prefork", "--concurrency", slots,
                           "--loglevel", "warning"]))
        url = create("graphile")
        program = [TOOLS / "node_modules/.bin/graphile-worker", "--connection", url]
        subprocess.run([*program, "--schema-only"], env=env, cwd=OTHERS, check=True, capture_output=True)
        all_of_them.append(queue(
            "graphile-worker", "fsync, at least once", postgres, env, [python, "client.py", "graphile_jobs", url],
            lambda slots: [*program, "--jobs", slots, "--max-pool-size", slots + 2]))
        all_of_them.append(queue(
            "procrastinate", "fsync, stays", postgres, env | {"BENCH_POSTGRES": create("procrastinate")},
            [python, "client.py", "procrastinate_jobs"],
            lambda slots: [scripts / "procrastinate", "--app", "procrastinate_jobs.app", "worker", "--concurrency", slots]))
        yield all_of_them


def disk(root):
    """Milliseconds for a page and the wait until it is on the disk."""
    times = []
    with open(root / "page", "wb", buffering=0) as file:
        for _ in range(50):
            begin = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)


def bench(root, arguments):
    """The rows of the table, and what else is worth knowing about the run."""
    start = time.monotonic()
    load = os.getloadavg()[0]
    waited = disk(root)
    rates, processors, waits = {}, {}, {}
    with systems(root) as all_of_them:
        for system in all_of_them:
            progress("the round that does not count", system)
            system.turn(arguments.count, arguments.slots[0], 0)
        begin, longest, number = time.monotonic(), 0, 0
        # A machine that others use as well has time for fewer rounds, not for fewer jobs in each.
        while number < arguments.rounds and (number == 0 or begin + longest < start + arguments.seconds):
            for turn, slots in enumerate(arguments.slots, number * len(arguments.slots)):
                first = turn * len(all_of_them) // (arguments.rounds * len(arguments.slots))
                for system in all_of_them[first:] + all_of_them[:first]:
                    progress(f"round {number + 1} of {arguments.rounds}, {slots} slots", system)
                    # It is idle whatever the slots are.
                    samples = arguments.samples if slots == arguments.slots[0] else 0
                    rate, processor, more = system.turn(arguments.count, slots, samples)
                    rates.setdefault((slots, system.name), []).append(rate)
                    processors.setdefault((slots, system.name), []).append(1000 * processor)
                    waits.setdefault(system.name, []).extend(more)
            longest = max(longest, time.monotonic() - begin)
            begin, number = time.monotonic(), number + 1
        print(f"\r{'':70}\r", end="", file=sys.stderr)
        rows = [row(system, slots, rates, processors, waits, all_of_them[0].name, arguments) for slots in arguments.slots
                for system in all_of_them]
    return {
        "processors": os.cpu_count(), "load_before": load, "load_after": os.getloadavg()[0], "disk_ms": waited,
        "count": arguments.count, "rounds": number, "versions": [*PYPI, *NPM], "rows": rows,
    }


def progress(what, system):
    print(f"\r{f'{what}: {system.name}':<70}", end="", file=sys.stderr)


def row(system, slots, rates, processors, waits, base, arguments):
    all_rates = rates[slots, system.name]
    made = {
        "system": system.name, "slots": slots, "durability": system.durability,
        "jobs_per_second": statistics.median(all_rates), "lowest": min(all_rates), "highest": max(all_rates),
        "ratio": statistics.median(own / other for own, other in zip(all_rates, rates[slots, base])),
        "processor_ms": statistics.median(processors[slots, system.name]),
    }
    if slots == arguments.slots[0] and waits[system.name]:
        for name, column in zip(("", "_with_command"), zip(*waits[system.name])):
            made[f"p50{name}_ms"], made[f"p95{name}_ms"] = percentiles(column)
    return made


def percentiles(seconds):
    """The middle one and the one that a twentieth are above, in milliseconds."""
    ordered = sorted(1000 * value for value in seconds)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)]


def report(run):
    print(f"{run['count']} jobs a turn, {run['rounds']} rounds, {run['processors']} processors, "
          f"load {run['load_before']:.1f} before and {run['load_after']:.1f} after, "
          f"{run['disk_ms']:.2f} ms for a page to be on the disk")
    print(", ".join(run["versions"]))
    slots = None
    for row in run["rows"]:
        if row["slots"] != slots:
            slots = row["slots"]
            print(f"\n{'':<26}slots   {'durability':<25}  jobs/s   lowest to highest    ratio   processor"
                  "      p50      p95 ms")
        waits = f"{row['p50_ms']:9.1f}{row['p95_ms']:9.1f}" if "p50_ms" in row else ""
        print(f"{row['system']:<26}{slots:5}   {row['durability']:<25}{row['jobs_per_second']:8.0f}   "
              f"{row['lowest']:6.0f} to {row['highest']:6.0f}   {row['ratio']:8.2f}{row['processor_ms']:9.1f} ms{waits}")
    print()
    for row in run["rows"]:
        if "p50_with_command_ms" in row:
            print(f"{row['system']}, from the start of the command that asks: p50 {row['p50_with_command_ms']:.1f} ms, "
                  f"p95 {row['p95_with_command_ms']:.1f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--count", type=int, default=200, help="jobs a turn")
    parser.add_argument("--rounds", type=int, default=3, help="at most")
    parser.add_argument("--seconds", type=int, default=280, help="no round is begun that would end later")
    parser.add_argument("--samples", type=int, default=15, help="of a job's start, a round")
    parser.add_argument("--binary", default=fixture.BINARY)
    parser.add_argument("--folder", default="/var/tmp", help="on the disk that counts, not in memory")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    fixture.BINARY = str(Path(arguments.binary).resolve())
    # Ends what was started, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by TERM"))
    tools()
    with folder(arguments.folder) as root:
        run = bench(root, arguments)
    print(json.dumps(run, indent=2)) if arguments.json else report(run)


if __name__ == "__main__":
    main()
