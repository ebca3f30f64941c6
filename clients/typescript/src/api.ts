/** The API that applications use: handlers, iterators and mirrors over one machine and one connection. */

import { HalfpingError, type Problem } from './errors.js';
import { Live } from './live.js';
import { type Action, type Call, CLOSED, type Event, type Link, Machine, newLink, type Phase, type Told, type Transport } from './machine.js';
import type { At } from './paths.js';
import type { Answer, Command, Shape } from './protocol.js';
import { changedKeys, type Operation } from './value.js';
import { openEvents, openSocket, request, type Http, type WebSocketConstructor, type Wire } from './wire.js';

/** Bytes of state that may be on their way at most: what a proxy or a sleeping page can make stale. */
const CREDIT_BYTES = 256 * 1024;
/** How long a call waits for a connection. */
const CALL_MS_MAX = 10_000;

/** What {@link connect} may be told. */
export interface Options {
  /** Who speaks: a bearer token, or how to get one. Asked for at every connection. */
  readonly token?: string | (() => string | undefined | Promise<string | undefined>) | undefined;
  /**
   * `websocket`, or `events` (a stream of server-sent events, and plain requests). `auto`, the default, prefers the former, and takes the
   * latter where WebSockets do not get through or are not there, as in Node 20.
   */
  readonly transport?: 'auto' | Transport;
  /** In place of the global one: `ws` in older Nodes, or a wrapper. */
  readonly WebSocket?: WebSocketConstructor;
  readonly fetch?: typeof fetch;
  /**
   * Bytes of state that may be on their way at most (PROTOCOL L10): after a stall, no more than these are stale. 0 for no bound. 262144 unless
   * told; a connection carries about as many in a round trip.
   */
  readonly credit?: number;
  /** How many milliseconds a read or a write may wait for a connection. 10,000 unless told. */
  readonly timeout?: number;
  /** Takes what handlers throw, and what goes wrong with a link of which nobody takes errors. Reported as uncaught unless told. */
  readonly onError?: (error: unknown) => void;
}

/** What became of a resource. */
export interface Change<V = any> {
  readonly path: string;
  /** What is there now; `undefined` when nothing is. */
  readonly value: V | undefined;
  /** What was there when this reader was last told. */
  readonly previous: V | undefined;
  /** How it came. */
  readonly kind: 'snapshot' | 'merge' | 'patch' | 'gone';
  /** As it came: the value, a merge patch (RFC 7396), or operations (RFC 6902). What came in parts, or is several changes, is the whole value. */
  readonly body: unknown;
  /** The cursor of this state. */
  readonly rev: string;
  /** When the newest change in it was committed, by the server's clock: milliseconds since 1970. */
  readonly t: number;
  /** All that this API watches was up to date with this. */
  readonly synced: boolean;
  /** The members that changed, if it is or was an object. */
  readonly keys: string[] | undefined;
}

/** Called with the first state (`undefined` when nothing is there), and whenever it has changed. */
export type Handler<V = any> = (value: V | undefined, change: Change<V>) => void;

/** How a link is to be told, and what to do when it cannot be. */
export interface WatchOptions extends Shape {
  /** The server refuses the link: it is over. */
  readonly onError?: (error: HalfpingError) => void;
}

/** What may be said of a write. */
export interface WriteOptions {
  /** Only if the resource is in the state of this cursor; `*`: if there is anything; `null`: if there is nothing. */
  readonly ifMatch?: string | null;
}

/** The state of the connection. */
export interface Status {
  /**
   * `idle`: nothing is needed. `opening`: no word from the server yet. `live`. `waiting`: lost, another try will follow. `off`: by
   * {@link Api.disconnect}. `refused`: the server said not to come back; {@link Api.reconnect} does. `closed`: by {@link Api.close}.
   */
  readonly state: Phase;
  /** Everything that is watched shows the newest state that the server has told. */
  readonly synced: boolean;
  readonly transport: Transport | undefined;
  /** When that was last known to be so: milliseconds since 1970. */
  readonly inStepAt: number | undefined;
  /** What went wrong last, if it still matters. */
  readonly error: HalfpingError | undefined;
  /** What somebody could do about it, in one sentence. */
  readonly hint: string | undefined;
}

interface Subscriber {
  changed(change: Change): void;
  failed(error: HalfpingError): void;
}

