// @vitest-environment happy-dom
import { act, createElement, memo, StrictMode, Component, type ReactNode } from 'react';
import { createRoot, hydrateRoot, type Root } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Api } from '../src/index.js';
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

test('an error of the link reaches the nearest boundary', async () => {
  vi.spyOn(console, 'error').mockImplementation(() => {});
  const { api, socket } = await open();
  class Boundary extends Component<{ children: ReactNode }, { error?: any }> {
    override state: { error?: any } = {};
    static getDerivedStateFromError = (error: unknown) => ({ error });
    override render = () => (this.state.error ? <p>{this.state.error.type}</p> : this.props.children);
  }
  const Value = () => <b>{String(useLive('/_x'))}</b>;
  await show(api, <Boundary><Value /></Boundary>);
  await act(async () => {
    await socket().open();
    socket().say({ ref: 1, link: 1, type: 'urn:halfping:problem:reserved-path', status: 403 });
  });
  expect(place.innerHTML).toBe('<p>reserved-path</p>');
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
