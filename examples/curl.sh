#!/usr/bin/env bash
# The API in curl: read, follow, resume, write. Every recipe works on any path.
# Run `halfping demo`, then `examples/curl.sh [http://127.0.0.1:7070]` (curl 7.82 or newer, for --json).
set -eu
api=${1:-http://127.0.0.1:7070}
bus=$api/vehicles/bus-017
say() { printf '\n# %s\n' "$*"; }
# The cursor of a resource, as If-Match, If-None-Match and since take it.
etag() { curl -sI "$1" | sed -n 's/^etag: "\(.*\)"\r$/\1/Ip'; }

say 'once'
curl -s "$bus/position"; echo

say 'kept open: the value, "synced", then what changes (here the first three lines)'
curl -sN "$bus?watch" | head -n 3

say 'as server-sent events, at most two updates a second, always whole'
curl -sN -H 'Accept: text/event-stream' "$api/fleet?delta=false&rate=2" | grep -m 3 '^data'

say 'long poll: answered when it differs from what you have'
curl -s "$bus/position" -H "If-None-Match: \"$(etag "$bus/position")\"" -H 'Prefer: wait=30'; echo

say 'what changed since a cursor, as one change, then on'
curl -sN "$api/fleet?watch&since=$(etag "$api/fleet")" | head -n 2

say 'the names in a large collection, and no more'
curl -s "$api/vehicles?depth=1" | head -c 60; echo …

say 'a part of it: members for which something is true, and of each what is selected'
curl -sG "$api/vehicles" --data-urlencode 'where=speed_mps > 5 && key() != "bus-017"' -d select=route,speed_mps | head -c 100; echo …

say 'put: 201 for a new resource, 200 for a change'
curl -s -o /dev/null -w '%{http_code}\n' -X PUT --json '{"title":"Lost umbrella","state":"open"}' "$api/tickets/7"

say 'put only if nobody else has changed it: the second is refused'
old=$(etag "$api/tickets/7")
for state in taken stolen; do
  curl -s -o /dev/null -w '%{http_code}\n' -X PUT --json "\"$state\"" "$api/tickets/7/state" -H "If-Match: \"$old\""
done

say 'merge: these members, the others stay; null removes'
curl -s -X PATCH -H 'Content-Type: application/merge-patch+json' -d '{"owner":"Ada","state":"closed"}' "$api/tickets/7"
curl -s "$api/tickets/7"; echo

say 'merge at the root: an atomic write to many paths'
curl -s -X PATCH -H 'Content-Type: application/merge-patch+json' -d '{"tickets":{"8":{"state":"open"}},"open":1}' "$api/"

say 'JSON Patch: all or nothing, with a test'
curl -s -X PATCH -H 'Content-Type: application/json-patch+json' "$api/tickets/7" \
  -d '[{"op":"test","path":"/owner","value":"Ada"},{"op":"remove","path":"/owner"}]'

say 'post: a new member under a key that sorts by time'
curl -s -o /dev/null -w '%header{location}\n' --json '{"text":"Found it"}' "$api/tickets/7/comments"

say 'many paths on one connection'
curl -sN "$api/_streams?path=/tickets/7&path=/open&path=/fleet" | head -n 4

say 'delete'
curl -s -o /dev/null -w '%{http_code}\n' -X DELETE "$api/tickets"
