import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Api, type Change, connect, HalfpingError, path, sorted, type Status } from '../src/index.js';
import { FakeSocket, open, settled } from './socket.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** Connected, with what a first handler watches. */
async function live(state: Record<string, unknown>, ...paths: string[]) {
  const { api, socket } = await open();
  const told: [string, unknown, Change][] = [];
  const stops = paths.map((path) => api.on(path, (value, change) => told.push([path, value, change])));
  await settled();
  await socket().open();
  socket().serve(state);
  await settled();
  return { api, socket, told, stops };
}

describe('a handler', () => {
  test('is called with the first state and with every change of it', async () => {
    const { socket, told } = await live({ '/a': { x: 1, y: { z: 1 } } }, '/a');
    expect(told).toMatchObject([['/a', { x: 1 }, { path: '/a', kind: 'snapshot', previous: undefined, rev: 'e.1', t: 5, synced: true, keys: ['x', 'y'] }]]);
    socket().say({ rev: 'e.2', t: 6, set: [[1, 'merge', { x: 2 }]], synced: true });
    const [, value, change] = told[1]!;
    expect(value).toEqual({ x: 2, y: { z: 1 } });
    expect((value as any).y).toBe((told[0]![1] as any).y);
    expect(change).toMatchObject({ kind: 'merge', body: { x: 2 }, previous: { x: 1 }, keys: ['x'] });
    socket().say({ rev: 'e.3', t: 7, set: [[1, 'gone']], synced: true });
    expect(told[2]).toMatchObject(['/a', undefined, { kind: 'gone', keys: ['x', 'y'] }]);
  });

  test('is told of every member of a change that came in parts', async () => {
    const { api, socket, told } = await live({ '/a': { x: 1 } }, '/a');
    const members: string[] = [];
    api.live('/a').members((key) => members.push(key));
    await settled();
    members.length = 0;
    socket().say({ rev: 'e.2', t: 6, set: [[1, 'merge', { y: 1 }, 'more']] }, { rev: 'e.2', t: 6, set: [[1, 'merge', { z: 1 }]], synced: true });
    expect(told.at(-1)).toMatchObject(['/a', { x: 1, y: 1, z: 1 }, { kind: 'snapshot', body: { x: 1, y: 1, z: 1 }, keys: ['y', 'z'] }]);
    expect(members).toEqual(['y', 'z']);
  });

  test('is called when nothing is there', async () => {
    const { told } = await live({}, '/none');
    expect(told).toMatchObject([['/none', undefined, { kind: 'gone', keys: undefined }]]);
  });

  test('that throws disturbs no other, and is reported', async () => {
    const errors: unknown[] = [];
    const { api, socket } = await open({ onError: (error) => errors.push(error) });
    const seen: unknown[] = [];
    api.on('/a', () => {
      throw new Error('mine');
    });
    api.on('/a', (value) => seen.push(value));
    api.on('/b', (value) => seen.push(value));
    await settled();
    await socket().open();
    socket().serve({ '/a': 1, '/b': 2 });
    expect(seen).toEqual([1, 2]);
    expect(errors).toEqual([new Error('mine')]);
    expect(api.status.state).toBe('live');
  });

  test('that throws is reported as uncaught when nobody takes it', async () => {
    const report = vi.spyOn(console, 'error').mockImplementation(() => {});
    const { api, socket } = await open();
    api.on('/a', () => {
      throw new Error('mine');
    });
    await settled();
    await socket().open();
    socket().serve({});
    expect(report).toHaveBeenCalledWith(new Error('mine'));
  });

  test('is not called any more once it was stopped, also not for what is on its way', async () => {
    const { socket, told, stops } = await live({ '/a': 1 }, '/a');
    stops[0]!();
    socket().say({ rev: 'e.2', t: 6, set: [[1, 'snapshot', 2]], synced: true });
    await settled();
    expect(told).toHaveLength(1);
    expect(socket().commands.at(-1)).toEqual({ unwatch: 1 });
  });

  test('may stop itself, and another, while it is called', async () => {
    const { api, socket } = await live({ '/a': 1 }, '/a');
    const seen: string[] = [];
    const stop = api.on('/b', () => {
      seen.push('first');
      stop();
      other();
    });
    const other = api.on('/b', () => seen.push('second'));
    await settled();
    socket().serve({ '/b': 1 }, 'e.2');
    expect(seen).toEqual(['first']);
    socket().say({ rev: 'e.3', t: 6, set: [[2, 'snapshot', 2]], synced: true });
    expect(seen).toEqual(['first']);
  });
});

describe('a mirror', () => {
  test('tells loading from absent', async () => {
    const { api, socket } = await open();
    const live = api.live('/none');
    expect([live.known, live.value]).toEqual([false, undefined]);
    await settled();
    await socket().open();
    socket().serve({});
    expect([live.known, live.value]).toEqual([true, undefined]);
    live.close();
    expect(live.known).toBe(true);
  });

  test('has the cursor of what it shows also when that changed and changed back', async () => {
    const { api, socket } = await live({ '/a': 1 }, '/a');
    const mirror = api.live('/a');
    await settled();
    socket().say({ rev: 'e.3', t: 6, set: [[1, 'snapshot', 1]], synced: true });
    expect([mirror.rev, mirror.value]).toEqual(['e.3', 1]);
    mirror.close();
    socket().say({ rev: 'e.4', t: 7, set: [[1, 'snapshot', 2]], synced: true });
    expect([mirror.rev, mirror.value]).toEqual(['e.1', 1]);
  });
});

