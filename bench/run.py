"""What Attune adds to a process start, and what detection and environments cost.

Each figure stands beside its baseline, measured in turn in the same run: on a shared machine the ratio
is worth more than the milliseconds. Needs a built `target/release/attune` (or ATTUNE_BINARY), a Python that
Attune finds, and, for the comparison with uv, `pip install uv` to work.

    python3 bench/run.py [--runs N]
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

from fixture import BINARY, folder, install, variables

PACK = {
    "pack.yaml": "ref: bench\nlabel: Bench\nversion: 0.1.0\n",
    "actions/shell.yaml": "ref: bench.shell\nruntime: core.shell\nentry_point: actions/noop.sh\n",
    "actions/noop.sh": "exit 0\n",
    "actions/python.yaml": "ref: bench.python\nruntime: core.python\nentry_point: actions/noop.py\n",
    "actions/noop.py": "pass\n",
}


def milliseconds(command, env, folder=None):
    begin = time.perf_counter()
    done = subprocess.run(command, env=env, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    took = (time.perf_counter() - begin) * 1000
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return took


def in_turn(runs, *measures):
    """Medians of several measures, taken in turn after one round that does not count."""
    rows = [[measure() for measure in measures] for _ in range(runs + 1)][1:]
    return [statistics.median(column) for column in zip(*rows)]


def report(what, ours, theirs, baseline, target):
    print(f"{what:<44}{ours:9.1f} ms   {baseline:<28}{theirs:9.1f} ms   "
          f"ratio {ours / theirs:6.2f}   +{ours - theirs:6.1f} ms   {target}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=21)
    runs = parser.parse_args().runs
    with folder() as root:
        bench(root, runs)


def bench(root, runs):
    env = variables(root)
    pack = install(root, env, PACK)

    def attune(*arguments):
        return lambda: milliseconds([BINARY, "--quiet", *arguments], env)

    def run(*command, **options):
        return lambda: milliseconds(list(command), env, **options)

    first = json.loads(subprocess.run([BINARY, "run", "bench.python", "--json"], env=env, capture_output=True,
                                      text=True, check=True).stdout)
    python = first["installation"]["path"]
    shell = shutil.which("bash")
    print(f"interpreter {python}, {runs} runs each, medians\n")

    ours, theirs = in_turn(runs, attune("run", "bench.shell"), run(shell, str(pack / "actions/noop.sh")))
    report("run a shell no-op, warm", ours, theirs, "the script itself", "at most +15 ms")
    ours, theirs = in_turn(runs, attune("run", "bench.python"), run(python, "-c", "pass"))
    report("run a Python no-op, warm", ours, theirs, "python3 -c pass",
           f"at most 1.3x + 10 ms: {'holds' if ours <= 1.3 * theirs + 10 else 'missed'}")

    tools = root / "tools"
    milliseconds([python, "-m", "venv", str(tools)], env)
    milliseconds([str(tools / "bin/pip"), "install", "--quiet", "uv"], dict(os.environ))
    uv = str(tools / "bin/uv")

    few = max(3, runs // 4)

    def uv_list():
        cold = root / "uv-cache"
        shutil.rmtree(cold, ignore_errors=True)
        return milliseconds([uv, "python", "list", "--only-installed", "--cache-dir", str(cold)], env)

    ours, theirs = in_turn(few, attune("runtime", "verify", "core.python"), uv_list)
    report("detect and verify all Pythons, cold", ours, theirs, "uv python list, cold", "at most 0.5x")
    ours, theirs = in_turn(runs, attune("runtime", "detect", "core.python"),
                           run(uv, "python", "list", "--only-installed"))
    report("detect all Pythons, warm", ours, theirs, "uv python list, warm", "under 20 ms")

    def environment():
        shutil.rmtree(root / "data/envs", ignore_errors=True)
        done = subprocess.run([BINARY, "run", "bench.python", "--json"], env=env, capture_output=True, text=True,
                              check=True)
        return json.loads(done.stdout)["timings"]["environment"]

    def fresh(*command):
        def measure():
            shutil.rmtree(root / "venv", ignore_errors=True)
            return milliseconds([*command, str(root / "venv")], env)
        return measure

    ours, uv_venv, venv = in_turn(few, environment, fresh(uv, "venv", "--python", python),
                                  fresh(python, "-m", "venv"))
    report("an environment without dependencies", ours, uv_venv, "uv venv", "at most 3x")
    report("", ours, venv, "python -m venv", f"at least 20x faster: {venv / ours:.0f}x")


if __name__ == "__main__":
    main()
