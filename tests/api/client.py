"""Uses what `openapi-python-client` makes of the API's document: client.py URL TOKEN, with the package `generated` to be imported.

Lists what is there, asks for an execution twice under one key, shows and cancels it, and is told what is wrong with a constraint.
"""

import sys

from generated import AuthenticatedClient
from generated.api.actions import list_actions, show_action
from generated.api.executions import cancel, enqueue, show_execution
from generated.api.packs import list_packs
from generated.api.runtimes import show_runtime
from generated.models import NewExecution, Problem

url, token = sys.argv[1:]
client = AuthenticatedClient(base_url=url, token=token)

packs = list_packs.sync(client=client)
assert "core" in [pack.ref for pack in packs.items], packs
actions = list_actions.sync(client=client, pack="core", limit=1)
assert len(actions.items) == 1, actions
assert show_action.sync("core.echo", client=client).runtime == "core.shell"
assert show_runtime.sync("core.shell", client=client).ref == "core.shell"

asked = NewExecution(action="core.echo")
first = enqueue.sync(client=client, body=asked, idempotency_key="generated")
again = enqueue.sync(client=client, body=asked, idempotency_key="generated")
assert (first.id, first.known, again.known) == (again.id, False, True), (first, again)
assert show_execution.sync(str(first.id), client=client).status == "queued"
assert cancel.sync(str(first.id), client=client).status == "cancelled"

wrong = enqueue.sync(client=client, body=NewExecution(action="core.echo", runtime_version_constraint=">=3.12 <"))
assert isinstance(wrong, Problem) and wrong.field == "/runtime_version_constraint" and wrong.position > 1, wrong
print("the generated client works")
