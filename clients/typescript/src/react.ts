/**
 * Remote state in React components: `const order = useLive('/orders/42')`.
 *
 * @module
 */

import { createContext, createElement, type ReactNode, useContext, useMemo, useSyncExternalStore } from 'react';
import type { Api, At, Shape, Shown, Status } from './index.js';

const Context = createContext<Api | undefined>(undefined);

/** Gives the components beneath it the API that {@link useLive} watches. */
export function HalfpingProvider({ api, children }: { readonly api: Api; readonly children?: ReactNode }) {
  return createElement(Context.Provider, { value: api }, children);
}

/** The API of the nearest {@link HalfpingProvider}. */
export function useApi<S = any>(): Api<S> {
  const api = useContext(Context);
  if (!api) throw new Error('useLive, useStatus and useApi want a <HalfpingProvider api={…}> around them');
  return api;
}

/**
 * The value at a path, now and whenever it changes; `undefined` when nothing is there, and `initial` until that is known: `initial: null` tells
 * loading from absent. Parts that did not change keep their identity, so that memoised components beneath are not rendered again. `null` as the
 * path watches nothing. An error of the link, or of a path that does not begin with `/`, is thrown where the component renders, for the nearest error
 * boundary.
 */
export function useLive<I = undefined>(path: string | null, options: LiveOptions<I, true> & { readonly count: true }): number | I | undefined;
export function useLive<V = any, I = undefined>(path: string | null, options?: LiveOptions<I>): V | I | undefined;
export function useLive<V>(path: string | null, options: LiveOptions<null>): V | null | undefined;
export function useLive<V, I>(path: string | null, { initial, ...shape }: LiveOptions<I> = {}): V | I | undefined {
  const api = useApi();
  const { rate, depth, delta, priority, where, select, order, limit, count } = shape;
  const store = useMemo(
    () => storeOf(api, path, { rate, depth, delta, priority, where, select, order, limit, count } as Shape),
    [api, path, rate, depth, delta, priority, where, select, order, limit, count],
  );
  const seen = useSyncExternalStore(store.subscribe, store.read, unseen);
  if (seen.error) throw seen.error;
  return seen === NOTHING ? initial : (seen.value as V | undefined);
}

/** The shape of a {@link useLive}, and the value that it returns at first. */
export interface LiveOptions<I = undefined, C extends boolean = boolean> extends Shape<C> {
  /** Returned until the state is known, also where a server renders the page. `undefined` unless told. */
  readonly initial?: I;
}

/** The hooks of an API whose state has the shape `S`: the path says what the value is. */
export interface Hooks<S> {
  useApi(): Api<S>;
  useLive<const P extends string, C extends boolean = false>(path: P | null, options?: LiveOptions<undefined, C>): Shown<At<S, P>, C> | undefined;
  useLive<const P extends string, I, C extends boolean = false>(path: P | null, options?: LiveOptions<I, C>): Shown<At<S, P>, C> | I | undefined;
  useStatus(): Status;
}

/** `const { useLive } = hooksOf<Schema>()`: the same hooks, for the compiler. */
export function hooksOf<S>(): Hooks<S> {
  return { useApi, useLive, useStatus };
}

/** The state of the connection. */
export function useStatus(): Status {
  const api = useApi();
  const subscribe = useMemo(() => (changed: () => void) => api.onStatus(changed), [api]);
  return useSyncExternalStore(subscribe, () => api.status, () => IDLE);
}

interface Seen {
  readonly value?: unknown;
  readonly error?: unknown;
}

/** The state that a server renders, and the first render over it in the browser has to repeat. */
const NOTHING: Seen = {};
const unseen = () => NOTHING;
const IDLE: Status = { state: 'idle', synced: false, transport: undefined, inStepAt: undefined, error: undefined, hint: undefined };

function storeOf(api: Api, path: string | null, shape: Shape) {
  // Another component may watch the same already: then there is no first render without it.
  const known = path === null ? undefined : api.state(path, shape);
  let seen: Seen = known ? { value: known.value } : NOTHING;
  return {
    read: () => seen,
    subscribe: (changed: () => void) => {
      if (path === null) return () => {};
      const see = (next: Seen) => {
        seen = next;
        changed();
      };
      return api.on(path, (value) => (seen === NOTHING || value !== seen.value) && see({ value }), { ...shape, onError: (error) => see({ error }) });
    },
  };
}
