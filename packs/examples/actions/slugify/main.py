"""`slugify` comes from the environment that `requirements.txt` beside this file asks for."""

import json
import sys

from slugify import slugify

parameters = json.load(sys.stdin)
json.dump({"slug": slugify(parameters["text"])}, sys.stdout)
