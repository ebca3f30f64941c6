"""curl with NDJSON (PROTOCOL N1): one frame a line, resumed with `since`."""

import json
import subprocess
import sys

from follower import Follower

follower = Follower()
while True:
    since = [] if follower.id is None else ["--data-urlencode", f"since={follower.id}"]
    accept = ["-H", "Accept: application/x-ndjson"]
    curl = subprocess.Popen(["curl", "-sNG", *accept, *since, sys.argv[1]], stdout=subprocess.PIPE)
    try:
        for line in curl.stdout:
            if not line.endswith(b"\n"):
                break  # cut in the middle of a line
            frame = json.loads(line)
            follower.take(frame["kind"], frame.get("rev"), frame.get("value"))
    finally:
        curl.kill()
        curl.wait()  # Cut: the loop resumes.
