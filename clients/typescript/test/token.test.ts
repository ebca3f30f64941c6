/** Tokens in a session that lives: another one in time, and links that come back with it. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { FakeSocket, open, settled } from './socket.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const EXPIRED = { type: 'urn:halfping:problem:token-expired', status: 401, detail: 'the token has expired' };
const FORBIDDEN = { type: 'urn:halfping:problem:forbidden', status: 403, detail: 'not for you' };

/** Connected, in step, with a token that ends after 10 s. */
async function known(token: () => string | Promise<string>) {
  const { api, socket } = await open({ token });
  const values: unknown[] = [];
  const errors: any[] = [];
  api.on('/a', (value) => values.push(value), { onError: (error) => errors.push(error) });
  api.on('/b', () => {}, { onError: (error) => errors.push(error) });
  await settled();
  await socket().open();
  const [{ ref }] = socket().commands;
  socket().say({ ref, status: 200, identity: { sub: 'kim', expires_ms: 10_000 } });
  socket().serve({ '/a': 1, '/b': 1 });
  socket().messages.length = 0;
  return { api, socket, values, errors };
}

const tokens = () => {
  let n = 0;
  return vi.fn(() => `token ${++n}`);
};

test('another token is shown at four fifths of the lifetime of the one before, and disturbs nothing', async () => {
  const token = tokens();
  const { socket, errors } = await known(token);
  await vi.advanceTimersByTimeAsync(7_999);
  expect(token).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(socket().commands).toEqual([{ auth: 'token 2', ref: expect.any(Number) }]);
  const [{ ref }] = socket().commands;
  socket().say({ ref, status: 200, identity: { sub: 'kim', expires_ms: 5_000 } });
  await vi.advanceTimersByTimeAsync(4_000);
  expect(token).toHaveBeenCalledTimes(3);
  expect([FakeSocket.all.length, errors]).toEqual([1, []]);
});

test('a token of no end is not asked for again', async () => {
  const token = tokens();
  const { socket } = await known(token);
  await vi.advanceTimersByTimeAsync(8_000);
  socket().say({ ref: socket().commands[0].ref, status: 200, identity: { sub: 'kim' } });
  await vi.advanceTimersByTimeAsync(19_000);
  expect(token).toHaveBeenCalledTimes(2);
});

test('a token that ends at once is not asked for more than once a second', async () => {
  const token = tokens();
  const { socket } = await known(token);
  await vi.advanceTimersByTimeAsync(8_000);
  socket().say({ ref: socket().commands[0].ref, status: 200, identity: { sub: 'kim', expires_ms: 0 } });
  await vi.advanceTimersByTimeAsync(999);
  expect(token).toHaveBeenCalledTimes(2);
  await vi.advanceTimersByTimeAsync(1);
  expect(token).toHaveBeenCalledTimes(3);
});

test.each([EXPIRED, FORBIDDEN])('a link that ended with $type comes back with another token, and no other is touched', async (problem) => {
  const { api, socket, values, errors } = await known(tokens());
  socket().say({ link: 1, error: { ...problem, ends: true } });
  expect(api.status.synced).toBe(false);
  await settled();
  expect(socket().commands).toMatchObject([{ auth: 'token 2' }, { watch: 1, path: '/a' }]);
  expect(socket().commands[1]).not.toHaveProperty('since'); // the cursor has not spoken for it since then
  socket().serve({ '/a': 2 }, 'e.2');
  expect([values, errors, api.status.synced]).toEqual([[1, 2], [], true]);
  expect(FakeSocket.all).toHaveLength(1);
  socket().say({ link: 1, error: { ...problem, ends: true } });
  await settled();
  expect(socket().commands.at(-1)).toMatchObject({ watch: 1, path: '/a' });
  expect(errors).toEqual([]);
});

test('a link that ended before its first state is not in step with the others', async () => {
  const { api, socket } = await known(tokens());
  api.on('/c', () => {});
  await settled();
  socket().say({ ref: socket().commands[0].ref, status: 200 }, { link: 3, error: { ...EXPIRED, ends: true } }, { rev: 'e.2', t: 6, synced: true });
  expect(api.status.synced).toBe(false);
});

test('many links that end together ask for one token', async () => {
  const token = tokens();
  const { socket } = await known(token);
  for (const link of [1, 2]) socket().say({ link, error: { ...EXPIRED, ends: true } });
  await settled();
  expect(token).toHaveBeenCalledTimes(2);
  expect(socket().commands).toMatchObject([{ auth: 'token 2' }, { watch: [[1, '/a'], [2, '/b']] }]);
});

test('an error is seen once another token has not helped', async () => {
  const token = tokens();
  const { socket, errors } = await known(token);
  socket().say({ link: 1, error: { ...EXPIRED, ends: true } });
  await settled();
  const [auth, watch] = socket().commands;
  socket().say({ ref: auth.ref, ...EXPIRED });
  socket().say({ ref: watch.ref, ...EXPIRED });
  expect(errors).toMatchObject([{ type: 'token-expired' }]);
  await settled();
  const again = socket().commands.at(-1);
  expect(again).toMatchObject({ auth: 'token 3' });
  socket().say({ ref: again.ref, ...EXPIRED });
  await vi.advanceTimersByTimeAsync(19_000);
  expect(token).toHaveBeenCalledTimes(3);
});

test('a link that was never open, and is forbidden, is not asked for again', async () => {
  const token = tokens();
  const { api, socket } = await known(token);
  const failed = vi.fn();
  api.on('/c', () => {}, { onError: failed });
  await settled();
  socket().say({ ref: socket().commands[0].ref, ...FORBIDDEN });
  expect(failed).toHaveBeenCalledOnce();
  await settled();
  expect(token).toHaveBeenCalledTimes(1);
});

test('what is asked for while another token is on its way is sent after it', async () => {
  let give = (_: string) => {};
  let isFirst = true;
  let asked = 0;
  const { api, socket } = await known(() => (isFirst ? ((isFirst = false), 'first') : new Promise<string>((resolve) => (give = resolve, asked++))));
  socket().say({ link: 1, error: { ...EXPIRED, ends: true } });
  await settled();
  socket().say({ link: 2, error: { ...EXPIRED, ends: true } });
  void api.put('/b', 2).catch(() => {});
  await settled();
  expect(socket().commands).toEqual([]);
  give('second');
  await settled();
  expect(socket().commands).toMatchObject([{ auth: 'second' }, { watch: [[1, '/a'], [2, '/b']] }, { put: '/b' }]);
  expect(asked).toBe(1);
});

test('a want of a token ends no connection whose own is good, and one whose own is not', async () => {
  let isFirst = true;
  const { socket } = await known(() => {
    if (!isFirst) throw new Error('login is down');
    isFirst = false;
    return 'first';
  });
  await vi.advanceTimersByTimeAsync(8_000);
  expect(socket().closed).toBeUndefined();
  socket().say({ link: 1, error: { ...EXPIRED, ends: true } });
  await settled();
  expect(socket().closed).toBe(1000);
});

test('a token that is a text is not shown again', async () => {
  const { api, socket } = await open({ token: 'fixed' });
  const failed = vi.fn();
  api.on('/a', () => {}, { onError: failed });
  await settled();
  await socket().open();
  expect(socket().commands[0]).toEqual({ auth: 'fixed' });
  socket().serve({ '/a': 1 });
  socket().say({ link: 1, error: { ...EXPIRED, ends: true } });
  await settled();
  expect(failed).toHaveBeenCalledOnce();
  expect(socket().commands).toHaveLength(2);
});