describe('everything can be called', () => {
  /** A socket as the standard has it: until it is open, nothing can be sent. */
  class StrictSocket extends FakeSocket {
    #isOpen = false;
    override async open() {
      this.#isOpen = true;
      await super.open();
    }
    override send(text: string) {
      if (!this.#isOpen) throw new Error('it is still connecting');
      if (this.closed === undefined) super.send(text);
    }
  }
  type Called = (api: Api) => void;
  const CALLS: Record<string, Called> = {
    reconnect: (api) => api.reconnect(),
    'disconnect and reconnect': (api) => (api.disconnect(), api.reconnect()),
    disconnect: (api) => api.disconnect(),
    close: (api) => api.close(),
    on: (api) => api.on('/later', () => {}),
    'on and off': (api) => api.on('/later', () => {})(),
    put: (api) => void api.put('/later', 1).catch(() => {}),
    get: (api) => void api.get('/later').catch(() => {}),
  };
  type Where = (call: () => void, api: Api) => void;
  /** The places that it is called from. `/a` is there, `/_x` is refused, and more than the credit comes with each state. */
  const FROM: Record<string, Where> = {
    'a handler': (call, api) => api.on('/a', call),
    'a handler of errors': (call, api) => api.on('/_x', () => {}, { onError: call }),
    'the handler of what handlers throw': (_, api) => api.on('/a', () => { throw new Error('mine'); }),
    'a handler of the status': (call, api) => api.onStatus(({ state }) => state !== 'idle' && call()),
    'a wrapper of fetch': () => {},
    'a token': () => {},
  };
  for (const [what, called] of Object.entries(CALLS)) {
    test.each(Object.entries(FROM))(`${what}, from %s`, async (from, where) => {
      const failed = vi.fn();
      vi.spyOn(console, 'error').mockImplementation(failed);
      vi.spyOn(console, 'warn').mockImplementation(() => {});
      let times = 0;
      const call = () => {
        if (++times <= 3) called(api);
      };
      const { api, socket } = await open({
        WebSocket: StrictSocket,
        credit: 100,
        onError: (error: any) => (error.message === 'mine' && from.startsWith('the handler of') ? call() : failed(error)),
        token: () => (from === 'a token' && call(), 'me'),
        fetch: async () => (call(), new Response()),
      });
      api.on('/b', () => {});
      where(call, api);
      if (from === 'a wrapper of fetch') void api.put('/long', 'x'.repeat(2 ** 21)).catch(() => {});
      for (let round = 0; round < 5; round++) {
        await vi.advanceTimersByTimeAsync(1_000);
        const current = FakeSocket.all.at(-1);
        if (!current || current.closed !== undefined) continue;
        await current.open();
        const refused = current.commands.flatMap(({ watch, path, ref }) => (Array.isArray(watch) ? watch : [[watch, path]]).map(([link, at]) => ({ ref, link, at })));
        for (const { link, at } of refused) if (at === '/_x') current.say({ error: { type: 'urn:halfping:problem:reserved-path', ends: true }, link });
        if (current.closed === undefined) current.serve({ '/a': 'x'.repeat(200) + round, '/b': round }, `e.${round}`);
      }
      expect(times).toBeGreaterThan(0);
      expect(failed).not.toHaveBeenCalled();
      if (what === 'close') return expect(api.status.state).toBe('closed');
      // And all goes on from there.
      times = Infinity;
      api.reconnect();
      await settled();
      const last = socket();
      await last.open();
      last.serve({ '/b': 'news' }, 'e.99');
      expect([FakeSocket.all.filter(({ closed }) => closed === undefined).length, api.status.state, api.peek('/b')]).toEqual([1, 'live', 'news']);
      api.close();
    });
  }
});

describe('errors', () => {
  test('of a handler for errors disturb no other handler', async () => {
    const report = vi.spyOn(console, 'error').mockImplementation(() => {});
    const { api, socket } = await open({
      onError: () => {
        throw new Error('mine too');
      },
    });
    const seen: unknown[] = [];
    api.on('/a', () => {
      throw new Error('mine');
    });
    api.on('/b', (value) => seen.push(value));
    await settled();
    await socket().open();
    socket().serve({ '/a': 1, '/b': 2 });
    expect(seen).toEqual([2]);
    expect(report).toHaveBeenCalledWith(new Error('mine too'));
  });

  test('of a server that ends the connection for good are told, and say why', async () => {
    const errors: any[] = [];
    const { api, socket } = await open({ onError: (error) => errors.push(error) });
    api.on('/a', () => {});
    await settled();
    await socket().open();
    socket().serve({ '/a': 1 });
    socket().onclose?.({ code: 1002, reason: 'reserved bits are set' });
    expect(errors).toMatchObject([{ type: 'ended', detail: 'reserved bits are set' }]);
    expect(api.status).toMatchObject({ state: 'refused', synced: false, error: { type: 'ended' } });
    await expect(api.get('/a')).rejects.toMatchObject({ type: 'offline', message: expect.stringContaining('reserved bits are set') });
  });
});

describe('a change', () => {
  test('can be copied, with all that it says', async () => {
    const { told } = await live({ '/a': { x: 1 } }, '/a');
    const change = told[0]![2];
    expect({ ...change }).toMatchObject({ path: '/a', keys: ['x'] });
    expect(structuredClone(change)).toEqual({ ...change });
  });
});

describe('equal watches', () => {
  test('share one link, and whoever comes later is told at once', async () => {
    const { api, socket, told } = await live({ '/a': 1 }, '/a', '/a');
    expect(told.map(([, value]) => value)).toEqual([1, 1]);
    const late: Change[] = [];
    api.on('/a', (_, change) => late.push(change), { delta: true, priority: 0 });
    expect(late).toEqual([]);
    await settled();
    expect(late).toMatchObject([{ value: 1, previous: undefined, kind: 'snapshot', rev: 'e.1', synced: true }]);
    expect(socket().commands).toHaveLength(1);
  });

  test('that come later than a change see it as their first', async () => {
    const { api, socket } = await live({ '/a': 1 }, '/a');
    const late: Change[] = [];
    api.on('/a', (_, change) => late.push(change));
    socket().say({ rev: 'e.2', t: 6, set: [[1, 'snapshot', 2]], synced: true });
    await settled();
    expect(late).toMatchObject([{ value: 2, previous: undefined, kind: 'snapshot' }]);
  });

  test('are not equal when they are to be told differently', async () => {
    const { api, socket } = await live({ '/a': 1 }, '/a');
    api.on('/a', () => {}, { rate: 1 });
    api.on('/a', () => {}, { depth: 2 });
    await settled();
    expect(socket().commands.slice(1)).toMatchObject([{ rate: 1 }, { depth: 2 }]);
  });

  test('are not equal when they are of other views, and are when they are of one', async () => {
    const { api, socket } = await live({ '/a': 1 }, '/a');
    const seen: unknown[] = [];
    const fast = { where: 'speed > 50', select: 'speed,line' };
    api.on('/a', (value) => seen.push(value), fast);
    api.on('/a', (value) => seen.push(value), { select: 'speed,line', where: 'speed > 50', delta: true, priority: 0 });
    api.live('/a', { where: 'speed > 50' });
    void api.watch('/a', { select: 'speed' }).next();
    await settled();
    expect(socket().commands.slice(1)).toEqual([
      { watch: 2, path: '/a', where: 'speed > 50', select: 'speed,line', ref: 2 },
      { watch: 3, path: '/a', where: 'speed > 50', ref: 3 },
      { watch: 4, path: '/a', select: 'speed', ref: 4 },
    ]);
    socket().say({ ref: 2, status: 200 }, { rev: 'e.2', t: 6, set: [[2, 'snapshot', { u4: { speed: 60 } }]], synced: true });
    expect(seen).toEqual([{ u4: { speed: 60 } }, { u4: { speed: 60 } }]);
    expect([api.peek('/a', fast), api.peek('/a'), api.peek('/a', { where: 'speed > 51' })]).toEqual([{ u4: { speed: 60 } }, 1, undefined]);
  });

  test('of a window, or of a count, are links of their own, and of equal ones one', async () => {
    const { api, socket } = await live({ '/a': 1 }, '/a');
    const seen: unknown[] = [];
    const top = { order: '-speed,line', limit: 2, select: 'line' };
    api.on('/a', (value) => seen.push(value), top);
    api.on('/a', (value) => seen.push(value), { limit: 2, select: 'line', order: '-speed,line', count: false, where: '' });
    api.live('/a', { ...top, limit: 3 });
    api.on('/a', (value) => seen.push(value), { where: 'speed > 50', count: true });
    await settled();
    expect(socket().commands.slice(1)).toEqual([
      { watch: 2, path: '/a', ...top, ref: 2 },
      { watch: 3, path: '/a', ...top, limit: 3, ref: 3 },
      { watch: 4, path: '/a', where: 'speed > 50', count: true, ref: 4 },
    ]);
    socket().say(...[2, 3, 4].map((ref) => ({ ref, status: 200 })));
    socket().say({ rev: 'e.2', t: 6, set: [[2, 'snapshot', { a: { speed: 60 }, b: { speed: 50 } }], [4, 'snapshot', 2]], synced: true });
    // One overtakes another, which falls out.
    socket().say({ rev: 'e.3', t: 7, set: [[2, 'merge', { b: null, c: { speed: 70 } }], [4, 'snapshot', 3]], synced: true });
    expect(seen).toEqual([...Array(2).fill({ a: { speed: 60 }, b: { speed: 50 } }), 2, ...Array(2).fill({ a: { speed: 60 }, c: { speed: 70 } }), 3]);
    expect(sorted(api.peek('/a', top), top.order).map(([name]) => name)).toEqual(['c', 'a']);
    expect(api.peek('/a', { count: true, where: 'speed > 50' })).toBe(3);
  });

  test('of a condition that is empty text are of none', async () => {
    const { api, socket } = await live({ '/a': 1 }, '/a');
    api.on('/a', () => {}, { where: '', select: '', order: '', count: false });
    await settled();
    expect(socket().commands).toHaveLength(1);
    void api.get('/a', { where: '', select: '' }).catch(() => {});
    await settled();
    expect(socket().commands.at(-1)).toEqual({ get: '/a', ref: 2 });
  });

  test('of a view that the server refuses are told why, and no others', async () => {
    const { api, socket, told } = await live({ '/a': 1 }, '/a');
    const errors: HalfpingError[] = [];
    for (const path of ['/a', '/b']) api.on(path, () => {}, { where: 'speed >', onError: (error) => errors.push(error) });
    await settled();
    expect(socket().commands.at(-1)).toEqual({ watch: [[2, '/a'], [3, '/b']], where: 'speed >', ref: 2 });
    socket().say({ ref: 2, status: 400, type: 'urn:halfping:problem:bad-view', detail: "'where', column 8: expected a value, found the end" });
    expect(errors).toMatchObject([2, 3].map(() => ({ type: 'bad-view', status: 400, detail: expect.stringContaining('column 8') })));
    socket().say({ rev: 'e.2', t: 6, set: [[1, 'snapshot', 2]], synced: true });
    expect(told.at(-1)).toMatchObject(['/a', 2, { synced: true }]);
    // The next attempt is a link of its own.
    api.on('/a', () => {}, { where: 'speed > 1' });
    await settled();
    expect(socket().commands.at(-1)).toEqual({ watch: 4, path: '/a', where: 'speed > 1', ref: 3 });
  });

  test('that end and begin in one breath end nothing', async () => {
    const { api, socket, stops } = await live({ '/a': 1 }, '/a');
    stops[0]!();
    const again: unknown[] = [];
    api.on('/a', (value) => again.push(value));
    await settled();
    expect(again).toEqual([1]);
    expect(socket().commands).toHaveLength(1);
  });

  test('are peeked at without being watched', async () => {
    const { api } = await live({ '/a': 1 }, '/a');
    expect(api.peek('/a')).toBe(1);
    expect(api.peek('/a', { rate: 1 })).toBeUndefined();
    expect(api.peek('/b')).toBeUndefined();
  });
});

test('a path begins with a slash, and goes only down', async () => {
  const { api } = await open();
  for (const bad of ['orders', '', '/a/../b', '/.', '/%2E%2e', '/a/.', '/half\ud800', undefined as unknown as string]) {
    expect(() => api.on(bad as never, () => {})).toThrow(HalfpingError);
    await expect(api.get(bad)).rejects.toMatchObject({ type: 'bad-path' });
  }
  expect(path('orders', 42, 'a/b', 'ü')).toBe('/orders/42/a%2Fb/%C3%BC');
  expect(path()).toBe('/');
  expect(path('a...', '..b')).toBe('/a.../..b');
  // The path of another resource, and a delete would be another's too.
  for (const bad of ['', '.', '..', 'half\ud800', undefined, null, Number.NaN, {}]) expect(() => path('orders', bad as string)).toThrow(HalfpingError);
  expect(path('pair', '😀', 0)).toBe('/pair/%F0%9F%98%80/0');
});

test('the root is that of the page’s origin unless told, or wherever one says', () => {
  const url = (of: string) => connect(of).url;
  expect(url('http://x.test/live')).toBe('http://x.test/live/');
  expect(url('http://x.test/live/?q#f')).toBe('http://x.test/live/');
  expect(url('wss://x.test')).toBe('https://x.test/');
  expect(url('x.test:7070')).toBe('http://x.test:7070/');
  expect(url('ws.test:7070')).toBe('http://ws.test:7070/');
  expect(url('[::1]:7070')).toBe('http://[::1]:7070/');
  expect(url('[::1]')).toBe('http://[::1]/');
  expect(url('bücher.test:7070')).toBe('http://xn--bcher-kva.test:7070/');
  vi.stubGlobal('location', { href: 'https://x.test/orders/42?tab=1' });
  expect(connect().url).toBe('https://x.test/');
  expect(url('./live')).toBe('https://x.test/orders/live/');
  vi.unstubAllGlobals();
});

describe('what can never work is refused at once', () => {
  afterEach(() => void vi.unstubAllGlobals());
  const options = { WebSocket: FakeSocket };

  test.each(['htp://server.test', 'ftp://server.test/', 'mailto:me', '', '/live', './live', '//server.test', 'server.test', 'http://', 'http://me:secret@server.test/', 'http://me@server.test'])('the URL %j outside a browser', (url) => {
    const error = { type: 'bad-option', detail: `"${url}" is no URL of http or ws`, hint: 'connect() takes the URL of its root' };
    expect(() => connect(url, options)).toThrow(expect.objectContaining(error));
  });

  test('a handler that is none, as where options stand in its place', async () => {
    const { api, socket } = await open();
    const error = { type: 'bad-option', hint: 'say on(path, handler, options)' };
    expect(() => api.on('/a', { rate: 1 } as any, (() => {}) as any)).toThrow(expect.objectContaining(error));
    expect(() => api.on('/a', undefined as any)).toThrow(expect.objectContaining(error));
    expect(socket()).toBeUndefined();
  });

  test('the origin of a page that is a file', () => {
    vi.stubGlobal('location', { href: 'file:///home/me/page.html' });
    expect(() => connect(undefined, options)).toThrow(expect.objectContaining({ type: 'bad-option', detail: '"/" is no URL of http or ws' }));
  });

  test.each([['ws', FakeSocket], ['', FakeSocket], ['websocket', undefined]])('the transport %j, with the WebSocket %o', (transport, WebSocket) => {
    vi.stubGlobal('WebSocket', undefined);
    const error = { type: 'bad-option', detail: `no transport "${transport}" here`, hint: "say { transport: 'auto' }" };
    expect(() => connect('http://server.test', { transport: transport as 'auto', ...(WebSocket && { WebSocket }) })).toThrow(expect.objectContaining(error));
  });

  test.each(['rate', 'depth'])('a %s that is no number of JSON', async (name) => {
    const { api } = await open();
    for (const value of [Number.NaN, -Infinity]) {
      const error = expect.objectContaining({ type: 'bad-json', detail: `options.${name} is ${value}: no JSON` });
      const shape = { [name]: value };
      expect(() => api.on('/a', () => {}, shape)).toThrow(error);
      await expect(api.live('/a', shape).ready).rejects.toEqual(error);
      expect(() => api.peek('/a', shape)).toThrow(error);
      await expect(api.watch('/a', shape).next()).rejects.toEqual(error);
    }
    await settled();
    expect(FakeSocket.all).toEqual([]);
  });

  test.each(['credit', 'timeout'])('a %s that is no number', (name) => {
    expect(() => connect('http://server.test', { ...options, [name]: Number.NaN })).toThrow(expect.objectContaining({ type: 'bad-json', detail: `options.${name} is NaN: no JSON` }));
  });

  test('and a name in the path of the root, an endless timeout and every transport are not', () => {
    const urls = ['http://server.test/@me', 'http://server.test/a?b=c@d', 'WSS://server.test', new URL('https://server.test')];
    for (const url of urls) expect(connect(url, { ...options, timeout: Infinity, credit: 0 }).url).toMatch(/^https?:\/\/server\.test\//);
    for (const transport of ['auto', 'websocket', 'events'] as const) expect(connect('http://server.test', { ...options, transport }).status.state).toBe('idle');
  });
});

test('what is written is what was there when it was asked for', async () => {
  const { api, socket } = await open();
  const order = { status: 'new', note: undefined };
  void api.put('/orders/42', order);
  order.status = 'changed my mind';
  await settled();
  await socket().open();
  expect(socket().commands).toEqual([{ put: '/orders/42', value: { status: 'new' }, ref: 1 }]);
});

test('what JSON has no form for is refused before anything is sent, with the name of the member', async () => {
  const { api } = await open();
  const within: { [name: string]: unknown } = {};
  within['self'] = { within };
  for (const [value, said] of [
    [{ speed: 0 / 0, pos: 2 }, 'value.speed is NaN'],
    [{ a: { speed: -Infinity } }, 'value.a.speed is -Infinity'],
    [{ list: [1, undefined] }, 'value.list.1 is Undefined'],
    [[, 1], 'value.0 is Undefined'],
    [{ m: new Map() }, 'value.m is Map'],
    [new Set([1]), 'value is Set'],
    [{ id: 1n }, 'value.id is BigInt'],
    [{ f() {} }, 'value.f is Function'],
    [{ s: Symbol('s') }, 'value.s is Symbol'],
    [{ why: new TypeError('mine') }, 'value.why is Error'],
    [{ at: new Date(Number.NaN) }, 'value.at is Date'],
    [{ bytes: new Uint8Array(2) }, 'value.bytes is Uint8Array'],
    [{ p: Promise.resolve() }, 'value.p is Promise'],
    [{ text: 'half \ud800' }, 'value.text is ill-formed text'],
    [within, 'value.self.within is a cycle'],
    [undefined, 'value is Undefined'],
  ] as const) {
    for (const write of [api.put('/v', value), api.merge('/v', value), api.patch('/v', value as never), api.post('/v', value)]) {
      await expect(write).rejects.toMatchObject({ name: 'HalfpingError', type: 'bad-json', detail: expect.stringContaining(said) });
    }
  }
  await settled();
  expect(FakeSocket.all).toEqual([]);
});

test('what JSON has a form for is written in it', async () => {
  const { api, socket } = await open();
  const twice = { x: 1 };
  class Order {
    status = 'new';
    note = undefined;
  }
  const value = { order: new Order(), at: new Date(0), url: new URL('http://x.test/'), bare: Object.create(null), twice: [twice, twice], none: null, pair: '😀' };
  void api.put('/a', Object.assign(value, JSON.parse('{"__proto__":{"x":1}}')));
  void api.merge('/a', JSON.parse('{"__proto__":null}'));
  await settled();
  await socket().open();
  expect(socket().messages.join()).toContain(JSON.stringify({ value: { ...value } }).slice(1, -1));
  expect(socket().messages.join()).toContain('"value":{"__proto__":null}');
});

test('what is much goes in several messages, and what is very much by a request of its own', async () => {
  const asked: string[] = [];
  const fake = async (_: URL, { method, body }: RequestInit) => {
    asked.push(`${method} ${(body as string).length}`);
    return new Response('{"type":"urn:halfping:problem:body-too-large","status":413,"detail":"4 MiB at most"}', { status: 413 });
  };
  const { api, socket } = await open({ fetch: fake as typeof fetch });
  for (let n = 0; n < 5; n++) void api.put(`/a/${n}`, 'x'.repeat(400_000));
  const large = api.put('/b', 'x'.repeat(5_000_000));
  await expect(large).rejects.toMatchObject({ type: 'body-too-large', status: 413 });
  expect(asked).toEqual(['PUT 5000002']);
  await socket().open();
  expect(socket().commands.map(({ put }) => put)).toEqual(['/a/0']); // none so long has got through yet
  socket().say({ ref: 1, status: 200, rev: 'e.1' });
  expect(socket().commands.map(({ put }) => put)).toEqual(['/a/0', '/a/1', '/a/2', '/a/3', '/a/4']);
  expect(socket().messages).toHaveLength(6); // what is long is a message of its own
  expect(api.status.state).toBe('live');
});

describe('an iterator', () => {
  test('gives what is newest when it is asked', async () => {
    const { api, socket } = await open();
    const seen: Change[] = [];
    let go = () => {};
    void (async () => {
      for await (const change of api.watch('/a', { rate: 5 })) {
        seen.push(change);
        await new Promise<void>((resolve) => (go = resolve));
      }
    })();
    await settled();
    await socket().open();
    expect(socket().commands).toMatchObject([{ path: '/a', rate: 5 }]);
    socket().serve({ '/a': { n: 1, m: 1 } });
    await settled();
    for (const n of [2, 3, 4]) socket().say({ rev: `e.${n}`, t: n, set: [[1, 'merge', { n }]], synced: true });
    socket().say({ rev: 'e.5', t: 9, set: [[1, 'merge', { m: 2 }]], synced: true });
    go();
    await settled();
    expect(seen.map(({ value }) => value)).toEqual([{ n: 1, m: 1 }, { n: 4, m: 2 }]);
    expect(seen[1]).toMatchObject({ previous: { n: 1, m: 1 }, rev: 'e.5', t: 9, keys: ['n', 'm'] });
  });

  test('asks for nothing before it is asked, and ends its link with its loop', async () => {
    const { api, socket } = await open();
    const changes = api.watch('/a');
    await settled();
    expect(FakeSocket.all).toHaveLength(0);
    const loop = (async () => {
      for await (const _ of changes) break;
    })();
    await settled();
    await socket().open();
    socket().serve({ '/a': 1 });
    await loop;
    await settled();
    expect(socket().commands.at(-1)).toEqual({ unwatch: 1 });
  });

  test.each(['abort', 'close'])('ends quietly: %s', async (how) => {
    const { api, socket } = await open();
    const aborting = new AbortController();
    const loop = (async () => {
      for await (const _ of api.watch('/a', { signal: aborting.signal }));
      return 'ended';
    })();
    await settled();
    await socket().open();
    socket().serve({ '/a': 1 });
    await settled();
    if (how === 'abort') aborting.abort();
    else api.close();
    expect(await loop).toBe('ended');
  });

  test('that is told to end while it is being asked ends, and lets go of everything', async () => {
    const { api, socket } = await open();
    const { signal } = new AbortController();
    const [added, removed] = [vi.spyOn(signal, 'addEventListener'), vi.spyOn(signal, 'removeEventListener')];
    const changes = api.watch('/a', { signal });
    const first = changes.next();
    await settled();
    await socket().open();
    socket().serve({ '/a': 1 });
    await first;
    const asked = [changes.next(), changes.next()];
    await settled();
    expect(await changes.return!()).toEqual({ done: true, value: undefined });
    expect(await Promise.all(asked)).toEqual([{ done: true, value: undefined }, { done: true, value: undefined }]);
    await settled();
    expect(socket().commands.at(-1)).toEqual({ unwatch: 1 });
    expect(added).toHaveBeenCalledOnce();
    expect(removed.mock.calls[0]!.slice(0, 2)).toEqual(added.mock.calls[0]!.slice(0, 2));
  });

  test('gives each change to one who asks', async () => {
    const { api, socket } = await open();
    const changes = api.watch('/a');
    const asked = [1, 2, 3, 4].map(() => changes.next());
    await settled();
    await socket().open();
    socket().serve({ '/a': 1 });
    for (const n of [2, 3, 4]) {
      await settled();
      socket().say({ rev: `e.${n}`, t: 6, set: [[1, 'snapshot', n]], synced: true });
    }
    expect((await Promise.all(asked)).map(({ value }) => value.value)).toEqual([1, 2, 3, 4]);
  });

  test('of an API that was closed ends', async () => {
    const { api } = await open();
    api.close();
    for await (const _ of api.watch('/a')) throw new Error('it began');
    await expect(api.live('/a').ready).rejects.toMatchObject({ type: 'closed' });
  });

  test('that was aborted before it began never begins', async () => {
    const { api } = await open();
    for await (const _ of api.watch('/a', { signal: AbortSignal.abort() })) throw new Error('it began');
  });

  test('throws when its link cannot be served', async () => {
    const { api, socket } = await open();
    const loop = (async () => {
      for await (const _ of api.watch('/_x'));
    })();
    await settled();
    await socket().open();
    socket().say({ ref: 1, link: 1, type: 'urn:halfping:problem:reserved-path', status: 403, detail: 'not yours', hint: 'go elsewhere' });
    await expect(loop).rejects.toMatchObject({ name: 'HalfpingError', type: 'reserved-path', status: 403, detail: 'not yours', hint: 'go elsewhere', message: 'not yours (go elsewhere)' });
  });
});

describe('a mirror', () => {
  test('shows what is there, and tells of members', async () => {
    const { api, socket } = await open();
    const orders = api.live('/orders');
    expect([orders.value, orders.rev, orders.t, orders.synced, orders.get('42')]).toEqual([undefined, undefined, undefined, false, undefined]);
    const members: unknown[] = [];
    const values: unknown[] = [];
    orders.members((...of) => members.push(of));
    orders.on((value) => values.push(value));
    await settled();
    await socket().open();
    socket().serve({ '/orders': { 42: { status: 'new' }, 43: 1 } });
    expect(await orders.ready).toEqual({ 42: { status: 'new' }, 43: 1 });
    expect([orders.rev, orders.t, orders.synced, orders.get('42', 'status')]).toEqual(['e.1', 5, true, 'new']);
    socket().say({ rev: 'e.2', t: 6, set: [[1, 'merge', { 42: { status: 'sent' }, 43: null, 44: 2 }]], synced: true });
    expect(members).toEqual([
      ['42', { status: 'new' }, undefined],
      ['43', 1, undefined],
      ['42', { status: 'sent' }, { status: 'new' }],
      ['43', undefined, 1],
      ['44', 2, undefined],
    ]);
    expect(values).toHaveLength(2);
    const late: unknown[] = [];
    const stop = orders.members((key) => late.push(key));
    await settled();
    expect(late).toEqual(['42', '44']);
    stop();
    orders.close();
    socket().say({ rev: 'e.3', t: 7, set: [[1, 'gone']], synced: true });
    expect(orders.value).toEqual({ 42: { status: 'sent' }, 44: 2 });
    await settled();
    expect(socket().commands.at(-1)).toEqual({ unwatch: 1 });
  });

  test('that is closed before there was anything to show says that', async () => {
    const { api, socket } = await open();
    const mirror = api.live('/a');
    const seen: unknown[] = [];
    mirror.on((value) => seen.push(value));
    await settled();
    mirror.close();
    await expect(mirror.ready).rejects.toMatchObject({ type: 'closed' });
    mirror.on((value) => seen.push(value))();
    await socket().open();
    await settled();
    expect([seen, socket().commands, api.status.state]).toEqual([[], [], 'opening']);
  });

  test('tells whoever comes later all that is there', async () => {
    const { api, socket } = await live({ '/a': { x: 1, y: 1 } }, '/a');
    const mirror = api.live('/a');
    await settled();
    socket().say({ rev: 'e.2', t: 6, set: [[1, 'merge', { x: 2 }]], synced: true });
    const late: Change[] = [];
    mirror.on((_, change) => late.push(change));
    await settled();
    expect(late).toMatchObject([{ kind: 'snapshot', previous: undefined, value: { x: 2, y: 1 }, keys: ['x', 'y'], rev: 'e.2', synced: true }]);
  });

  test('says why it cannot be', async () => {
    const { api, socket } = await open();
    const errors: HalfpingError[] = [];
    const mirror = api.live('/_x', { onError: (error) => errors.push(error) });
    await settled();
    await socket().open();
    socket().say({ error: { type: 'urn:halfping:problem:reserved-path', status: 403, title: 'Reserved', ends: true }, link: 1 });
    await expect(mirror.ready).rejects.toThrow('Reserved');
    expect(errors).toHaveLength(1);
  });

  test('has handlers that do not disturb each other, and may be the same twice', async () => {
    const errors: unknown[] = [];
    const { api, socket } = await open({ onError: (error) => errors.push(error) });
    const mirror = api.live('/a');
    const seen: unknown[] = [];
    mirror.on(() => {
      throw new Error('mine');
    });
    const handler = (value: unknown) => seen.push(value);
    const stop = mirror.on(handler);
    mirror.on(handler);
    await settled();
    await socket().open();
    socket().serve({ '/a': 1 });
    stop();
    socket().say({ rev: 'e.2', t: 6, set: [[1, 'snapshot', 2]], synced: true });
    expect(seen).toEqual([1, 1, 2]);
    expect(errors).toHaveLength(2);
  });
});

describe('reading and writing', () => {
  const problem = (name: string, status: number, ref: number) => ({ ref, status, type: `urn:halfping:problem:${name}`, detail: 'why', rev: 'e.7' });

  test('go over the session in the order in which they are asked for', async () => {
    const { api, socket } = await live({}, '/a');
    const done = [
      api.put('/a', 1),
      api.put('/a', 2, { ifMatch: 'e.1' }),
      api.put('/a', 3, { ifMatch: null }),
      api.merge('/a', { x: null }, { ifMatch: '*' }),
      api.patch('/a', [{ op: 'test', path: '', value: 1 }]),
      api.delete('/a'),
      api.post('/list', { n: 1 }),
      api.get('/a', { depth: 1 }),
      api.get('/none'),
      api.get('/a', { where: 'speed > 50', select: 'line' }),
      api.get('/a', { as: 'list', order: '-speed', limit: 3, count: false }),
      api.get('/a', { count: true }),
    ];
    await settled();
    expect(socket().messages.at(-1)).toMatch(/^\[.*\]$/);
    const commands = socket().commands.slice(1);
    expect(commands).toEqual([
      { put: '/a', value: 1, ref: 2 },
      { put: '/a', value: 2, if: 'e.1', ref: 3 },
      { put: '/a', value: 3, if: null, ref: 4 },
      { merge: '/a', value: { x: null }, if: '*', ref: 5 },
      { patch: '/a', value: [{ op: 'test', path: '', value: 1 }], ref: 6 },
      { delete: '/a', ref: 7 },
      { post: '/list', value: { n: 1 }, ref: 8 },
      { get: '/a', depth: 1, ref: 9 },
      { get: '/none', ref: 10 },
      { get: '/a', where: 'speed > 50', select: 'line', ref: 11 },
      { get: '/a', order: '-speed', limit: 3, as: 'list', ref: 12 },
      { get: '/a', count: true, ref: 13 },
    ]);
    socket().say(
      { ref: 2, status: 201, rev: 'e.2' },
      problem('precondition-failed', 412, 3),
      { ref: 4, status: 200, rev: 'e.4' },
      { ref: 5, status: 200, rev: 'e.5' },
      problem('patch-failed', 409, 6),
      { ref: 7, status: 204, rev: 'e.6' },
      { ref: 8, status: 201, rev: 'e.7', path: '/list/0' },
      { ref: 9, status: 200, rev: 'e.8', value: {} },
      problem('not-found', 404, 10),
      problem('bad-view', 400, 11),
      { ref: 12, status: 200, rev: 'e.8', value: [['b', { speed: 2 }], ['a', 1]] },
      { ref: 13, status: 200, rev: 'e.8', value: 2 },
    );
    const results = await Promise.allSettled(done);
    expect(results.map((result) => (result.status === 'fulfilled' ? result.value : result.reason.type))).toEqual([
      { rev: 'e.2', created: true },
      'precondition-failed',
      { rev: 'e.4', created: false },
      { rev: 'e.5', created: false },
      'patch-failed',
      { rev: 'e.6', created: false },
      { path: '/list/0', rev: 'e.7' },
      { value: {}, rev: 'e.8' },
      { value: undefined, rev: 'e.7' },
      'bad-view',
      { value: [['b', { speed: 2 }], ['a', 1]], rev: 'e.8' },
      { value: 2, rev: 'e.8' },
    ]);
    expect((results[1] as PromiseRejectedResult).reason).toMatchObject({ status: 412, rev: 'e.7', problem: { type: 'urn:halfping:problem:precondition-failed' } });
  });

  test('of what cannot be read throw', async () => {
    const { api, socket } = await live({}, '/a');
    const reading = api.get('/_x');
    await settled();
    socket().say({ ref: 2, status: 403, type: 'urn:halfping:problem:reserved-path' });
    await expect(reading).rejects.toMatchObject({ type: 'reserved-path', detail: 'reserved-path' });
  });

  test('are offline after a time without a connection', async () => {
    const { api } = await open({ timeout: 500 });
    const writing = api.put('/a', 1);
    const failed = expect(writing).rejects.toMatchObject({ type: 'offline', status: 0 });
    await vi.advanceTimersByTimeAsync(500);
    await failed;
  });

  test.each([Infinity, 2 ** 31])('wait for a connection for as long as they may: %s ms', async (timeout) => {
    const { api, socket } = await open({ timeout });
    const reading = api.get('/a');
    await vi.advanceTimersByTimeAsync(4_000);
    await socket().open();
    socket().say({ ref: 1, status: 200, value: 1, rev: 'e.1' });
    expect(await reading).toEqual({ value: 1, rev: 'e.1' });
  });

  test('that are all do not keep a process from ending', async () => {
    const { api, socket } = await open();
    const reading = api.get('/a');
    await settled();
    await socket().open();
    socket().say({ ref: 1, status: 200, value: 1, rev: 'e.1' });
    await reading;
    await vi.advanceTimersByTimeAsync(249);
    expect(socket().closed).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1);
    expect(socket().closed).toBe(1000);
  });

  test('are unsure when the connection breaks before the answer', async () => {
    const { api, socket } = await live({}, '/a');
    const failed = expect(api.put('/a', 1)).rejects.toMatchObject({ type: 'unsure' });
    await settled();
    socket().onclose?.({ code: 1006 });
    await failed;
  });

  test('are closed with the API', async () => {
    const { api } = await live({}, '/a');
    const failed = expect(api.put('/a', 1)).rejects.toMatchObject({ type: 'closed' });
    api.close();
    await failed;
    await expect(api.get('/a')).rejects.toMatchObject({ type: 'closed' });
  });
});

describe('the connection', () => {
  test('is made when something is asked for, where the API is', async () => {
    FakeSocket.all = [];
    const api = connect('https://server.test/live?x=1#y', { WebSocket: FakeSocket });
    await settled();
    expect(FakeSocket.all).toHaveLength(0);
    expect([api.url, api.status.state]).toEqual(['https://server.test/live/', 'idle']);
    api.on('/a', () => {});
    await settled();
    expect(FakeSocket.all).toMatchObject([{ url: 'wss://server.test/live/', protocol: 'halfping.v1' }]);
    api.close();
    expect(connect('ws://server.test:81', { WebSocket: FakeSocket }).url).toBe('http://server.test:81/');
    expect(connect('localhost:7070').url).toBe('http://localhost:7070/');
    expect(connect('127.0.0.1:7070/live').url).toBe('http://127.0.0.1:7070/live/');
  });

  test('tells what becomes of it', async () => {
    const { api, socket } = await open();
    const seen: Status[] = [];
    const stop = api.onStatus((status) => seen.push({ ...status }));
    api.onStatus(() => {
      throw new Error('mine');
    });
    vi.spyOn(console, 'error').mockImplementation(() => {});
    api.on('/a', () => {});
    await settled();
    await socket().open();
    socket().serve({});
    const first = api.status;
    socket().say({ rev: 'e.2', t: 6, synced: true });
    expect(api.status).toBe(first); // nothing that is worth telling
    socket().onclose?.({ code: 1006 });
    stop();
    api.disconnect();
    expect(seen.map(({ state, synced }) => `${state} ${synced}`)).toEqual(['idle false', 'opening false', 'live false', 'live true', 'waiting false']);
    expect(seen[3]!.inStepAt).toBe(Date.now());
  });

  test('tells how old what it shows may be', async () => {
    const { api, socket } = await open();
    expect(api.age()).toBe(Infinity);
    api.on('/a', () => {});
    await settled();
    await socket().open();
    socket().serve({});
    expect(api.age()).toBe(0);
    await vi.advanceTimersByTimeAsync(700);
    expect(api.age()).toBe(700);
    socket().onclose?.({ code: 1006 });
    await vi.advanceTimersByTimeAsync(50);
    expect(api.age()).toBe(750);
  });

  test('tells that also when the clock is set back, and does not stay with an event stream for that', async () => {
    vi.spyOn(console, 'warn').mockImplementation(() => {});
    const { api, socket } = await open({ transport: 'auto', fetch: () => new Promise(() => {}) });
    api.on('/a', () => {});
    await settled();
    await socket().open();
    socket().serve({});
    await vi.advanceTimersByTimeAsync(700);
    expect(api.age()).toBeCloseTo(700);
    vi.setSystemTime(Date.now() - 3_600_000);
    expect(api.age()).toBeCloseTo(700);
    await vi.advanceTimersByTimeAsync(300);
    expect(api.age()).toBeCloseTo(1_000);
    expect(api.status.inStepAt).toBeCloseTo(Date.now() - 1_000);
    // The server is still asked whether it is there.
    const { length } = socket().messages;
    await vi.advanceTimersByTimeAsync(20_000);
    expect(socket().messages.slice(length).join()).toContain('"credit":');
    api.close();
    // Calls alone found WebSockets blocked, a minute long.
    const other = await open({ transport: 'auto', fetch: async () => new Response('1', { headers: { etag: '"e.1"' } }) });
    const first = other.api.get('/a');
    await vi.advanceTimersByTimeAsync(8_000);
    await first;
    vi.setSystemTime(Date.now() - 86_400_000);
    await other.api.get('/a');
    expect(FakeSocket.all).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(61_000);
    void other.api.get('/a').catch(() => {});
    await settled();
    expect(FakeSocket.all).toHaveLength(2);
    other.api.close();
  });

  test('that is refused says by whom and what to do, also after the next attempt', async () => {
    vi.spyOn(console, 'warn').mockImplementation(() => {});
    const problem = { type: 'urn:halfping:problem:forbidden-origin', status: 403, detail: 'pages of https://app.test may not follow anything here', hint: '--cors' };
    const { api, socket } = await open({ transport: 'auto', fetch: async () => Response.json(problem, { status: 403 }) });
    api.on('/a', () => {});
    for (let attempt = 1; attempt <= 2; attempt++) {
      await settled();
      socket().onclose?.({ code: 1006, reason: '' });
      expect(api.status.error?.type, 'until it is told anew').toBe(attempt === 1 ? undefined : 'forbidden-origin');
      await settled();
      expect(api.status).toMatchObject({ state: 'waiting', error: { type: 'forbidden-origin', status: 403 }, hint: '--cors' });
      await vi.advanceTimersByTimeAsync(1_000);
    }
    expect(FakeSocket.all).toHaveLength(3);
    api.close();
  });

  test('that is dead is found out by a write within seconds', async () => {
    const { api } = await live({ '/a': 1 }, '/a');
    const failed = expect(api.put('/a', 2)).rejects.toMatchObject({ type: 'unsure' });
    await vi.advanceTimersByTimeAsync(8_001);
    await failed;
    expect(api.status.state).toBe('waiting');
  });

  test('tells its listeners in order, also when one of them changes it', async () => {
    const { api } = await live({ '/a': 1 }, '/a');
    const states: Status['state'][] = [];
    api.onStatus(({ state }) => state === 'off' && api.reconnect());
    api.onStatus(({ state }) => states.push(state));
    const stop = api.onStatus(({ state }) => {
      if (state !== 'live') throw new Error('it was stopped');
    });
    api.onStatus(() => stop());
    stop();
    api.disconnect();
    expect(states).toEqual(['live', 'opening']);
  });

  test('is made anew at once when one asks for that, also while it is being made', async () => {
    let token = 'old';
    const { api, socket } = await open({ token: () => token });
    api.on('/a', () => {});
    await settled();
    token = 'new';
    api.reconnect();
    await settled();
    expect(FakeSocket.all).toMatchObject([{ closed: 1000 }, { closed: undefined }]);
    await socket().open();
    expect(socket().commands[0]).toMatchObject({ auth: 'new' });
  });

  test('for which there is no token for a while is no reason to blame the way', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    let isDown = true;
    const token = async () => {
      if (isDown) throw new Error('login is down');
      return 'sesame';
    };
    const { api, socket } = await open({ token, transport: 'auto', timeout: 60_000 });
    api.on('/a', () => {});
    const call = api.get('/a');
    await vi.advanceTimersByTimeAsync(30_000);
    expect(api.status).toMatchObject({ transport: 'websocket', error: { detail: 'login is down' } });
    isDown = false;
    await vi.advanceTimersByTimeAsync(10_000);
    await socket().open();
    socket().serve({ '/a': 1 });
    socket().say({ ref: 3, status: 200, value: 1, rev: 'e.1' });
    expect(await call).toEqual({ value: 1, rev: 'e.1' });
    expect(api.status).toMatchObject({ state: 'live', transport: 'websocket', hint: undefined });
    expect(warn).not.toHaveBeenCalled();
  });

  test('comes back with the cursor, and with a token of its own', async () => {
    let tokens = 0;
    const { api, socket } = await open({ token: async () => `token ${++tokens}` });
    api.on('/a', () => {});
    await settled();
    await socket().open();
    expect(socket().commands[0]).toEqual({ auth: 'token 1', ref: 1 });
    socket().serve({ '/a': 1 });
    await vi.advanceTimersByTimeAsync(3_000);
    socket().onclose?.({ code: 4001 });
    await vi.advanceTimersByTimeAsync(1);
    await socket().open();
    expect(socket().commands).toEqual([{ auth: 'token 2', ref: 3 }, { watch: 1, path: '/a', since: 'e.1', ref: 4 }]);
    expect(FakeSocket.all).toHaveLength(2);
  });

  test('that has no token yet may be given up', async () => {
    let give = (_: string) => {};
    const { api } = await open({ token: () => new Promise((resolve) => (give = resolve)) });
    api.on('/a', () => {});
    await settled();
    api.disconnect();
    give('late');
    await settled();
    expect(FakeSocket.all).toMatchObject([{ closed: 1000, messages: [] }]);
  });

  test('whose token cannot be had is tried again, and says why', async () => {
    const { api } = await open({ token: () => Promise.reject(new Error('no such user')) });
    api.on('/a', () => {});
    await settled();
    expect(api.status).toMatchObject({ state: 'waiting', error: { detail: 'no such user' } });
  });

  test('is switched off and on', async () => {
    const { api, socket, told } = await live({ '/a': 1 }, '/a');
    const before = socket();
    api.disconnect();
    expect([before.closed, api.status.state]).toEqual([1000, 'off']);
    before.onmessage?.({ data: '{}' });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(FakeSocket.all).toHaveLength(1);
    api.reconnect();
    await settled();
    await socket().open();
    socket().say({ ref: 2, status: 200 }, { rev: 'e.2', t: 9, set: [[1, 'snapshot', 2]], synced: true });
    expect(told.map(([, value]) => value)).toEqual([1, 2]);
  });

  test('looks around when the network is back', async () => {
    const { api, socket } = await live({ '/a': 1 }, '/a');
    socket().onclose?.({ code: 1006 });
    globalThis.dispatchEvent?.(new Event('online'));
    if (!globalThis.dispatchEvent) await vi.advanceTimersByTimeAsync(300);
    await settled();
    expect(FakeSocket.all).toHaveLength(2);
    api.close();
  });

  test('ends, and tells nobody that it was meant to', async () => {
    const report = vi.spyOn(console, 'error').mockImplementation(() => {});
    const { api, socket } = await live({ '/a': 1 }, '/a');
    const asked: HalfpingError[] = [];
    api.on('/a', () => {}, { onError: (error) => asked.push(error) });
    api.close();
    api.close();
    expect([socket().closed, api.status.state]).toEqual([1000, 'closed']);
    expect(asked).toEqual([]);
    expect(report).not.toHaveBeenCalled();
  });
});
