/** The way without WebSockets, against the real binary: the same API, the same state. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
// @ts-expect-error: it has no types
import { startServer } from '../../../conformance/lib/server.mjs';
import { type Api, connect } from '../src/index.js';

let server: { url: string; port: number; stop(): Promise<void>; complaint(): string | undefined };
let api: Api;

beforeAll(async () => {
  server = await startServer();
  api = connect(server.url, { transport: 'events' });
});
afterAll(async () => {
  api.close();
  expect(server.complaint()).toBeUndefined();
  await server.stop();
});

const next = (path: `/${string}`, wanted: (value: any) => boolean) =>
  new Promise<any>((resolve) => {
    const stop = api.on(path, (value) => {
      if (!wanted(value)) return;
      resolve(value);
      queueMicrotask(() => stop());
    });
  });

test('every call does over HTTP what it does in a session', async () => {
  expect(await api.get('/a')).toEqual({ value: undefined, rev: expect.any(String) });
  const { rev, created } = await api.put('/a', { n: 1 });
  expect(created).toBe(true);
  expect(await api.get('/a')).toEqual({ value: { n: 1 }, rev });
  expect((await api.put('/a', { n: 2, in: { x: 1 } }, { ifMatch: rev })).created).toBe(false);
  await expect(api.put('/a', 3, { ifMatch: rev })).rejects.toMatchObject({ type: 'precondition-failed', status: 412, rev: expect.any(String) });
  await expect(api.put('/a', 3, { ifMatch: null })).rejects.toMatchObject({ type: 'precondition-failed' });
  await api.merge('/a', { m: 1 }, { ifMatch: '*' });
  await api.patch('/a', [{ op: 'remove', path: '/n' }]);
  expect((await api.get('/a', { depth: 1 })).value).toEqual({ m: 1, in: {} });
  const { path } = await api.post('/list/', 'first');
  expect(path).toMatch(/^\/list\/[^/]+$/);
  expect((await api.get(path)).value).toBe('first');
  await api.delete('/a');
  await expect(api.delete('/a')).rejects.toMatchObject({ type: 'not-found', status: 404 });
  await api.put('/odd%2Fname/a?b#c', 1);
  expect((await api.get('/odd%2Fname')).value).toEqual({ 'a?b#c': 1 });
});

test('calls are made in the order in which they are asked for', async () => {
  await Promise.all(Array.from({ length: 50 }, (_, n) => api.put('/slider', n)));
  expect((await api.get('/slider')).value).toBe(49);
});

test('links come and go, and what was there stays', async () => {
  const seen: any[] = [];
  const stop = api.on('/live', (value) => seen.push(value));
  await api.put('/live', { n: 1, m: 1 });
  await next('/live', (value) => value?.n === 1);
  const others = Array.from({ length: 20 }, (_, n) => api.live(`/others/${n}`));
  await Promise.all(others.map(({ ready }) => ready));
  await api.put('/live/n', 2);
  await next('/live', (value) => value?.n === 2);
  for (const other of others) other.close();
  await api.put('/live/n', 3);
  await next('/live', (value) => value?.n === 3);
  expect(seen).toEqual([undefined, { n: 1, m: 1 }, { n: 2, m: 1 }, { n: 3, m: 1 }]);
  expect(api.status).toMatchObject({ state: 'live', transport: 'events', hint: undefined });
  stop();
});

test('a link that is refused leaves the next as quick as the first', async () => {
  const states: string[] = [];
  const other = connect(server.url, { transport: 'events' });
  other.onStatus(({ state }) => states.push(state));
  for (let round = 0; round < 5; round++) {
    const wrong = other.live('/v', { where: 'x = 1', onError: () => {} });
    await expect(wrong.ready).rejects.toMatchObject({ type: 'bad-view' });
    const right = other.live(`/v/${round}`);
    await right.ready;
    right.close();
  }
  other.close();
  expect(states).toContain('live');
  expect(states).not.toContain('waiting');
});

test('a client that reads at a wrong path writes nothing, and says what is wrong', async () => {
  const before = (await api.get('/')).rev;
  const warned = vi.spyOn(console, 'warn').mockImplementation(() => {});
  for (const transport of ['auto', 'events'] as const) {
    const errors: any[] = [];
    const stray = connect(`${server.url}/wrong`, { transport, onError: (error) => errors.push(error) });
    stray.on('/fleet', () => {});
    await vi.waitFor(() => expect(stray.status.state).toBe('refused'), 10_000);
    expect(stray.status).toMatchObject({ error: { type: 'reserved-path', status: 403 }, hint: expect.stringContaining('the URL of its root') });
    expect(errors).toHaveLength(1);
    stray.close();
  }
  warned.mockRestore();
  expect((await api.get('/')).rev).toBe(before);
});

describe('what is no Halfping', () => {
  const answers = async (status: number, type: string, body: string) => {
    const other: Server = createServer((_, response) => response.writeHead(status, { 'content-type': type }).end(body)).listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    const { port } = other.address() as AddressInfo;
    const client = connect(`127.0.0.1:${port}`, { transport: 'events', timeout: 300 });
    return { client, end: () => (client.close(), other.close()) };
  };

  test('is said to be none', async () => {
    const { client, end } = await answers(200, 'text/html', '<html>hello');
    client.on('/a', () => {});
    await expect(client.get('/a')).rejects.toMatchObject({ type: 'offline', detail: expect.stringContaining('not as Halfping does') });
    expect(client.status.state).toBe('waiting');
    end();
  });

  test('nobody at all, neither', async () => {
    const client = connect('127.0.0.1:9', { transport: 'events', timeout: 200 });
    client.on('/a', () => {});
    await expect(client.put('/a', 1)).rejects.toMatchObject({ type: 'offline', detail: expect.stringContaining('no readable answer') });
    client.close();
  });
});