/** A link, and those who listen to it. */
interface Feed {
  readonly key: string;
  readonly link: Link;
  readonly entries: Set<Entry>;
}

interface Entry {
  readonly subscriber: Subscriber;
  told: boolean;
}

interface Pending {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: HalfpingError) => void;
  readonly timer: ReturnType<typeof setTimeout>;
}

/** Opens nothing yet: the connection is made when something is first asked for. */
export function connect<S = any>(url?: string | URL, options: Options = {}): Api<S> {
  return new Api<S>(url, options);
}

/** One server, over one connection. `S` is the shape of its whole state, if that is known. */
export class Api<S = any> {
  /** The root of the API. */
  readonly url: string;
  readonly #options: Options;
  readonly #machine: Machine;
  readonly #http: Http;
  readonly #feeds = new Map<string, Feed>();
  readonly #feedOf = new Map<Link, Feed>();
  readonly #leaving = new Set<Feed>();
  readonly #pending = new Map<Call, Pending>();
  readonly #listeners = new Set<(status: Status) => void>();
  #wire: Wire | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #flushing = false;
  #nextId = 1;
  #shown: Status;
  #hinted = false;
  #requests: Promise<unknown> = Promise.resolve();
  readonly #listening = new AbortController();

  constructor(url: string | URL | undefined, options: Options) {
    this.#options = options;
    const text = String(url ?? './');
    const root = new URL(/^[\w.-]+:\d/.test(text) ? `http://${text}` : text, globalThis.location?.href);
    root.protocol = root.protocol.replace('ws', 'http');
    root.search = root.hash = '';
    if (!root.pathname.endsWith('/')) root.pathname += '/';
    this.url = root.href;
    this.#http = {
      root,
      fetch: options.fetch ?? ((...of) => fetch(...of)),
      token: async () => (typeof options.token === 'function' ? options.token() : options.token),
    };
    const { transport = 'auto' } = options;
    const socket = this.#socket();
    this.#machine = new Machine({
      transports: transport !== 'auto' ? [transport] : socket ? ['websocket', 'events'] : ['events'],
      credit: options.credit ?? CREDIT_BYTES,
      random: Math.random,
    });
    this.#shown = this.#currentStatus();
    const nudge = () => globalThis.document?.visibilityState !== 'hidden' && this.#dispatch({ type: 'nudge' });
    const { signal } = this.#listening;
    globalThis.addEventListener?.('online', nudge, { signal });
    globalThis.document?.addEventListener('visibilitychange', nudge, { signal });
  }

  // ---- being told

  /**
   * Calls the handler with what is at a path, and again whenever that changes. Returns what ends it. Equal watches share one link, and a
   * handler that throws disturbs no other.
   */
  on<const P extends string>(path: P, handler: Handler<At<S, P>>, options: WatchOptions = {}): () => void {
    return this.subscribe(path, options, {
      changed: (change) => handler(change.value, change),
      failed: (error) => this.report(error, options.onError),
    });
  }

  /**
   * The same as an iterator, which begins when it is first asked. Whoever is slow gets the newest state when it asks: nothing is queued. It
   * ends with its loop, when `signal` aborts, and when the API is closed.
   */
  async *watch<const P extends string>(
    path: P,
    { signal, ...shape }: Shape & { readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<Change<At<S, P>>, void, undefined> {
    let news: Change | undefined;
    let last: unknown;
    let over = signal?.aborted;
    let error: HalfpingError | undefined;
    let wake = () => {};
    const end = (why?: unknown) => {
      over = true;
      if (why instanceof HalfpingError && why.type !== 'closed') error = why;
      wake();
    };
    signal?.addEventListener('abort', () => end());
    const stop = this.subscribe(path, shape, {
      changed: (change) => {
        // What was not taken is part of the next.
        news = news ? newChange(path, { ...change, kind: 'snapshot', body: change.value, previous: last }) : change;
        wake();
      },
      failed: end,
    });
    try {
      while (!over) {
        if (news) {
          const change = news;
          news = undefined;
          last = change.value;
          yield change;
        } else await new Promise<void>((resolve) => (wake = resolve));
      }
      if (error) throw error;
    } finally {
      stop();
    }
  }

  /** A mirror of what is at a path, for as long as it is not closed. */
  live<const P extends string>(path: P, options: WatchOptions = {}): Live<At<S, P>> {
    return new Live<At<S, P>>(this, path, options);
  }

  /** What is known of a resource that is being watched in this shape already. */
  peek<const P extends string>(path: P, shape: Shape = {}): At<S, P> | undefined {
    return this.#feeds.get(keyOf(path, shape))?.link.value as At<S, P> | undefined;
  }

  /** @internal */
  subscribe(path: string, shape: Shape, subscriber: Subscriber): () => void {
    check(path);
    const key = keyOf(path, shape);
    const entry: Entry = { subscriber, told: false };
    let feed = this.#feeds.get(key);
    if (feed) {
      const { link, entries } = feed;
      if (link.known) queueMicrotask(() => entries.has(entry) && !entry.told && this.#tell(entry, asFirst(link)));
    } else {
      const link = newLink(this.#nextId++, path, JSON.parse(key.slice(path.length)) as Shape);
      feed = { key, link, entries: new Set() };
      this.#feeds.set(key, feed);
      this.#feedOf.set(link, feed);
      this.#dispatch({ type: 'watch', link });
    }
    const joined = feed;
    joined.entries.add(entry);
    this.#soon();
    return () => {
      if (!joined.entries.delete(entry) || joined.entries.size > 0) return;
      this.#leaving.add(joined);
      this.#soon();
    };
  }

  // ---- reading and writing

  /** What is at a path now, and its cursor. `value` is `undefined` when nothing is there. */
  async get<const P extends string>(path: P, { depth }: { readonly depth?: number } = {}): Promise<{ value: At<S, P> | undefined; rev: string }> {
    try {
      const { value, rev } = await this.#call({ get: path, ...(depth === undefined ? {} : { depth }) }, false);
      return { value: value as At<S, P>, rev: rev! };
    } catch (error) {
      if (error instanceof HalfpingError && error.type === 'not-found' && error.rev) return { value: undefined, rev: error.rev };
      throw error;
    }
  }

  /** Makes the resource exactly this. */
  put<const P extends string>(path: P, value: At<S, P>, options?: WriteOptions): Promise<Written> {
    return this.#write({ put: path, value }, options);
  }

  /** Applies a merge patch (RFC 7396): members that are `null` are removed. */
  merge<const P extends string>(path: P, patch: Patch<At<S, P>>, options?: WriteOptions): Promise<Written> {
    return this.#write({ merge: path, value: patch }, options);
  }

  /** Applies a JSON Patch (RFC 6902), all of it or nothing. */
  patch<const P extends string>(path: P, operations: readonly Operation[], options?: WriteOptions): Promise<Written> {
    return this.#write({ patch: path, value: operations }, options);
  }

  /** Removes the resource. It is an error if there is none. */
  delete<const P extends string>(path: P, options?: WriteOptions): Promise<Written> {
    return this.#write({ delete: path }, options);
  }

  /** Creates a member under a key of the server's, in order of time. */
  async post<const P extends string>(path: P, value: unknown): Promise<{ path: string; rev: string }> {
    const answer = await this.#call({ post: path, value }, true);
    return { path: answer.path!, rev: answer.rev! };
  }

  async #write(command: Command, { ifMatch }: WriteOptions = {}): Promise<Written> {
    const { rev, status } = await this.#call(ifMatch === undefined ? command : { ...command, if: ifMatch }, true);
    return { rev: rev!, created: status === 201 };
  }

  #call(command: Command, writes: boolean): Promise<Answer> {
    return new Promise((resolve, reject) => {
      check(Object.values(command)[0] as string);
      JSON.stringify(command); // what is no JSON fails here, and not on the way
      const call: Call = { command, writes };
      const timer = setTimeout(() => this.#dispatch({ type: 'expire', call }), this.#options.timeout ?? CALL_MS_MAX);
      this.#pending.set(call, { resolve, reject, timer });
      this.#dispatch({ type: 'call', call });
      this.#soon();
    });
  }

  // ---- the connection

  get status(): Status {
    return this.#shown;
  }

  /** Calls the handler with the status, now and whenever it changes. Returns what ends it. */
  onStatus(handler: (status: Status) => void): () => void {
    const listener = (status: Status) => this.guard(() => handler(status));
    this.#listeners.add(listener);
    listener(this.#shown);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Milliseconds since everything that is watched was last known to be up to date. While all is well it is small: at most the time since
   * something changed, and 20 s, after which the server is asked. `Infinity` before the first time.
   */
  age(): number {
    const { inStepAt } = this.#machine;
    return inStepAt === undefined ? Infinity : Math.max(0, Date.now() - inStepAt);
  }

  /** Ends the connection and stays away. What is watched stays so, and comes up to date after {@link reconnect}. */
  disconnect(): void {
    this.#dispatch({ type: 'disconnect' });
  }

  /** Connects anew, now. */
  reconnect(): void {
    this.#dispatch({ type: 'reconnect' });
  }

  /** Ends everything. Iterators end, calls that were not answered are rejected. */
  close(): void {
    this.#dispatch({ type: 'close' });
    this.#listening.abort();
    const closed = brokenBy('closed', this.url);
    for (const feed of [...this.#feeds.values()]) this.#end(feed, closed);
  }

  // ---- the machine's hands

  #dispatch(event: Event): void {
    for (const action of this.#machine.handle(event, Date.now())) this.#perform(action);
    this.#showStatus();
  }

  #perform(action: Action): void {
    switch (action.do) {
      case 'connect':
        return void this.#open(action.transport);
      case 'send':
        return this.#wire?.send(action.commands);
      case 'drop':
        this.#wire?.drop();
        this.#wire = undefined;
        return;
      case 'timer':
        clearTimeout(this.#timer);
        if (action.ms !== undefined) this.#timer = setTimeout(() => this.#dispatch({ type: 'timer' }), action.ms);
        return;
      case 'told': {
        const change = newChange(action.link.path, action.told);
        for (const entry of [...(this.#feedOf.get(action.link)?.entries ?? [])]) this.#tell(entry, change);
        return;
      }
      case 'failed': {
        const feed = this.#feedOf.get(action.link);
        if (feed) this.#end(feed, HalfpingError.of(action.problem));
        return;
      }
      case 'request':
        // One after the other, so that they arrive in the order in which they were made.
        this.#requests = this.#requests.then(() => this.#request(action.call));
        return;
      case 'answered':
        return this.#settle(action.call, action.answer);
      case 'broken':
        return this.#take(action.call)?.reject(brokenBy(action.why, this.url, this.#machine.problem));
    }
  }

  async #open(transport: Transport): Promise<void> {
    const wire: { current?: Wire } = {};
    let isOver = false;
    // From now on the machine may drop it, also while the token is being fetched.
    const own: Wire = {
      send: (commands) => wire.current?.send(commands),
      drop: () => {
        isOver = true;
        wire.current?.drop();
      },
    };
    this.#wire = own;
    const lost = (loss: { code?: number; retryAfter?: number; problem?: Problem }) => {
      if (isOver) return;
      isOver = true;
      if (this.#wire === own) this.#wire = undefined;
      this.#dispatch({ type: 'lost', ...loss });
    };
    try {
      const token = await this.#http.token();
      if (isOver) return;
      const listener = {
        opened: () => isOver || this.#dispatch({ type: 'opened', token }),
        message: (text: string) => isOver || this.#dispatch({ type: 'message', text }),
        lost,
      };
      wire.current = transport === 'events' ? openEvents(this.#http, token, listener) : openSocket(this.#socket()!, this.#http.root, listener);
    } catch (error) {
      lost({ problem: { type: 'offline', detail: `cannot connect: ${(error as Error).message}` } });
    }
  }

  #socket(): WebSocketConstructor | undefined {
    return this.#options.WebSocket ?? (globalThis.WebSocket as unknown as WebSocketConstructor | undefined);
  }

  async #request(call: Call): Promise<void> {
    try {
      this.#settle(call, await request(this.#http, call.command));
    } catch {
      this.#take(call)?.reject(brokenBy(call.writes ? 'unsure' : 'offline', this.url));
    }
  }

  #settle(call: Call, answer: Answer): void {
    const pending = this.#take(call);
    if (answer.status >= 400) pending?.reject(HalfpingError.of(answer, answer.rev));
    else pending?.resolve(answer);
  }

  #take(call: Call): Pending | undefined {
    const pending = this.#pending.get(call);
    this.#pending.delete(call);
    clearTimeout(pending?.timer);
    return pending;
  }

  /** When the application has said all that it has to say for now. */
  #soon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      for (const feed of this.#leaving) {
        if (feed.entries.size > 0) continue; // somebody came
        this.#forget(feed);
        this.#dispatch({ type: 'unwatch', link: feed.link });
      }
      this.#leaving.clear();
      this.#dispatch({ type: 'flush' });
    });
  }

  #forget(feed: Feed): void {
    this.#feeds.delete(feed.key);
    this.#feedOf.delete(feed.link);
  }

  #end(feed: Feed, error: HalfpingError): void {
    this.#forget(feed);
    const entries = [...feed.entries];
    feed.entries.clear();
    for (const { subscriber } of entries) this.guard(() => subscriber.failed(error));
  }

  #tell(entry: Entry, change: Change): void {
    const { subscriber, told } = entry;
    entry.told = true;
    // Whoever came later was told of nothing before.
    const own = told || change.previous === undefined ? change : newChange(change.path, { ...change, previous: undefined, kind: 'snapshot', body: change.value });
    this.guard(() => subscriber.changed(own));
  }

  /** @internal */
  guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.report(error);
    }
  }

  /** @internal */
  report(error: unknown, to: ((error: any) => void) | undefined = this.#options.onError): void {
    if (error instanceof HalfpingError && error.type === 'closed') return; // it is what was asked for
    if (to) to(error);
    else if (globalThis.reportError) globalThis.reportError(error);
    else console.error(error);
  }

  #currentStatus(): Status {
    const { phase: state, transport, inStepAt, problem, blockedUntil } = this.#machine;
    const isBlocked = transport === 'events' && blockedUntil > 0;
    const hint = isBlocked
      ? `WebSockets do not get through to ${this.url}, so an event stream is used: if a proxy is between, let it pass upgrades (nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;)`
      : problem?.hint;
    const error = problem && HalfpingError.of(problem);
    return { state, synced: this.#machine.isInStep(), transport, inStepAt, error, hint };
  }

  #showStatus(): void {
    const shown = this.#shown;
    const status = this.#currentStatus();
    if ((['state', 'synced', 'transport', 'hint'] as const).every((key) => status[key] === shown[key]) && status.error?.detail === shown.error?.detail) {
      // When it was last in step is to be read, and not worth telling by itself.
      Object.assign(shown, { inStepAt: status.inStepAt });
      return;
    }
    this.#shown = status;
    if (status.state === 'live' && status.hint && !this.#hinted) {
      this.#hinted = true;
      console.warn(`halfping: ${status.hint}`);
    }
    for (const listener of [...this.#listeners]) listener(status);
  }
}

