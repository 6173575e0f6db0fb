"""What the API does under load: how long reads take at a steady rate, how many executions a second it takes into the queue,
and what open streams of events cost in memory.

The load is made by `oha`, on the same machine: `cargo install --locked oha`, or `--oha PATH`. The base is what the same server
answers without looking anything up (`/health/live`), in the same run. SQLite first, then a PostgreSQL server of its own.

    python3 bench/api.py [--seconds N] [--streams N] [--oha PATH]
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

import servers
from fixture import BINARY, PROJECT, attune, folder, install, variables

PACK = {
    "pack.yaml": "ref: bench\nlabel: Bench\nversion: 0.1.0\n",
    "actions/shell.yaml": "ref: bench.shell\nruntime: core.shell\nentry_point: actions/noop.sh\n",
    "actions/noop.sh": "exit 0\n",
}
RATE = 500  # reads a second
READERS = 20  # connections
WRITERS = 64  # connections
FILLED = 1_000  # executions that are there


class Server:
    """The API in a data folder of its own. No worker beside it: what it takes in stays in the queue."""

    def __init__(self, env):
        self.process = subprocess.Popen([BINARY, "serve", "--listen", "127.0.0.1:0", "--json"], env=env,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.event = json.loads(self.process.stdout.readline())
        self.token = (Path(env["ATTUNE_DATA_DIR"]) / "admin.token").read_text().strip()
        self.address = self.event["address"]

    def url(self, path):
        return f"{self.event['url']}{path}"

    def ask(self, path, body=None):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        with urlopen(Request(self.url(path), headers=headers, data=body and json.dumps(body).encode())) as answer:
            return json.load(answer)

    def memory(self):
        """MiB that are this process's alone."""
        lines = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith("kB")}
        return sizes["Pss"] / 1024

    def stop(self):
        self.process.terminate()
        self.process.wait()


def load(oha, server, url, seconds, *arguments):
    """What `oha` measured: requests a second, and milliseconds by percentile. Ends the benchmark if any was not answered well."""
    command = [oha, "--no-tui", "--output-format", "json", "-z", f"{seconds}s", "-H", f"Authorization: Bearer {server.token}",
               *map(str, arguments), url]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{oha} failed:\n{done.stderr}")
    measured = json.loads(done.stdout)
    bad = {code: count for code, count in measured["statusCodeDistribution"].items() if not code.startswith("2")}
    # Those that are being answered when the time is over.
    failed = {what: count for what, count in measured["errorDistribution"].items() if "deadline" not in what}
    if bad or failed:
        sys.exit(f"{url}: {bad or ''} {failed or ''}")
    percentiles = {name: value * 1_000 for name, value in measured["latencyPercentiles"].items() if value is not None}
    return measured["summary"]["requestsPerSec"], percentiles


async def streams(server, count):
    """Opens so many streams of events; each has shown its first event."""
    async def one(path):
        reader, writer = await asyncio.open_connection(*server.address.rsplit(":", 1), limit=1 << 16)
        writer.write(f"GET /api/v1{path} HTTP/1.1\r\nHost: {server.address}\r\nAuthorization: Bearer {server.token}\r\n\r\n".encode())
        line = await reader.readline()
        if b" 200 " not in line:
            sys.exit(f"a stream was refused: {line!r}")
        while not line.startswith((b"id:", b"data:")):
            line = await reader.readline()
        return reader, writer

    ids = [item["id"] for item in server.ask(f"/executions?limit={min(count, 500)}")["items"]]
    paths = ["/executions/stream" if number % 10 == 0 else f"/executions/{ids[number % len(ids)]}/stream"
             for number in range(count)]
    begin = time.monotonic()
    opened = await asyncio.gather(*map(one, paths))
    took = time.monotonic() - begin
    await asyncio.sleep(2)
    memory = server.memory()
    for _, writer in opened:
        writer.close()
    return took, memory


def bench(oha, root, seconds, count, database):
    engine = "PostgreSQL" if database else "SQLite"
    env = variables(root, **({"ATTUNE_DATABASE": database} if database else {}))
    install(root, env, PACK)
    server = Server(env)
    try:
        for _ in range(FILLED):
            server.ask("/executions", {"action": "bench.shell"})
        shown = server.ask("/executions?limit=1")["items"][0]["id"]
        print(f"\n{engine}: {RATE} reads a second, {READERS} connections, {seconds} s each")
        base = None
        for what, url in [("nothing looked up", f"http://{server.address}/health/live"), ("an action", server.url("/actions/bench.shell")),
                          ("an execution", server.url(f"/executions/{shown}")), ("50 executions", server.url("/executions")),
                          ("packs", server.url("/packs"))]:
            _, latency = load(oha, server, url, seconds, "-c", READERS, "-q", RATE, "--latency-correction")
            base = base or latency
            print(f"  {what:18} p50 {latency['p50']:6.2f} ms, p99 {latency['p99']:6.2f} ms ({latency['p99'] / base['p99']:.1f}x; under 10 ms asked)")
        rate, latency = load(oha, server, server.url("/executions"), seconds, "-c", WRITERS, "-m", "POST", "-T", "application/json",
                             "-d", '{"action":"bench.shell"}')
        print(f"  into the queue     {rate:,.0f} a second (1,000 asked), {WRITERS} connections, p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms")
        before = server.memory()
        took, memory = asyncio.run(streams(server, count))
        print(f"  {count} streams        opened in {took:.1f} s; {memory:.0f} MiB with them (150 asked), {before:.0f} before")
    finally:
        server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--oha", default=shutil.which("oha") or str(PROJECT / "target/bench-tools/bin/oha"))
    arguments = parser.parse_args()
    if not os.access(arguments.oha, os.X_OK):
        parser.error("there is no oha: cargo install --locked oha")
    with folder() as root:
        bench(arguments.oha, root, arguments.seconds, arguments.streams, None)
    with folder() as root, contextlib.ExitStack() as stack:
        _, create = stack.enter_context(servers.postgres(root / "postgres"))
        bench(arguments.oha, root, arguments.seconds, arguments.streams, create("attune"))


if __name__ == "__main__":
    main()
