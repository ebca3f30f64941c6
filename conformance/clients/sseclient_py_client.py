"""PyPI sseclient-py on requests: it parses, these lines reconnect and resume."""

import json
import sys

import requests
import sseclient

from follower import Follower

follower = Follower()
with requests.Session() as session:
    while True:
        try:
            response = session.get(sys.argv[1], headers=follower.headers(), stream=True, timeout=30)
            for event in sseclient.SSEClient(response).events():
                follower.take(event.event, event.id, json.loads(event.data))
        except requests.RequestException:
            pass  # Cut: the loop resumes.
