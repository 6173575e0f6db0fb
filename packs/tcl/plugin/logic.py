"""What Tcl is like: functions without the host, tested by `python3 -m unittest` in this folder."""

import re

MARK = "attune-2f6d8c1b7e904a35"

# Runs unchanged since Tcl 8.4, which takes a script on standard input and nowhere else but in a file.
PROBE = f"""
puts ""
puts {MARK}-begin
puts native=[info patchlevel]
puts executable=[info nameofexecutable]
puts platform=$tcl_platform(machine)-[string tolower $tcl_platform(os)]
puts threads=[expr {{[info exists tcl_platform(threaded)] || [info tclversion] >= 9}}]
if {{![catch {{package require json}} version]}} {{ puts json=$version }}
puts sum=[expr {{6 * 7}}]
puts {MARK}-end
"""

# What is kept of an answer, besides version and path.
ATTRIBUTES = ["platform", "threads", "json"]

STAGES = {"a": "alpha", "b": "beta"}


def facts(output):
    """What an interpreter says about itself, or None if it says nothing of the kind."""
    framed = re.search(f"^{MARK}-begin\n(.*?)^{MARK}-end$", output, re.DOTALL | re.MULTILINE)
    if framed is None:
        return None
    return dict(line.split("=", 1) for line in framed[1].splitlines() if "=" in line)


def semver(native):
    """The semantic version in what Tcl calls its version, such as 8.6.13 or 9.0b2; None if it is not one."""
    match = re.fullmatch(r"(\d+)\.(\d+)([.ab])(\d+)", native, re.ASCII)
    if match is None:
        return None
    major, minor, kind, last = int(match[1]), int(match[2]), match[3], int(match[4])
    return f"{major}.{minor}.{last}" if kind == "." else f"{major}.{minor}.0-{STAGES[kind]}.{last}"


def start(version, interpreter, entry_point, arguments):
    """Arguments that start `entry_point`. Before 9, Tcl reads scripts in the encoding of the locale, of which an action
    knows nothing."""
    encoding = ["-encoding", "utf-8"] if int(version.split(".")[0]) < 9 else []
    return [*encoding, *interpreter, entry_point, *arguments]
