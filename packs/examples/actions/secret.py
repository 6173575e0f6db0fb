"""Secrets arrive with the parameters on standard input: neither arguments nor variables hold them."""

import json
import sys

secrets = json.load(sys.stdin)["secrets"]
json.dump({"length": len(secrets["api_token"])}, sys.stdout)
