// npm eventsource with `delta=false`: each message is the whole value (PROTOCOL E2), `onmessage` is all.
import { EventSource } from 'eventsource';
import { Follower } from './follower.mjs';

const follower = new Follower();
const source = new EventSource(`${process.argv[2]}?delta=false`);
source.onmessage = (event) => follower.take('snapshot', event.lastEventId, event.data);
