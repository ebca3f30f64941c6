// @vitest-environment happy-dom
import { act, createElement, memo, StrictMode, Component, type ReactNode } from 'react';
import { createRoot, hydrateRoot, type Root } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type Api, sorted } from '../src/index.js';
import { HalfpingProvider, hooksOf, useApi, useLive, useStatus } from '../src/react.js';
import { FakeSocket, open } from './socket.js';

(globalThis as any).IS_REACT_ACT_ENVIRONMENT = true;

let root: Root;
let place: HTMLElement;

beforeEach(() => {
  place = document.body.appendChild(document.createElement('div'));
  root = createRoot(place);
});
afterEach(() => {
  act(() => root.unmount());
  place.remove();
  vi.restoreAllMocks();
});

const soon = () => act(async () => void (await new Promise((resolve) => setTimeout(resolve))));

async function show(api: Api, what: ReactNode) {
  act(() => root.render(createElement(StrictMode, null, createElement(HalfpingProvider, { api }, what))));
  await soon();
}

function Status() {
  const { state, synced } = useStatus();
  return <i>{`${state} ${synced}`}</i>;
}

test('a component shows what is there, and renders again only what changed', async () => {
  const { api, socket } = await open();
  const renders: Record<string, number> = {};
  const Order = memo(({ id, order }: { id: string; order: any }) => {
    renders[id] = (renders[id] ?? 0) + 1;
    return <li>{`${id} ${order.status}`}</li>;
  });
  const Orders = () => {
    const orders = useLive<any>('/orders');
    return <ul>{orders && Object.entries(orders).map(([id, order]) => <Order key={id} id={id} order={order} />)}</ul>;
  };
  await show(api, <><Orders /><Status /></>);
  expect(place.innerHTML).toBe('<ul></ul><i>opening false</i>');
  await act(async () => {
    await socket().open();
    socket().serve({ '/orders': { 1: { status: 'new' }, 2: { status: 'new' } } });
  });
  expect(place.innerHTML).toBe('<ul><li>1 new</li><li>2 new</li></ul><i>live true</i>');
  const before = { ...renders };
  await act(async () => socket().say({ rev: 'e.2', t: 6, set: [[1, 'merge', { 2: { status: 'sent' } }]], synced: true }));
  expect(place.textContent).toContain('2 sent');
  expect([renders['1'], renders['2']! > before['2']!]).toEqual([before['1'], true]);
  expect(socket().commands).toHaveLength(1); // also in strict mode
});

test('a component that goes ends its link, one that watches the same has its value from the start', async () => {
  const { api, socket } = await open();
  const seen: unknown[] = [];
  const Value = ({ path }: { path: `/${string}` | null }) => {
    const value = useLive<any>(path);
    seen.push(value);
    return <b>{String(value)}</b>;
  };
  await show(api, <Value path="/a" />);
  await act(async () => {
    await socket().open();
    socket().serve({ '/a': 1 });
  });
  seen.length = 0;
  await show(api, <><Value path="/a" /><Value path="/a" /></>);
  expect(seen).not.toContain(undefined);
  await show(api, <Value path="/b" />);
  expect(socket().commands.slice(1)).toEqual([{ watch: 2, path: '/b', ref: 2 }, { unwatch: 1 }]);
  await show(api, <Value path={null} />);
  expect(place.textContent).toBe('undefined');
  expect(socket().commands.at(-1)).toEqual({ unwatch: 2 });
});

test('a component can tell loading from absent', async () => {
  const { api, socket } = await open();
  const { useLive: useTyped, useStatus: useTypedStatus } = hooksOf<{ a: number }>();
  const Value = ({ path }: { path: '/a' | '/b' }) => <b>{String(useTyped(path, { initial: null }))}</b>;
  const State = () => <i>{useTypedStatus().state}</i>;
  const all = <><Value path="/a" /><Value path="/b" /><State /></>;
  expect(renderToString(<HalfpingProvider api={api}>{all}</HalfpingProvider>)).toBe('<b>null</b><b>null</b><i>idle</i>');
  await show(api, all);
  expect(place.innerHTML).toBe('<b>null</b><b>null</b><i>opening</i>');
  await act(async () => {
    await socket().open();
    socket().serve({ '/a': 1 });
  });
  expect(place.innerHTML).toBe('<b>1</b><b>undefined</b><i>live</i>');
  // One that comes later knows it from the start.
  const seen: unknown[] = [];
  const Late = () => {
    seen.push(useLive('/b', { initial: null }));
    return null;
  };
  await show(api, <><Value path="/b" /><Late /></>);
  expect(seen).not.toContain(null);
});

class Boundary extends Component<{ children: ReactNode }, { error?: any }> {
  override state: { error?: any } = {};
  static getDerivedStateFromError = (error: unknown) => ({ error });
  override render = () => (this.state.error ? <p>{this.state.error.type}: {this.state.error.detail}</p> : this.props.children);
}

test('a path without its first slash reaches the nearest boundary, also one that is only known as text', async () => {
  vi.spyOn(console, 'error').mockImplementation(() => {});
  const { api, socket } = await open();
  const text: string = 'vehicles/x';
  const Value = () => <b>{String(useLive<number>(text))}</b>;
  await show(api, <Boundary><Value /></Boundary>);
  expect(place.textContent).toBe('bad-path: "vehicles/x" is no path: begin it with /, name nothing . or ..');
  expect(socket()).toBeUndefined();
});

