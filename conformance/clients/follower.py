"""What every Python client here does with an event: apply it, with other people's appliers, and print the state."""

import json
import sys

import json_merge_patch
import jsonpatch

ABSENT = object()


def applied(value, kind, change):
    """The state that one event leads to."""
    if kind == "snapshot":
        return change
    if kind == "merge":
        return json_merge_patch.merge(value, change)
    if kind == "patch":
        for operation in change:
            try:
                value = jsonpatch.apply_patch(value, [operation], in_place=True)
            except jsonpatch.JsonPatchConflict:
                # PROTOCOL S7: what is to be removed may be gone already.
                if operation["op"] != "remove":
                    raise
        return value
    if kind == "gone":
        return ABSENT
    if kind == "synced":
        return value
    raise ValueError(f"an event of unknown kind {kind}: {change}")


class Follower:
    """Follows one resource: feed it events, it prints `{"id", "value"}` for each state that has a cursor."""

    def __init__(self):
        self.id = None
        self.value = ABSENT

    def take(self, kind, id, change):
        """Takes an event. One without a new cursor is a part of a change: nothing is complete yet (PROTOCOL S5)."""
        self.value = applied(self.value, kind, change)
        if not id or id == self.id:
            return
        self.id = id
        state = {"id": id} if self.value is ABSENT else {"id": id, "value": self.value}
        print(json.dumps(state), flush=True)
        if isinstance(self.value, dict) and self.value.get("end") is True:
            sys.exit(0)

    def headers(self):
        """What a request that resumes carries."""
        accept = {"Accept": "text/event-stream"}
        return accept if self.id is None else accept | {"Last-Event-ID": self.id}
