"""PyPI httpx-sse: it parses, these lines reconnect and resume."""

import json
import sys

import httpx
from httpx_sse import connect_sse

from follower import Follower

follower = Follower()
with httpx.Client(timeout=30) as client:
    while True:
        try:
            with connect_sse(client, "GET", sys.argv[1], headers=follower.headers()) as source:
                for event in source.iter_sse():
                    if event.data:  # it also reports a lone `retry:`
                        follower.take(event.event, event.id, json.loads(event.data))
        except httpx.TransportError:
            pass  # Cut: the loop resumes.