test('a component whose condition changes shows the other view', async () => {
  const { api, socket } = await open();
  const Fast = ({ above }: { above: number }) => {
    const fast = useLive<Record<string, { line: string }>>('/a', { where: `speed > ${above}`, select: 'line', initial: null });
    return <b>{fast === null ? 'loading' : Object.keys(fast ?? {}).join()}</b>;
  };
  await show(api, <Fast above={10} />);
  await act(async () => {
    await socket().open();
    socket().serve({ '/a': { 1: { line: 'U1' }, 2: { line: 'U2' } } });
  });
  expect(place.textContent).toBe('1,2');
  await show(api, <Fast above={10} />);
  expect(socket().commands).toEqual([{ watch: 1, path: '/a', where: 'speed > 10', select: 'line', ref: 1 }]);
  await show(api, <Fast above={20} />);
  expect(place.textContent).toBe('loading');
  expect(socket().commands.slice(1)).toEqual([{ watch: 2, path: '/a', where: 'speed > 20', select: 'line', ref: 2 }, { unwatch: 1 }]);
  await act(async () => socket().serve({ '/a': { 2: { line: 'U2' } } }, 'e.2'));
  expect(place.textContent).toBe('2');
});

test('a list in an order shows places that change, and its number of rows can change', async () => {
  const { api, socket } = await open();
  const ORDER = '-speed';
  const Fastest = ({ limit }: { limit: number }) => {
    const count = useLive('/a', { count: true });
    const fastest = useLive<Record<string, { speed: number }>>('/a', { order: ORDER, limit, select: 'speed' });
    return <b>{`${sorted(fastest, ORDER).map(([name]) => name)} of ${count}`}</b>;
  };
  await show(api, <Fastest limit={2} />);
  await act(async () => {
    await socket().open();
    socket().say({ rev: 'e.1', t: 1, set: [[1, 'snapshot', 3], [2, 'snapshot', { a: { speed: 5 }, b: { speed: 9 } }]], synced: true });
  });
  expect(socket().commands).toEqual([
    { watch: 1, path: '/a', count: true, ref: 1 },
    { watch: 2, path: '/a', select: 'speed', order: '-speed', limit: 2, ref: 2 },
  ]);
  expect(place.textContent).toBe('b,a of 3');
  await act(async () => socket().say({ rev: 'e.2', t: 2, set: [[2, 'merge', { a: { speed: 10 } }]], synced: true }));
  expect(place.textContent).toBe('a,b of 3');
  await act(async () => socket().say({ rev: 'e.3', t: 3, set: [[2, 'merge', { b: null, c: { speed: 11 } }], [1, 'snapshot', 4]], synced: true }));
  expect(place.textContent).toBe('c,a of 4');
  await show(api, <Fastest limit={3} />);
  expect(socket().commands.slice(2)).toEqual([{ watch: 3, path: '/a', select: 'speed', order: '-speed', limit: 3, ref: 3 }, { unwatch: 2 }]);
});

test('an error of the link reaches the nearest boundary', async () => {
  vi.spyOn(console, 'error').mockImplementation(() => {});
  const { api, socket } = await open();
  const Value = () => <b>{String(useLive('/_x'))}</b>;
  await show(api, <Boundary><Value /></Boundary>);
  await act(async () => {
    await socket().open();
    socket().say({ ref: 1, link: 1, type: 'urn:halfping:problem:reserved-path', status: 403, detail: '/_x is ours' });
  });
  expect(place.textContent).toBe('reserved-path: /_x is ours');
});

test('with the condition as its key, a boundary that has seen a wrong one shows the next', async () => {
  vi.spyOn(console, 'error').mockImplementation(() => {});
  const told = vi.fn();
  const { api, socket } = await open({ onError: told });
  const Names = ({ where }: { where: string }) => <b>{Object.keys(useLive('/a', { where, initial: null }) ?? { loading: 1 }).join()}</b>;
  const search = (where: string) => show(api, <Boundary key={where}><Names where={where} /></Boundary>);
  await search('speed > ');
  await act(async () => {
    await socket().open();
    socket().say({ ref: 1, link: 1, type: 'urn:halfping:problem:bad-view', status: 400, detail: "'where', column 9" });
  });
  expect(place.textContent).toBe("bad-view: 'where', column 9");
  await search('');
  expect(place.textContent).toBe('loading');
  await act(async () => socket().serve({ '/a': { 1: 1, 2: 2 } }));
  expect(place.textContent).toBe('1,2');
  expect(told).not.toHaveBeenCalled(); // React has told of it
});

test('a page that a server has rendered is taken over as it is, whatever is known by then', async () => {
  const report = vi.spyOn(console, 'error').mockImplementation(() => {});
  const { api, socket } = await open();
  const Value = () => <b>{String(useLive('/a'))}</b>;
  const all = () => <HalfpingProvider api={api}><Value /><Status /></HalfpingProvider>;
  const rendered = document.createElement('div');
  rendered.innerHTML = renderToString(all());
  expect(rendered.innerHTML).toBe('<b>undefined</b><i>idle false</i>');
  // Somebody else on the page has been watching it for a while.
  api.on('/a', () => {});
  await soon();
  await socket().open();
  socket().serve({ '/a': 1 });
  const hydrated = await act(async () => hydrateRoot(rendered, all()));
  await soon();
  expect(rendered.innerHTML).toBe('<b>1</b><i>live true</i>');
  expect(report).not.toHaveBeenCalled();
  act(() => hydrated.unmount());
});

test('on a server nothing is watched, and without a provider it is said what is missing', async () => {
  const { api } = await open();
  const Value = () => <b>{String(useLive('/a'))}</b>;
  expect(renderToString(<HalfpingProvider api={api}><Value /></HalfpingProvider>)).toBe('<b>undefined</b>');
  expect(FakeSocket.all).toHaveLength(0);
  expect(() => renderToString(<Value />)).toThrow('<HalfpingProvider api={…}>');
  const Name = () => <b>{useApi().url}</b>;
  expect(renderToString(<HalfpingProvider api={api}><Name /></HalfpingProvider>)).toContain('server.test');
});
