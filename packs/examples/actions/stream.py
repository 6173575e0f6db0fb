"""Nothing to flush: the runtime has Python write every line at once."""

import json
import sys
import time

seconds = json.load(sys.stdin)["seconds"]
for second in range(1, seconds + 1):
    time.sleep(1)
    print(json.dumps({"second": second, "of": seconds}))
