/** Behaviour that only a real server shows, with the real binary. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
// @ts-expect-error: it has no types
import { startServer } from '../../../conformance/lib/server.mjs';
import { connect, type Options, sorted, type Status } from '../src/index.js';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function served(words: string[], options: Options = {}) {
  const server = await startServer(...words);
  ends.push(() => server.stop());
  return connectedTo(server.url, options);
}

function connectedTo(url: string, options: Options = {}) {
  const api = connect(url, { WebSocket: WebSocket as any, transport: 'websocket', ...options });
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

/** A client of a URL at which no server of ours is, and the errors that it reports. */
function strayed(url: string, transport: 'auto' | 'websocket') {
  const errors: any[] = [];
  const api = connect(url, { WebSocket: WebSocket as any, transport, onError: (error) => errors.push(error) });
  ends.push(() => api.close());
  return { api, errors };
}

test.each(['auto', 'websocket'] as const)('nobody at all is reported once, and tried again until somebody is there: %s', async (transport) => {
  const first = await startServer();
  await first.stop();
  const { api, errors } = strayed(first.url, transport);
  api.on('/a', () => {});
  const waits = vi.fn();
  api.onStatus(({ state }) => state === 'waiting' && waits());
  await vi.waitFor(() => expect(waits.mock.calls.length).toBeGreaterThan(2), 10_000);
  expect(errors).toMatchObject([{ type: 'offline', detail: expect.stringContaining(`no readable answer from ${api.url}`) }]);
  const second = await startServer('--port', `${first.port}`);
  ends.push(() => second.stop());
  await vi.waitFor(() => expect(api.status.state).toBe('live'), 15_000);
  expect(errors).toHaveLength(1);
});

