/** What only a real server shows. Against the real binary. */
import { afterEach, expect, test, vi } from 'vitest';
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

test('over the WebSocket alone, a wrong path is said to be one', async () => {
  const { url } = await served([]);
  const warned = vi.spyOn(console, 'warn').mockImplementation(() => {});
  ends.push(() => warned.mockRestore());
  const stray = connect(`${url}wrong`, { WebSocket: WebSocket as any, transport: 'websocket' });
  ends.push(() => stray.close());
  stray.on('/fleet', () => {});
  await vi.waitFor(() => expect(stray.status.error).toBeDefined(), 10_000);
  expect(stray.status).toMatchObject({ state: 'waiting', error: { type: 'not-found', status: 404 }, hint: expect.stringContaining('the API begins at another path') });
});

test('the cursor of a mirror compares, whatever else was written, and what was changed back has changed', async () => {
  const api = await served([]);
  await api.put('/doc', 1);
  await api.put('/other', 1);
  const live = api.live('/doc');
  await live.ready;
  await api.put('/doc', 2, { ifMatch: live.rev! });
  await vi.waitFor(() => expect(live.value).toBe(2));
  const before = live.rev!;
  await api.put('/doc', 3);
  await api.put('/doc', 2);
  await expect(api.put('/doc', 4, { ifMatch: before })).rejects.toMatchObject({ type: 'precondition-failed' });
  await vi.waitFor(() => expect([live.value, live.rev !== before]).toEqual([2, true]));
  await api.put('/doc', 4, { ifMatch: live.rev! });
});
