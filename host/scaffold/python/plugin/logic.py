"""What {{name}} is like: functions without the host, tested by `python3 -m unittest` in this folder."""


def semver(native):
    """The semantic version in what a program calls its version; None if it is not one.

    The host compares semantic versions alone, which have three numbers: what is missing is 0, what is left over
    becomes build metadata."""
    parts = native.split(".")
    if not all(part.isascii() and part.isdigit() for part in parts):
        return None
    numbers = [str(int(part)) for part in parts]
    core = ".".join((numbers + ["0", "0"])[:3])
    rest = ".".join(numbers[3:])
    return f"{core}+{rest}" if rest else core


def start(interpreter, entry_point, arguments):
    """Arguments that start `entry_point`: those of the interpreter's own come first."""
    return [*interpreter, entry_point, *arguments]