test.each(['auto', 'websocket'] as const)('a server of pages that takes every WebSocket and answers none is said to be none of ours: %s', async (transport) => {
  const pages = createServer((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html>'));
  pages.on('upgrade', () => {});
  await new Promise<void>((resolve) => pages.listen(0, '127.0.0.1', resolve));
  ends.push(() => (pages.closeAllConnections(), pages.close()));
  const { api, errors } = strayed(`127.0.0.1:${(pages.address() as AddressInfo).port}`, transport);
  api.on('/a', () => {});
  await vi.waitFor(() => expect(errors).toHaveLength(1), 15_000);
  expect(errors).toMatchObject([{ type: 'bad-answer', status: 200, detail: expect.stringContaining('not as Halfping does'), hint: expect.stringContaining('elsewhere') }]);
  expect(api.status.error).toBe(errors[0]);
});

test('a rate or a depth that is none is refused once, and said to be one', async () => {
  const api = await served([]);
  for (const [shape, says] of [[{ rate: -1 }, 'rate'], [{ rate: 0 }, 'rate'], [{ depth: -1 }, 'depth'], [{ priority: 4 as 3 }, 'priority']] as const) {
    const onError = vi.fn();
    api.on('/a', () => {}, { ...shape, onError });
    await vi.waitFor(() => expect(onError).toHaveBeenCalled());
    expect(onError.mock.calls).toMatchObject([[{ type: 'bad-command', detail: expect.stringContaining(`'${says}' is`) }]]);
  }
});

test('over the WebSocket alone, a wrong path is said to be one', async () => {
  const { url } = await served([]);
  const { api: stray, errors } = strayed(`${url}wrong`, 'websocket');
  stray.on('/fleet', () => {});
  await vi.waitFor(() => expect(stray.status.error).toBeDefined(), 10_000);
  expect(stray.status).toMatchObject({ state: 'waiting', error: { type: 'not-found', status: 404 }, hint: expect.stringContaining('the API is elsewhere') });
  expect(errors).toMatchObject([{ type: 'not-found' }]);
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

test.each(['websocket', 'events'] as const)('a view shows what fits and no more, and is refused where it cannot be read: %s', async (transport) => {
  const api = await served([], { transport });
  await api.put('/v', { a: { n: 1, long: 'x' }, b: { n: 5, long: 'y' }, c: { n: 9, long: 'z' } });
  const view = { where: 'n > 3 && key() != "z"', select: 'n' };
  const live = api.live('/v', view);
  await live.ready;
  const told: unknown[] = [];
  live.members((key, value) => told.push([key, value]));
  expect(live.value).toEqual({ b: { n: 5 }, c: { n: 9 } });
  expect(await api.get('/v', view)).toMatchObject({ value: live.value });
  await vi.waitFor(() => expect(told).toHaveLength(2));
  // One leaves, one comes, one changes where nobody looks, one changes.
  await api.put('/v/b/n', 2);
  await api.put('/v/a/n', 4);
  await api.put('/v/c/long', 'new');
  await api.put('/v/c/n', 8);
  await vi.waitFor(() => expect(live.value).toEqual({ a: { n: 4 }, c: { n: 8 } }));
  expect(told.slice(2)).toEqual([['b', undefined], ['a', { n: 4 }], ['c', { n: 8 }]]);
  expect(sorted(live.value, '-n').map(([name]) => name)).toEqual(['c', 'a']);
  // What changed in it meanwhile is one change.
  api.disconnect();
  const other = connectedTo(api.url);
  await other.merge('/v', { a: { n: 3 }, b: { n: 7 }, c: { long: 'newer' } });
  api.reconnect();
  await vi.waitFor(() => expect(live.value).toEqual({ b: { n: 7 }, c: { n: 8 } }), 10_000);
  await expect(api.get('/v', { where: 'n = 1' })).rejects.toMatchObject({ type: 'bad-view', status: 400, detail: expect.stringContaining('column 3') });
  const wrong = api.live('/v', { select: 'a b', onError: () => {} });
  await expect(wrong.ready).rejects.toMatchObject({ type: 'bad-view', detail: expect.stringMatching(/^'select', column/) });
  expect(api.peek('/v', view)).toEqual(live.value);
});

test.each(['websocket', 'events'] as const)('a view of the first in an order, and a count, change places and follow; a list is in order: %s', async (transport) => {
  const api = await served([], { transport });
  await api.put('/v', { a: { n: 1, x: 'a' }, b: { n: 5, x: 'b' }, c: { n: 9, x: 'c' }, d: { n: 5, x: 'd' } });
  const order = '-n';
  const top = api.live('/v', { order, limit: 3, select: 'x' });
  const count = api.live('/v', { where: 'n > 3', count: true });
  await Promise.all([top.ready, count.ready]);
  const names = () => sorted(top.value, order).map(([name]) => name);
  // What it is ordered by is there, although nobody has selected it.
  expect([top.value.c, names(), count.value]).toEqual([{ n: 9, x: 'c' }, ['c', 'b', 'd'], 3]);
  await api.put('/v/a/n', 7);
  await vi.waitFor(() => expect([names(), count.value]).toEqual([['c', 'a', 'b'], 4]));
  await api.put('/v/b/n', 8);
  await vi.waitFor(() => expect(names()).toEqual(['c', 'b', 'a']));
  // What changed in it meanwhile is one change, also where others take the place of those that go.
  api.disconnect();
  const other = connectedTo(api.url);
  await other.merge('/v', { c: null, a: { n: 2 } });
  api.reconnect();
  await vi.waitFor(() => expect([names(), count.value]).toEqual([['b', 'd', 'a'], 2]), 10_000);
  expect(await api.get('/v', { order, limit: 3, select: 'x' })).toMatchObject({ value: top.value });
  expect(await api.get('/v', { count: true })).toMatchObject({ value: 3 });
  const { value } = await api.get('/v', { order, select: 'x', as: 'list' });
  expect(value).toEqual(sorted(top.value, order));
  const wrong = api.live('/v', { order: '-n,', limit: 3, onError: () => {} });
  await expect(wrong.ready).rejects.toMatchObject({ type: 'bad-view', detail: expect.stringMatching(/^'order', column/) });
  await expect(api.get('/v', { order })).rejects.toMatchObject({ type: 'bad-view', hint: expect.stringContaining('limit') });
});
