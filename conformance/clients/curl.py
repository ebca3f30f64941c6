"""curl: `curl -N` in a loop. The format is simple enough to be parsed by hand."""

import json
import subprocess
import sys

from follower import Follower

follower = Follower()
while True:
    headers = [argument for name, value in follower.headers().items() for argument in ("-H", f"{name}: {value}")]
    curl = subprocess.Popen(["curl", "-sN", *headers, sys.argv[1]], stdout=subprocess.PIPE)
    event = {}
    try:
        for line in curl.stdout:
            if not line.endswith(b"\n"):
                break  # cut in the middle of a line
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                event[name] = value
            elif "data" in event:
                follower.take(event["event"], event.get("id"), json.loads(event["data"]))
                event = {}
    finally:
        curl.kill()
        curl.wait()  # Cut: the loop resumes.
