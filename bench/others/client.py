"""The client of a queue, for `compare.py`: a command a line on standard input, an answer in JSON for each.

    python client.py MODULE ARGUMENT…

The module has, besides `connect()` if something must be done once by the client alone:

fill(count): asks for so many jobs at once; its time does not count.
ask(): asks for one job, and returns the times, in seconds, from which its start can be counted.
ended(): how many jobs are recorded as ended, of all that there ever were.
"""

import importlib
import json
import sys

# Not this file itself: workers look for jobs under the name of the module that has them.
queue = importlib.import_module(sys.argv[1])
if hasattr(queue, "connect"):
    queue.connect()
for line in sys.stdin:
    name, *numbers = line.split()
    print(json.dumps(getattr(queue, name)(*map(int, numbers))), flush=True)