/** What became of a write. */
export interface Written {
  /** The resource's cursor now. */
  readonly rev: string;
  /** Nothing was there before. */
  readonly created: boolean;
}

/** A merge patch of a `V`: any part of it, and `null` for what is to go. */
export type Patch<V> = V extends readonly unknown[] ? V : V extends object ? { readonly [K in keyof V]?: Patch<V[K]> | null } : V;

/** On the way a URL would be made of these, and lead elsewhere. */
function check(path: unknown): void {
  if (typeof path !== 'string' || !path.startsWith('/') || /\/(\.|%2e){1,2}(\/|$)/i.test(path)) {
    throw new HalfpingError('bad-path', `"${path}" is no path`, 0, 'it begins with a slash, and no part of it is . or ..');
  }
}

/** Equal watches have equal keys. */
function keyOf(path: string, { depth, rate, delta, priority }: Shape): string {
  return path + JSON.stringify({ depth, rate, delta: delta === false ? delta : undefined, priority: priority || undefined });
}

function newChange(path: string, told: Told): Change {
  return Object.assign(Object.create(lazily) as Change, told, { path });
}

/** Which members changed takes a walk over all of them, which most handlers have no need of. */
const lazily = {
  get keys(): string[] | undefined {
    const { previous, value, kind, body } = this as unknown as Told;
    const keys = changedKeys(previous, value, kind, body);
    Object.defineProperty(this, 'keys', { value: keys });
    return keys;
  },
};

function asFirst({ path, value, rev, t }: Link): Change {
  const kind = value === undefined ? 'gone' : 'snapshot';
  return newChange(path, { previous: undefined, value, kind, body: value, rev: rev!, t, synced: false });
}

function brokenBy(why: 'offline' | 'unsure' | 'closed', url: string, problem?: Problem): HalfpingError {
  const details = {
    offline: `not sent: no connection to ${url}${problem ? `: ${problem.detail}` : ''}`,
    unsure: `the connection to ${url} broke before the answer: it may have happened or not`,
    closed: CLOSED,
  };
  return new HalfpingError(why, details[why], 0, problem?.hint);
}
