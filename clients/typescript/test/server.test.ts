/** What only a real server shows. Against the real binary. */
import { afterEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
// @ts-expect-error: it has no types
import { startServer } from '../../../conformance/lib/server.mjs';
import { connect, type Options, type Status } from '../src/index.js';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function served(words: string[], options: Options = {}) {
  const server = await startServer(...words);
  ends.push(() => server.stop());
  const api = connect(server.url, { WebSocket: WebSocket as any, transport: 'websocket', ...options });
  ends.push(() => api.close());
  return api;
}

test('a write that is too long for a message of the server disturbs nothing', async () => {
  const api = await served(['--limit', 'message_bytes=65536']);
  const errors: unknown[] = [];
  const live = api.live('/a', { onError: (error) => errors.push(error) });
  await live.ready;
  const states = new Set<Status['state']>();
  api.onStatus(({ state }) => states.add(state));
  const long = 'x'.repeat(100_000);
  const written = await Promise.all([api.put('/a/before', 1), api.put('/a/long', long), api.put('/a/after', 2), api.put('/a/other', long)]);
  expect(written.map(({ created }) => created)).toEqual([true, true, true, true]);
  await new Promise<void>((resolve) => live.on((value) => value?.other !== undefined && value.after === 2 && resolve()));
  expect(live.value).toEqual({ before: 1, long, after: 2, other: long });
  expect(errors).toEqual([]);
  expect(states).not.toContain('refused');
  // Now it is known.
  states.clear();
  await api.put('/a/again', long);
  expect(states).not.toContain('waiting');
});
