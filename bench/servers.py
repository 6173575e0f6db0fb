"""Redis and PostgreSQL for a benchmark: in a folder of their own, on sockets there, and what they answered for is on
the disk. What is started here ends with this process, however that ends."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

# Where Debian keeps each version's programs.
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
# PostgreSQL refuses to run as root: Debian's package makes this user.
USER = "postgres"
END_MAX = 20  # seconds
START_MAX = 60  # seconds


class Program:
    """A process that is ended with this one, apart from the terminal, so that Ctrl-C ends it in its turn."""

    def __init__(self, command, log, end=signal.SIGTERM, as_user=(), **options):
        self.command, self.log, self.end = command, log, end
        # Of the process, not of a shell before it: this replaces itself.
        guard = ["setpriv", "--pdeathsig", end.name.removeprefix("SIG"), *as_user, "--"]
        with open(log, "ab") as file:
            self.process = subprocess.Popen([*guard, *map(str, command)], stdin=subprocess.DEVNULL, stdout=file,
                                            stderr=file, start_new_session=True, **options)

    def check(self):
        """Ends the benchmark if the process has ended."""
        if self.process.poll() is not None:
            self.fail("ended by itself")

    def fail(self, what):
        sys.exit(f"{' '.join(map(str, self.command))} {what}:\n{Path(self.log).read_text(errors='replace')[-2000:]}")

    def processor_time(self):
        """Seconds, of this process and all below it, with those that they have waited for."""
        below, ticks = {}, {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            # One that ended meanwhile counts with its parent.
            with contextlib.suppress(OSError):
                fields = path.read_text().rsplit(")", 1)[1].split()
                below.setdefault(int(fields[1]), []).append(int(path.parent.name))
                ticks[int(path.parent.name)] = sum(map(int, fields[11:15]))
        left, total = [self.process.pid], 0
        while left:
            pid = left.pop()
            left += below.get(pid, ())
            total += ticks.get(pid, 0)
        return total / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.send_signal(self.end)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_MAX)
        # Whatever it left behind.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def running(program, ready):
    """A server, once this command succeeds."""
    try:
        begin = time.monotonic()
        while subprocess.run(ready, stdin=subprocess.DEVNULL, capture_output=True).returncode != 0:
            program.check()
            if time.monotonic() - begin > START_MAX:
                program.fail("did not start")
            time.sleep(0.05)
        yield program
    finally:
        program.stop()


@contextlib.contextmanager
def redis(folder):
    """It, and the path of its socket. What it acknowledges is on the disk (`appendfsync always`)."""
    folder.mkdir()
    socket = folder / "socket"
    command = ["redis-server", "--port", 0, "--unixsocket", socket, "--dir", folder, "--save", "", "--appendonly",
               "yes", "--appendfsync", "always"]
    with running(Program(command, folder / "log"), ["redis-cli", "-e", "-s", socket, "ping"]) as server:
        yield server, socket


@contextlib.contextmanager
def postgres(folder):
    """It, and what makes an empty database and gives its URL. A commit waits for the disk, as it does by default."""
    folder.mkdir()
    as_user, prefix = (), ()
    if os.geteuid() == 0:
        shutil.chown(folder, USER)
        # The way there; what is in it stays closed.
        folder.parent.chmod(0o711)
        as_user = ("--reuid", USER, "--regid", USER, "--init-groups")
        prefix = ("setpriv", *as_user, "--")
    program = POSTGRES[-1]
    done = subprocess.run([*prefix, program.with_name("initdb"), "--auth", "trust", "--username", "bench", "--encoding",
                           "UTF8", "--locale", "C", "-D", folder / "data"], cwd="/", capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"initdb failed:\n{done.stdout}{done.stderr}")

    def url(name):
        return f"postgres://bench@localhost/{name}?host={folder}"

    def create(name):
        subprocess.run(["psql", url("postgres"), "--quiet", "--command", f"create database {name}"], check=True)
        return url(name)

    command = [program, "-D", folder / "data", "-k", folder, "-c", "listen_addresses=", "-c", "fsync=on", "-c",
               "synchronous_commit=on"]
    server = Program(command, folder / "log", signal.SIGINT, as_user, cwd="/")
    with running(server, ["psql", url("postgres"), "--quiet", "--command", "select 1"]):
        yield server, create
