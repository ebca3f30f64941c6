"""What the tree must be after a replay, found without any of Halfping's code.

    replay_oracle.py FILE.ndjson.gz    replays the file (each line {"t", "path", "value"}) and prints the final tree
    replay_oracle.py -                 prints the JSON document on standard input in the same canonical form

so that `diff <(replay_oracle.py FILE.ndjson.gz) <(curl -s URL/ | replay_oracle.py -)` says nothing.
"""

import gzip
import json
import sys
from urllib.parse import unquote


def replayed(lines):
    tree = {}
    for line in lines:
        update = json.loads(line)
        *ancestors, last = [unquote(segment) for segment in update["path"].strip("/").split("/")]
        node = tree
        for segment in ancestors:
            node = node.setdefault(segment, {})
        node[last] = update["value"]
    return tree


if len(sys.argv) != 2:
    sys.exit(__doc__)
tree = json.load(sys.stdin) if sys.argv[1] == "-" else replayed(gzip.open(sys.argv[1], "rt", encoding="utf-8"))
json.dump(tree, sys.stdout, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
print()
