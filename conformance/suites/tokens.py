"""Makes tokens with PyJWT: a list of [algorithm, key id, key, claims] comes in, a list of tokens goes out."""

import json
import sys

import jwt

wanted = json.load(sys.stdin)
json.dump(
    [
        jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid} if kid else None)
        for algorithm, kid, key, claims in wanted
    ],
    sys.stdout,
)
