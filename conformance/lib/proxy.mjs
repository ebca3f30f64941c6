// A TCP proxy that cuts: after a few events, at or inside an event, politely or not.
//
// It knows no HTTP beyond the request's head and the line `retry:`, which it shortens, so that a run with hundreds of
// reconnects is quick. All other bytes pass as they are.
import { connect, createServer } from 'node:net';

const EVENTS_MAX = 4; // whole events that pass before a cut
const BYTES_INTO_EVENT_MAX = 60;

/**
 * The text by which a transport ends an event, which cannot occur inside one, where an event has its kind and its cursor, and what
 * makes a reader forget the cursor before it (PROTOCOL S5, E1).
 */
export const FRAMINGS = {
  sse: { end: '\n\n', kind: /^event: ?(\w+)$/m, cursor: /^id: ?\S/m, forgets: /^id:$/m },
  ndjson: { end: '}\n', kind: /"kind":"(\w+)"/, cursor: /^{"kind":"\w+","rev":/m, forgets: /^{"kind":"snapshot","t":/m },
};

/**
 * Starts a proxy to `port`. It counts its `cuts` and the `kinds` of event that passed (those without a cursor also as
 * `part`), and keeps in `requests` the cursor (or none) with which each request came. `lapses` are requests without one
 * though the reader had one and was not told to forget it.
 */
export async function startProxy({ port, random, framing }) {
  const open = new Set();
  const proxy = { cuts: 0, kinds: new Map(), requests: [], lapses: 0, url: '', stop };
  let hasCursor = false;
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    const ways = ['fin', 'reset', 'end of body'];
    const plan = { events: random.between(0, EVENTS_MAX), inside: random.chance(0.5), way: random.pick(ways) };
    let bytesLeft = plan.inside ? random.between(1, BYTES_INTO_EVENT_MAX) : 0;
    let eventsLeft = plan.events;
    let head = '';
    let event = '';
    open.add(client);
    client.setNoDelay(true);

    const close = () => (upstream.destroy(), client.destroy(), open.delete(client));
    for (const socket of [client, upstream]) socket.on('error', close).on('close', close);
    client.on('data', (bytes) => {
      head += bytes.toString('latin1');
      if (head.includes('\r\n\r\n')) {
        const cursor = cursorIn(head);
        proxy.requests.push(cursor);
        if (hasCursor && cursor === undefined) proxy.lapses += 1;
        hasCursor = cursor !== undefined;
        head = '';
      }
      upstream.write(bytes);
    });
    upstream.on('end', () => client.end());
    client.on('drain', () => upstream.resume());

    upstream.on('data', (bytes) => {
      if (client.destroyed) return;
      let text = bytes.toString('latin1').replace(/^retry: ?\d+/m, (line) => line.replace(/\d/g, '0'));
      const cutAt = whereToCut(text);
      const rest = cutAt === undefined ? '' : text.slice(cutAt);
      text = text.slice(0, cutAt);
      count(text);
      if (cutAt === undefined) {
        if (!client.write(text, 'latin1')) upstream.pause();
        return;
      }
      proxy.cuts += 1;
      upstream.destroy();
      if (plan.way === 'reset') client.write(text, 'latin1', () => client.resetAndDestroy());
      else if (plan.way === 'end of body' && rest === '\r\n') client.end(`${text}\r\n0\r\n\r\n`, 'latin1');
      else client.end(text, 'latin1');
    });

    function count(text) {
      const events = (event + text).split(framing.end);
      event = events.pop();
      // What the end of a cut event says counts as well: some clients read lines, not events.
      if ([...events, event].some((one) => framing.forgets.test(one))) hasCursor = false;
      for (const whole of events) {
        const kind = framing.kind.exec(whole)?.[1];
        for (const seen of framing.cursor.test(whole) ? [kind] : [kind, 'part']) {
          if (kind) proxy.kinds.set(seen, (proxy.kinds.get(seen) ?? 0) + 1);
        }
      }
    }

    /** The place in `text` at which the plan says to cut, or undefined while it does not. */
    function whereToCut(text) {
      let at = 0;
      while (eventsLeft > 0) {
        const found = text.indexOf(framing.end, at);
        if (found < 0) return;
        at = found + framing.end.length;
        eventsLeft -= 1;
      }
      // Nothing of the answer's own head: a client may treat a broken head as a refusal.
      if (plan.events === 0 && text.startsWith('HTTP/')) at = Math.max(at, text.indexOf('\r\n\r\n') + 4);
      const passing = Math.min(bytesLeft, text.length - at);
      bytesLeft -= passing;
      return bytesLeft > 0 ? undefined : at + passing;
    }
  });

  function stop() {
    server.close();
    for (const socket of open) socket.destroy();
  }

  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  proxy.url = `http://127.0.0.1:${server.address().port}`;
  return proxy;
}

/** The cursor with which a request asks to resume, in the header or as `since` (PROTOCOL S8). */
function cursorIn(head) {
  return /^last-event-id: *(\S+)/im.exec(head)?.[1] ?? /^GET \S*[?&]since=([^&\s]+)/.exec(head)?.[1];
}
