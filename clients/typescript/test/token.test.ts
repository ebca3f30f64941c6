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

test('who logs in, changes and logs out does so on one connection, which says who it is', async () => {
  let mine: string | undefined = 'of Ada';
  const { api, socket } = await open({ token: () => mine });
  const errors: unknown[] = [];
  api.on('/a', () => {}, { onError: (error) => errors.push(error) });
  await settled();
  await socket().open();
  const answer = (identity: unknown) => socket().say({ ref: socket().commands.filter(({ auth }) => auth !== undefined).at(-1).ref, status: 200, identity });
  answer({ sub: 'ada' });
  socket().serve({ '/a': 1 });
  expect(api.status.identity).toEqual({ sub: 'ada' });

  mine = 'of Grace';
  api.renew();
  const put = api.put('/b', 1).catch(() => 'late');
  await settled();
  expect(socket().commands.slice(-2)).toMatchObject([{ auth: 'of Grace' }, { put: '/b' }]);
  answer({ sub: 'grace', expires_ms: 60_000 });
  expect(api.status.identity).toEqual({ sub: 'grace', expires_ms: 60_000 });

  mine = undefined;
  api.renew();
  await settled();
  expect(socket().commands.at(-1)).toMatchObject({ auth: null });
  answer(null);
  expect([api.status.identity, FakeSocket.all.length, errors]).toEqual([null, 1, []]);
  api.close();
  await put;
});

test('links that end with an identity come back with the next, however fast one follows the other', async () => {
  const { api, socket, errors } = await known(tokens());
  for (let n = 0; n < 3; n++) {
    api.renew();
    socket().say({ link: 1, error: { ...FORBIDDEN, ends: true } });
    await settled();
    expect(socket().commands.slice(-2)).toMatchObject([{ auth: `token ${n + 2}` }, { watch: 1, path: '/a' }]);
  }
  expect(errors).toEqual([]);
});

test('a token that is refused twice is an error of the connection, until one is taken', async () => {
  const { api, socket } = await known(tokens());
  api.renew();
  for (let n = 0; n < 2; n++) {
    await settled();
    socket().say({ ref: socket().commands.at(-1).ref, ...EXPIRED });
  }
  expect(api.status).toMatchObject({ state: 'live', error: { type: 'token-expired', status: 401 }, identity: undefined });
  api.renew();
  await settled();
  socket().say({ ref: socket().commands.at(-1).ref, status: 200, identity: { sub: 'kim' } });
  expect(api.status).toMatchObject({ error: undefined, identity: { sub: 'kim' } });
});

test('who names itself before the connection stands is who it says then', async () => {
  let mine = 'first';
  const { api, socket } = await open({ token: () => mine });
  api.on('/a', () => {});
  await settled();
  mine = 'second';
  api.renew();
  await settled();
  await socket().open();
  expect(socket().commands[0]).toMatchObject({ auth: 'second' });
});
