// npm eventsource on `/_streams`: several paths on one stream. A state is complete where an id stands (PROTOCOL M2).
import { EventSource } from 'eventsource';
import { applied, Follower } from './follower.mjs';

const paths = new URL(process.argv[2]).searchParams.getAll('path');
const follower = new Follower();
follower.value = {};
follower.ended = () => paths.every((path) => follower.value[path]?.end === true);

const source = new EventSource(process.argv[2]);
for (const kind of ['snapshot', 'merge', 'patch', 'gone', 'synced']) {
  source.addEventListener(kind, ({ data, lastEventId }) => {
    const { path, value } = JSON.parse(data);
    if (path !== undefined) follower.value[path] = applied(follower.value[path], kind, value);
    follower.reached(lastEventId);
  });
}
