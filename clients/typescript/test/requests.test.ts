/** Plain requests, as where WebSockets do not get through: with a server of which the test holds the other end. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { connect, type Options } from '../src/index.js';
import { FakeSocket, settled } from './socket.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

interface Asked {
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly body: unknown;
  answer(response: Response): void;
  fail(): void;
}

function server(options: Options = {}, root = 'http://server.test/') {
  const asked: Asked[] = [];
  const fake = (url: URL, { method = '', headers, body }: RequestInit) =>
    new Promise<Response>((answer, reject) => {
      asked.push({ method, url: url.href, headers: headers as Record<string, string>, body, answer, fail: () => reject(new TypeError('failed to fetch')) });
    });
  return { api: connect(root, { transport: 'events', fetch: fake as typeof fetch, ...options }), asked };
}

const done = (rev = 'e.1') => new Response(null, { status: 204, headers: { etag: `"${rev}"` } });
const page = () => new Response('<html>Please log in</html>', { headers: { 'content-type': 'text/html' } });
const outcome = (promise: Promise<unknown>) => promise.then((value) => ({ value }), (error) => ({ type: error.type, detail: error.detail }));

test('are made one after the other, in the order in which they were asked for', async () => {
  const { api, asked } = server();
  const first = api.put('/a', 1);
  const second = api.delete('/a');
  await settled();
  expect(asked.map(({ method }) => method)).toEqual(['PUT']);
  asked[0]!.answer(done());
  expect(await first).toEqual({ rev: 'e.1', created: false });
  await settled();
  expect(asked.map(({ method }) => method)).toEqual(['PUT', 'DELETE']);
  asked[1]!.answer(done('e.2'));
  expect(await second).toEqual({ rev: 'e.2', created: false });
});

test('that somebody else answers with a page have not been done', async () => {
  const { api, asked } = server();
  for (const call of [() => api.put('/a', 1), () => api.post('/a', 1), () => api.get('/a')]) {
    const result = outcome(call());
    await settled();
    asked.at(-1)!.answer(page());
    expect(await result).toMatchObject({ type: 'bad-answer', detail: expect.stringContaining('not as Halfping does') });
  }
});

test('that a proxy forbids say that it may allow only reading, those that Halfping refuses what it says', async () => {
  const { api, asked } = server();
  const problem = { type: 'urn:halfping:problem:read-only', status: 403, detail: 'nothing can be written', hint: 'write elsewhere' };
  const answers = [new Response('<h1>403 Forbidden</h1>', { status: 403 }), Response.json(problem, { status: 403 })];
  const errors = [{ type: 'bad-answer', status: 403, hint: 'a proxy may allow only reading' }, { type: 'read-only', hint: problem.hint }];
  for (const [n, answer] of answers.entries()) {
    const refused = expect(api.put('/a', 1)).rejects.toMatchObject(errors[n]!);
    await settled();
    asked[n]!.answer(answer);
    await refused;
  }
});

test('that wait longer for their turn than they may are not sent', async () => {
  const { api, asked } = server({ timeout: 1_000 });
  const slow = outcome(api.put('/a', 1));
  const waiting = outcome(api.put('/b', 2));
  await vi.advanceTimersByTimeAsync(1_000);
  expect(await waiting).toMatchObject({ type: 'offline' });
  asked[0]!.answer(done());
  expect(await slow).toEqual({ value: { rev: 'e.1', created: false } });
  await settled();
  expect(asked).toHaveLength(1);
});

test('end with the API, and what was not sent never is', async () => {
  const { api, asked } = server();
  const calls = [api.put('/a', 1), api.put('/b', 2), api.get('/c')].map(outcome);
  await settled();
  api.close();
  expect(await Promise.all(calls)).toMatchObject([{ type: 'closed' }, { type: 'closed' }, { type: 'closed' }]);
  asked[0]!.answer(done());
  await settled();
  expect(asked).toHaveLength(1);
});

test('for which there is no token were not sent, and say why', async () => {
  let give: 'never' | 'no' | 'yes' = 'never';
  const token = async () => {
    if (give === 'never') await new Promise(() => {});
    if (give === 'no') throw new Error('login is down');
    return 'sesame';
  };
  const { api, asked } = server({ token, timeout: 60_000 });
  const never = outcome(api.put('/a', 1));
  await vi.advanceTimersByTimeAsync(8_000);
  expect(await never).toMatchObject({ type: 'offline', detail: expect.stringContaining('no token within 8 s') });
  give = 'no';
  expect(await outcome(api.put('/a', 1))).toMatchObject({ type: 'offline', detail: expect.stringContaining('login is down') });
  expect(asked).toEqual([]);
  give = 'yes';
  const last = api.put('/a', 1);
  await settled();
  expect(asked[0]!.headers['authorization']).toBe('Bearer sesame');
  asked[0]!.answer(done());
  await last;
});

test('whose answer never came may have been done, if they write', async () => {
  const { api, asked } = server();
  for (const [call, type] of [[() => api.put('/a', 1), 'unsure'], [() => api.get('/a'), 'offline']] as const) {
    const result = outcome(call());
    await settled();
    asked.at(-1)!.fail();
    expect(await result).toMatchObject({ type, detail: expect.stringContaining('failed to fetch') });
  }
});

test('of a page of another origin that nobody answers say that it may have been refused', async () => {
  for (const [origin, named] of [['https://app.test', 'https://app.test'], ['null', 'any']]) {
    vi.stubGlobal('location', { origin });
    const { api, asked } = server();
    const hint = `no Halfping server, or it needs under [cors]: origins = ["${named}"]; in Rust: Options { cors }`;
    const failed = expect(api.put('/a', 1)).rejects.toMatchObject({ type: 'unsure', hint });
    await settled();
    asked[0]!.fail();
    await failed;
  }
  vi.stubGlobal('location', { origin: 'http://server.test' });
  const { api, asked } = server();
  const failed = expect(api.put('/a', 1)).rejects.toMatchObject({ detail: expect.stringContaining('no readable answer'), hint: undefined });
  await settled();
  asked[0]!.fail();
  await failed;
});

test('of a page that was let in before do not say that it may have been refused', async () => {
  vi.stubGlobal('location', { origin: 'https://app.test' });
  const warned = vi.spyOn(console, 'warn').mockImplementation(() => {});
  const { api, asked } = server();
  const first = api.put('/a', 1);
  await settled();
  asked[0]!.answer(done());
  await first;
  const failed = expect(api.put('/a', 2)).rejects.toMatchObject({ type: 'unsure', detail: expect.stringContaining('no readable answer'), hint: undefined });
  await settled();
  asked[1]!.fail();
  await failed;
  expect(warned).not.toHaveBeenCalled();
});

test.each([
  ['a header', 'If-None-Match: *'],
  ['a command', '"if": null'],
])('to create what is not there are told of the option for it, where the server speaks of %s', async (_, condition) => {
  const { api, asked } = server();
  const failed = expect(api.put('/a', 1, { ifMatch: 'e.1' })).rejects.toMatchObject({ type: 'precondition-failed', hint: 'nothing is there; to create it, say { ifMatch: null }' });
  await settled();
  const problem = { type: 'urn:halfping:problem:precondition-failed', status: 412, detail: '/a differs', hint: `nothing is there; to create it, send ${condition}` };
  asked[0]!.answer(Response.json(problem, { status: 412, headers: { etag: '"e.2"' } }));
  await failed;
});

test.each([
  ['a resource of a server of before', new Response(null, { status: 201, headers: { etag: '"e.1"', location: '/live/_streams/x' } }), 'bad-answer', 'the API is elsewhere: connect() takes the URL of its root'],
  ['a server that says so', Response.json({ type: 'urn:halfping:problem:reserved-path', status: 403, detail: 'nothing is posted', hint: 'the URL of its root' }, { status: 403 }), 'reserved-path', 'the URL of its root'],
])('for a stream at the wrong path end with the first one: %s', async (_, answer, type, hint) => {
  vi.spyOn(console, 'warn').mockImplementation(() => {});
  const errors: any[] = [];
  const { api, asked } = server({ onError: (error) => errors.push(error) }, 'http://server.test/live');
  api.on('/fleet', () => {});
  await settled();
  expect(asked.map(({ method, url }) => [method, url])).toEqual([['POST', 'http://server.test/live/_streams']]);
  asked[0]!.answer(answer);
  await vi.advanceTimersByTimeAsync(600_000);
  expect(asked).toHaveLength(1);
  expect(api.status).toMatchObject({ state: 'refused', error: { type }, hint });
  expect(errors).toMatchObject([{ type, hint }]);
  api.close();
});

test.each([
  ['/a?b#c', '/live/a%3Fb%23c'],
  ['/a\\b', '/live/a%5Cb'],
  ['/users\\..\\..\\admin', '/live/users%5C..%5C..%5Cadmin'],
  ['/tab\there\n', '/live/tab%09here%0A'],
  ['/trailing ', '/live/trailing%20'],
  ['/nul\0', '/live/nul%00'],
  ['/é', '/live/%C3%A9'],
])('go to just the path that is meant: %j', async (path, expected) => {
  const { api, asked } = server({}, 'http://server.test/live');
  api.delete(path).catch(() => {});
  await settled();
  expect(new URL(asked[0]!.url).pathname).toBe(expected);
});

test('say what is expected to be there, and how much is to be read', async () => {
  const { api, asked } = server();
  const ask = async (call: () => Promise<unknown>) => {
    call().catch(() => {});
    await settled();
    const { headers, url } = asked.at(-1)!;
    asked.at(-1)!.answer(done());
    await settled();
    return [headers['if-match'], headers['if-none-match'], new URL(url).search];
  };
  expect(await ask(() => api.put('/a', 1))).toEqual([undefined, undefined, '']);
  expect(await ask(() => api.put('/a', 1, { ifMatch: 'e.1' }))).toEqual(['"e.1"', undefined, '']);
  expect(await ask(() => api.put('/a', 1, { ifMatch: '*' }))).toEqual(['*', undefined, '']);
  expect(await ask(() => api.put('/a', 1, { ifMatch: null }))).toEqual([undefined, '*', '']);
  expect(await ask(() => api.get('/a', { depth: 0 }))).toEqual([undefined, undefined, '?depth=0']);
  const [, , search] = await ask(() => api.get('/a', { where: 'a + b == "x&y" && c > 1', select: 'ü,d(e)' }));
  expect([...new URLSearchParams(search as string)]).toEqual([['where', 'a + b == "x&y" && c > 1'], ['select', 'ü,d(e)']]);
  expect(await ask(() => api.get('/a', { order: '-n', limit: 2, as: 'list' }))).toEqual([undefined, undefined, '?order=-n&limit=2&as=list']);
  expect(await ask(() => api.get('/a', { count: true }))).toEqual([undefined, undefined, '?count=true']);
});

describe('that ask why a WebSocket is not opened, where it is the only way,', () => {
  const problem = { type: 'urn:halfping:problem:draining', status: 503, detail: 'it ends' };
  const gone = { type: 'urn:halfping:problem:not-found', status: 404, detail: 'nothing is there' };
  const client = async (transport: 'websocket' | 'auto' = 'websocket') => {
    FakeSocket.all = [];
    const errors: any[] = [];
    const { api, asked } = server({ transport, WebSocket: FakeSocket, onError: (error) => errors.push(error) });
    api.on('/a', () => {});
    await settled();
    return { api, asked, errors, socket: FakeSocket.all[0]! };
  };

  test.each([
    ['a refusal', () => Response.json(problem, { status: 503 }), { type: 'draining', status: 503 }, undefined],
    ['a wrong path', () => Response.json(gone, { status: 404 }), { type: 'not-found', status: 404 }, expect.stringContaining('elsewhere')],
    ['the page of a proxy', () => new Response('<html>', { status: 502 }), { type: 'bad-answer', status: 502 }, undefined],
    ['a server of pages, that answers everything with one', () => new Response('<html>', { status: 200 }), { type: 'bad-answer', status: 200 }, expect.stringContaining('elsewhere')],
    ['another service that is well', () => Response.json({ status: 'UP' }), { type: 'bad-answer', status: 200 }, expect.stringContaining('elsewhere')],
    ['a server that is well', () => Response.json({ status: 'ok', storage: { status: 'none' } }), undefined, undefined],
    ['a server that drains', () => Response.json({ status: 'draining', storage: { status: 'none' } }, { status: 503 }), undefined, undefined],
  ])('tell of %s, once for each attempt', async (_, answer, error, hint) => {
    const { api, asked, socket } = await client();
    socket.onclose!({ code: 1006, reason: '' });
    await settled();
    expect(asked).toMatchObject([{ url: 'http://server.test/_health' }]);
    asked[0]!.answer(answer());
    await settled();
    expect(api.status.state).toBe('waiting');
    if (error) expect(api.status.error).toMatchObject(error);
    else expect(api.status.error).toBeUndefined();
    expect(api.status.hint).toEqual(hint);
    expect(asked).toHaveLength(1);
    api.close();
  });

  test('do so as well where it is taken and never opened', async () => {
    const { api, asked, errors } = await client();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(asked).toMatchObject([{ url: 'http://server.test/_health' }]);
    asked[0]!.answer(new Response('<html>', { status: 200 }));
    await settled();
    expect(api.status).toMatchObject({ state: 'waiting', error: { type: 'bad-answer' } });
    expect(FakeSocket.all).toMatchObject([{ closed: 1000 }]);
    FakeSocket.all[0]!.onclose!({ code: 1006 });
    await settled();
    expect(asked).toHaveLength(1);
    expect(errors).toMatchObject([{ type: 'bad-answer', detail: expect.stringContaining('not as Halfping does') }]);
    api.close();
  });

  test('wait on where a server is there that is only slow', async () => {
    const { api, asked, socket, errors } = await client();
    await vi.advanceTimersByTimeAsync(5_000);
    asked[0]!.answer(Response.json({ status: 'ok', storage: { status: 'none' } }));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(api.status.state).toBe('opening');
    await socket.open();
    socket.serve({ '/a': 1 });
    expect(api.status.state).toBe('live');
    expect(errors).toEqual([]);
    api.close();
  });

  test('report each reason once, until there was a connection', async () => {
    const { api, asked, socket, errors } = await client();
    socket.onclose!({ code: 1006 });
    await settled();
    asked[0]!.fail();
    await settled();
    for (const [n, answer] of [() => new Response('<html>', { status: 502 }), () => new Response('<html>', { status: 502 })].entries()) {
      await vi.advanceTimersByTimeAsync(10_000);
      FakeSocket.all.at(-1)!.onclose!({ code: 1006 });
      await settled();
      asked.at(-1)!.answer(answer());
      await settled();
      expect(asked.length).toBeGreaterThan(n + 1);
    }
    expect(errors).toMatchObject([{ type: 'offline' }, { type: 'bad-answer', status: 502 }]);
    await vi.advanceTimersByTimeAsync(10_000);
    const last = FakeSocket.all.at(-1)!;
    await last.open();
    last.serve({ '/a': 1 });
    last.onclose!({ code: 1006 });
    await settled();
    expect([api.status.state, errors.length]).toEqual(['waiting', 2]);
    api.close();
  });

  test('tell that nobody answers', async () => {
    const { api, asked, socket } = await client();
    socket.onclose!({ code: 1006 });
    await settled();
    asked[0]!.fail();
    await settled();
    expect(api.status).toMatchObject({ state: 'waiting', error: { type: 'offline', detail: expect.stringContaining('no readable answer') } });
    api.close();
  });

  test('are not made for one that was open, that is told why, or beside another way', async () => {
    const open = await client();
    await open.socket.open();
    open.socket.onclose!({ code: 1006, reason: '' });
    const told = await client();
    told.socket.onclose!({ code: 4000, reason: 'draining' });
    const both = await client('auto');
    both.socket.onclose!({ code: 1006, reason: '' });
    await settled();
    for (const { api, asked } of [open, told, both]) {
      expect(asked.filter(({ url }) => url.endsWith('_health'))).toEqual([]);
      api.close();
    }
  });
});
