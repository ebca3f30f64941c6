// npm @microsoft/fetch-event-source, which is made for pages: it wants a `window` and a `document`.
import { fetchEventSource } from '@microsoft/fetch-event-source';
import { Follower } from './follower.mjs';

globalThis.window = globalThis;
globalThis.document = new EventTarget();

const follower = new Follower();
await fetchEventSource(process.argv[2], {
  // It remembers an id as soon as it has read the line, before the event is complete. A cut in between would lose the
  // event, so the id of the last complete event goes out instead.
  fetch: (url, { headers: { 'last-event-id': _, ...headers }, ...rest }) => {
    if (follower.id) headers['last-event-id'] = follower.id;
    return fetch(url, { ...rest, headers });
  },
  onmessage: ({ event, id, data }) => data && follower.take(event, id, data),
  onclose() {
    throw new Error('ended'); // otherwise it takes the end of the body for the end of the stream
  },
  onerror() {}, // otherwise as it likes: it reconnects
});
