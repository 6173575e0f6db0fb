"""Parameters arrive on standard input as one JSON object, never on the command line."""

import json
import sys

parameters = json.load(sys.stdin)
print(f"Hello, {parameters['name']}!")
