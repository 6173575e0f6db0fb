"""What the benchmarks share: a data folder of their own, with a pack in it, and the base that queues stand beside."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
BINARY = os.environ.get("ATTUNE_BINARY", str(PROJECT / "target/release/attune"))


@contextlib.contextmanager
def folder(parent=None):
    """A folder that goes away, in this one or in that for temporary files."""
    root = Path(tempfile.mkdtemp(prefix="attune-bench-", dir=parent))
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def variables(root, **more):
    """Those of this process, with a data folder below `root` and nothing else that sets Attune."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("ATTUNE_")}
    return env | {"ATTUNE_DATA_DIR": str(root / "data")} | more


def install(root, env, files):
    """Writes the pack `bench` from its files and installs it."""
    pack = root / "bench"
    for name, text in files.items():
        path = pack / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    attune(env, "pack", "install", str(pack))
    return pack


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


def attune(env, *arguments):
    """What a command prints; one that fails ends the benchmark."""
    done = subprocess.run([BINARY, "--quiet", *arguments], env=env, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True)
    if done.returncode != 0:
        sys.exit(f"attune {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()
