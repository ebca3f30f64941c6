// npm eventsource, as a page would use it: it reconnects and resumes by itself.
import { EventSource } from 'eventsource';
import { Follower } from './follower.mjs';

const follower = new Follower();
const source = new EventSource(process.argv[2]);
for (const kind of ['snapshot', 'merge', 'patch', 'gone', 'synced']) {
  source.addEventListener(kind, (event) => follower.take(kind, event.lastEventId, event.data));
}
