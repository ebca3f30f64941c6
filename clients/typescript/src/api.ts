/** The API that applications use: handlers, iterators and mirrors over one machine and one connection. */

import { type Change, newChange, since, type State } from './change.js';
import { HalfpingError, type Problem } from './errors.js';
import { Live } from './live.js';
import { Machine } from './machine.js';
import { type Action, type Call, CLOSED, type Event, LINGER_MS, LINGER_MS_IN_PROCESS, type Link, newLink, type Transport } from './terms.js';
import { type At, checked, type Shown } from './paths.js';
import type { Handler, Status, Subscriber, WatchOptions } from './reader.js';
import { type Answer, type Command, type ReadOptions, type Shape, shapeOf } from './protocol.js';
import { copied, type Operation } from './value.js';
import { later, openEvents, openSocket, problemOf, request, type Http, type Listener, type WebSocketConstructor, type Wire } from './wire.js';

/** Bytes of state that may be on their way at most: what a proxy or a sleeping page can make stale. */
const CREDIT_BYTES = 256 * 1024;
/** Time that a call waits for a connection. */
const CALL_MS_MAX = 10_000;
const TRANSPORTS: readonly Transport[] = ['websocket', 'events'];
/** A timer that is to wait for longer does not wait at all. */
const TIMER_MS_MAX = 2 ** 31 - 1;
/** Time that a token may take: less than a connection may, so that the error says what it was that took so long. */
const TOKEN_MS_MAX = 8_000;

/** Options of {@link connect}. */
export interface Options {
  /** A bearer token, or a function that returns one. It is asked at every connection, before the token ends, and when the server refuses it. */
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
  /** Milliseconds that a read or a write may wait for a connection; `Infinity` for 24 days. 10,000 unless told. */
  readonly timeout?: number;
  /**
   * Takes what handlers throw, what goes wrong with a link of which nobody takes errors, and why there is no connection: the first one fails (once
   * for each reason, while more attempts follow), or the server refuses this client. Reported as uncaught unless told. All but what handlers throw is
   * a {@link HalfpingError}: ask by `instanceof`.
   */
  readonly onError?: (error: unknown) => void;
}

/** Options of a write. */
export interface WriteOptions {
  /** Only if the resource is in the state of this cursor; `*`: if there is anything; `null`: if there is nothing. */
  readonly ifMatch?: string | null;
}

/** A link, and those who listen to it. */
interface Feed extends Link {
  readonly entries: Set<Subscriber>;
}

interface Pending extends Call {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: HalfpingError) => void;
  timer?: ReturnType<typeof setTimeout>;
}

let wall = 0;
let ran = 0;
let passed = 0;
/** A clock that does not go back, as the system's may, and does not stand still while the machine sleeps, as the browser's may. */
function now(): number {
  const [wallBefore, ranBefore] = [wall, ran];
  wall = Date.now();
  ran = performance.now();
  return (passed += Math.max(wall - wallBefore, ran - ranBefore));
}

/** Opens nothing yet: the connection is made when something is first asked for. */
export function connect<S = any>(url?: string | URL, options: Options = {}): Api<S> {
  return new Api<S>(url, options);
}

/** One server, over one connection. `S` is the shape of its whole state, if that is known. */
export class Api<S = any> {
  /** The root of the API. */
  declare readonly url: string;
  readonly #options: Options;
  readonly #machine: Machine;
  readonly #http: Http;
  readonly #Socket: WebSocketConstructor | undefined;
  readonly #feeds = new Map<string, Feed>();
  readonly #leaving = new Set<Feed>();
  /** Calls that wait for the request before them. */
  readonly #waiting = new Set<Call>();
  readonly #pending = new Set<Call>();
  readonly #listeners = new Set<(status: Status) => void>();
  #wire: Wire | undefined;
  /** The listener of the present connection. */
  #listener: Listener | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #renewal: ReturnType<typeof setTimeout> | undefined;
  #flushing = false;
  /** Actions to be done, in this order. */
  readonly #actions: Action[] = [];
  #acting = false;
  #nextId = 1;
  #shown: Status;
  #requests: Promise<unknown> = Promise.resolve();
  readonly #listening = new AbortController();

  constructor(url: string | URL = '/', options: Options) {
    const root = rootOf(`${url}`);
    const { transport = 'auto', credit = CREDIT_BYTES, timeout = CALL_MS_MAX } = options;
    this.#options = { ...options, ...(copied({ credit, timeout: Math.min(timeout, TIMER_MS_MAX) }, 'options') as Options) };
    this.url = root.href;
    const ask = async () => (typeof options.token === 'function' ? options.token() : options.token);
    this.#http = {
      root,
      fetch: options.fetch ?? ((...of) => fetch(...of)),
      token: () => Promise.race([ask(), new Promise<never>((_, reject) => later(() => reject(new Error('no token within 8 s')), TOKEN_MS_MAX))]),
    };
    this.#Socket = options.WebSocket ?? (globalThis.WebSocket as unknown as WebSocketConstructor | undefined);
    const transports = TRANSPORTS.filter((name) => (transport === 'auto' || name === transport) && (name === 'events' || this.#Socket));
    if (!transports[0]) throw badOption(`no transport "${transport}" here`, "say { transport: 'auto' }");
    this.#machine = new Machine({
      transports,
      credit,
      linger: 'process' in globalThis ? LINGER_MS_IN_PROCESS : LINGER_MS,
      renews: typeof options.token === 'function',
      random: Math.random,
    });
    this.#shown = this.#currentStatus();
    const nudge = () => globalThis.document?.hidden || this.#dispatch({ type: 'nudge' });
    for (const type of ['online', 'visibilitychange']) globalThis.addEventListener?.(type, nudge, this.#listening);
  }

  // ---- being told

  /**
   * Calls the handler with what is at a path, and again whenever that changes. Returns what ends it. Equal watches share one link, and a
   * handler that throws disturbs no other.
   */
  on<const P extends string, C extends boolean = false>(path: P, handler: Handler<Shown<At<S, P>, C>>, options: WatchOptions<C> = {}): () => void {
    if (typeof handler !== 'function') throw badOption('the handler is no function', 'say on(path, handler, options)');
    return this.subscribe(path, options, {
      changed: (change) => handler(change.value, change),
      failed: (error) => this.report(error, options.onError),
    });
  }

  /**
   * The same as an iterator, which begins when it is first asked. Whoever is slow gets the newest state when it asks: nothing is queued. It
   * ends with its loop, when `signal` aborts, and when the API is closed.
   */
  watch<const P extends string, C extends boolean = false>(
    path: P,
    { signal, ...shape }: Shape<C> & { readonly signal?: AbortSignal } = {},
  ): AsyncIterableIterator<Change<Shown<At<S, P>, C>>> {
    let news: Change | undefined;
    let last: unknown;
    let error: HalfpingError | undefined;
    let over = signal?.aborted;
    let stop: (() => void) | undefined;
    let wake = () => {};
    let woken: Promise<void> | undefined;
    const end = (why?: unknown) => {
      if (why instanceof HalfpingError && why.type !== 'closed') error = why;
      over = true;
      stop?.();
      signal?.removeEventListener('abort', end);
      wake();
    };
    return {
      next: async () => {
        if (!over && !stop) {
          signal?.addEventListener('abort', end);
          stop = this.subscribe(path, shape, {
            changed: (change) => {
              news = news ? since(last, change) : change; // what was not taken is part of the next
              wake();
            },
            failed: end,
          });
        }
        while (!over && !news) {
          await (woken ??= new Promise((resolve) => {
            wake = () => resolve((woken = undefined));
          }));
        }
        try {
          if (error) throw error;
        } finally {
          error = undefined;
        }
        if (over) return { done: true, value: undefined };
        const value = news!;
        news = undefined;
        last = value.value;
        return { done: false, value };
      },
      return: async () => {
        end();
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /** A mirror of what is at a path, for as long as it is not closed. */
  live<const P extends string, C extends boolean = false>(path: P, options: WatchOptions<C> = {}): Live<Shown<At<S, P>, C>> {
    return new Live(this, path, options);
  }

  /** The value of a resource that is being watched in this shape already, as far as it is known. */
  peek<const P extends string, C extends boolean = false>(path: P, shape: Shape<C> = {}): Shown<At<S, P>, C> | undefined {
    return this.state(path, shape)?.value as Shown<At<S, P>, C> | undefined;
  }

  /** @internal The state of a resource that is being watched in this shape, if it is known yet. */
  state(path: string, shape: Shape): Readonly<Link> | undefined {
    const feed = this.#feeds.get(keyOf(path, shape));
    return feed?.known ? feed : undefined;
  }

  /** @internal */
  subscribe(path: string, shape: Shape, subscriber: Subscriber): () => void {
    const key = keyOf(path, shape);
    const known = this.#feeds.get(key);
    const feed: Feed = known ?? { ...newLink(this.#nextId++, path, key.slice(path.length)), entries: new Set() };
    const { entries } = feed;
    entries.add(subscriber);
    if (!known) {
      this.#feeds.set(key, feed);
      this.#dispatch({ type: 'watch', link: feed });
    } else if (known.known) {
      queueMicrotask(() => {
        if (!subscriber.told) this.#tell(feed, subscriber, { ...feed, synced: this.#machine.isInStep() } as Feed & State);
      });
    }
    this.#soon();
    return () => {
      if (!entries.delete(subscriber) || entries.size > 0) return;
      this.#leaving.add(feed);
      this.#soon();
    };
  }

  // ---- reading and writing

  /** Reads the value at a path, and its cursor. `value` is `undefined` when nothing is there. */
  async get<const P extends string, C extends boolean = false, A extends 'list' | undefined = undefined>(
    path: P,
    shape: ReadOptions<C, A> = {},
  ): Promise<{ value: Shown<At<S, P>, C, A> | undefined; rev: string }> {
    const { value, rev } = await this.#call({ get: path, ...shapeOf(shape) }, false);
    return { value: value as Shown<At<S, P>, C, A> | undefined, rev: rev! };
  }

  /**
   * Makes the resource exactly this. Writes are made in the order in which they are asked for. One of more than a million characters, or of more than
   * the server or a gateway takes in a message, is a request of its own: wait for it before you write the same again.
   */
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
    const { rev, status } = await this.#call({ ...command, if: ifMatch }, true);
    return { rev: rev!, created: status === 201 };
  }

  #call(command: Command, writes: boolean): Promise<Answer> {
    return new Promise((resolve, reject) => {
      checked(Object.values(command)[0]);
      // As it is now, whatever becomes of it before it is sent.
      if ('value' in command) command = { ...command, value: copied(command['value'], 'value') };
      const call: Pending = { command, writes, length: JSON.stringify(command).length, resolve, reject };
      call.timer = setTimeout(() => {
        if (this.#waiting.delete(call)) this.#break(call, 'offline');
        else this.#dispatch({ type: 'expire', call });
      }, this.#options.timeout);
      this.#pending.add(call);
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
    return now() - (this.#machine.inStepAt ?? -Infinity);
  }

  /** Ends the connection and stays away. What is watched stays so, and comes up to date after {@link reconnect}. */
  disconnect(): void {
    this.#dispatch({ type: 'disconnect' });
  }

  /** Connects anew, now. */
  reconnect(): void {
    this.#dispatch({ type: 'reconnect' });
  }

  /** Asks for the token again, now, as when somebody logs in or out. Without one, the connection is nobody's from then on. What is wanted meanwhile waits. */
  renew(): void {
    this.#dispatch({ type: 'renew' });
  }

  /** Ends everything. Iterators end, calls that were not answered are rejected. */
  close(): void {
    this.#dispatch({ type: 'close' });
    this.#listening.abort();
    for (const call of this.#pending) this.#break(call, 'closed');
    this.#waiting.clear();
    for (const feed of [...this.#feeds.values()]) this.#end(feed, brokenBy('closed', this.url));
  }

  // ---- the machine's hands

  #dispatch(event: Event): void {
    this.#actions.push(...this.#machine.handle(event, now()));
    // Asked for within what is being done (a handler calls us): it is done after that.
    if (!this.#acting) {
      this.#acting = true;
      for (let action; (action = this.#actions.shift()); ) this.guard(() => (this.#hands[action!.do] as (action: Action) => void)(action!));
      this.#acting = false;
    }
    this.#showStatus();
  }

  readonly #hands: { readonly [D in Action['do']]: (action: Extract<Action, { do: D }>) => void } = {
    connect: ({ transport }) => {
      const listener: Listener = (event) => {
        if (this.#listener !== listener) return;
        if (event.type === 'lost') this.#drop();
        this.#dispatch(event);
      };
      this.#listener = listener;
      this.#wire = undefined;
      try {
        this.#wire = transport === 'events' ? openEvents(this.#http, listener) : openSocket(this.#Socket!, this.#http, listener, this.#options.transport === 'websocket');
      } catch (error) {
        // Not within what is being done now.
        queueMicrotask(() => listener({ type: 'lost', problem: problemOf(error) }));
      }
    },
    send: ({ commands }) => this.#wire?.send(commands),
    drop: () => this.#drop(),
    timer: ({ ms }) => {
      clearTimeout(this.#timer);
      if (ms !== undefined) this.#timer = setTimeout(() => this.#dispatch({ type: 'timer' }), ms);
    },
    renew: ({ ms }) => {
      const listener = this.#listener!;
      clearTimeout(this.#renewal);
      this.#renewal = setTimeout(() => {
        // A stream is told nothing any more: another one takes its place, with a token of its own.
        if (this.#machine.transport === 'events') return this.reconnect();
        this.#http.token().then(
          (token) => listener({ type: 'opened', token }),
          // The one that is there may be good for a while.
          (error) => ms || listener({ type: 'lost', problem: problemOf(error), retryAfter: 0 }),
        );
      }, Math.min(ms, TIMER_MS_MAX));
    },
    told: ({ link, told }) => {
      const change = newChange(link.path, told);
      for (const subscriber of [...(link as Feed).entries]) this.#tell(link as Feed, subscriber, change);
    },
    failed: ({ link, problem }) => this.#end(link as Feed, HalfpingError.of(problem)),
    request: ({ call }) => {
      // One after the other, so that they arrive in the order in which they were made.
      this.#waiting.add(call);
      this.#requests = this.#requests.then(() => this.#request(call));
    },
    answered: ({ call, answer }) => this.#settle(call, answer),
    broken: ({ call, why }) => this.#break(call, why, this.#machine.problem),
  };

  /** Of this connection nothing more is heard. */
  #drop(): void {
    this.#listener = undefined;
    clearTimeout(this.#renewal);
    this.#wire?.drop();
  }

  async #request(call: Call): Promise<void> {
    if (!this.#waiting.delete(call)) return; // nobody waits for it any more
    let why: 'offline' | 'unsure' = 'offline';
    try {
      const token = await this.#http.token();
      if (call.writes) why = 'unsure';
      this.#settle(call, await request(this.#http, token, call.command));
    } catch (error) {
      this.#break(call, why, problemOf(error));
    }
  }

  #settle(call: Call, answer: Answer): void {
    const { resolve, reject } = this.#take(call);
    // That there is nothing is an answer too, if it is the server's.
    const isNothing = answer.status === 404 && 'get' in call.command && answer.rev;
    if (answer.status >= 400 && !isNothing) reject(HalfpingError.of(answer));
    else resolve(answer);
  }

  #break(call: Call, why: 'offline' | 'unsure' | 'closed', problem?: Problem): void {
    this.#take(call).reject(brokenBy(why, this.url, problem));
  }

  /** Nobody waits for it any more. (What becomes of it after that changes nothing: a promise settles once.) */
  #take(call: Call): Pending {
    clearTimeout((call as Pending).timer);
    this.#pending.delete(call);
    return call as Pending;
  }

  /** Flushes when the application has said all that it has to say for now. */
  #soon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      for (const feed of this.#leaving) {
        if (feed.entries.size > 0) continue; // somebody came
        this.#forget(feed);
        this.#dispatch({ type: 'unwatch', link: feed });
      }
      this.#leaving.clear();
      this.#dispatch({ type: 'flush' });
    });
  }

  #forget(feed: Feed): void {
    this.#feeds.delete(feed.path + feed.kind);
    this.#leaving.delete(feed);
  }

  #end(feed: Feed, error: HalfpingError): void {
    this.#forget(feed);
    const entries = [...feed.entries];
    feed.entries.clear();
    for (const subscriber of entries) this.guard(() => subscriber.failed(error));
  }

  #tell({ entries }: Feed, subscriber: Subscriber, change: State): void {
    if (!entries.has(subscriber)) return; // one before it may have ended it
    const own = subscriber.told ? (change as Change) : since(undefined, change);
    subscriber.told = true;
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
    try {
      if (to) return to(error);
    } catch (thrown) {
      error = thrown;
    }
    (globalThis.reportError ?? console.error)(error);
  }

  #currentStatus(): Status {
    const machine = this.#machine;
    const { phase: state, transport, problem, blocked, identity } = machine;
    const hint = transport === 'events' && blocked
      ? "WebSockets do not get through: let the proxy pass upgrades (nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade), or say { transport: 'events' }"
      : problem?.hint;
    const error = problem && HalfpingError.of(problem);
    return {
      state,
      synced: machine.isInStep(),
      transport,
      // It is to be read, and not worth telling by itself.
      get inStepAt() {
        return machine.inStepAt && Date.now() - now() + machine.inStepAt;
      },
      error,
      hint,
      identity,
    };
  }

  #showStatus(): void {
    const shown = this.#shown;
    const status = this.#currentStatus();
    const worthTelling = ({ state, synced, transport, hint, error, identity }: Status) => `${[state, synced, transport, hint, error?.detail, identity?.sub, identity?.expires_ms]}`;
    if (worthTelling(status) === worthTelling(shown)) return;
    this.#shown = status;
    const { state, hint, error } = status;
    // An outage passes. That there was nothing from the start is more likely somebody's mistake, and each attempt says it again.
    if (state === 'refused' || (error && error.detail !== shown.error?.detail && !this.#machine.liveAt)) this.report(error);
    else if (hint && hint !== shown.hint) console.warn(`halfping: ${hint}`);
    for (const listener of [...this.#listeners]) {
      // One before it may have changed it, and then all have been told of that.
      if (this.#shown === status && this.#listeners.has(listener)) listener(status);
    }
  }
}

/** The outcome of a write. */
export interface Written {
  /** The resource's cursor now. */
  readonly rev: string;
  /** Nothing was there before. */
  readonly created: boolean;
}

/** A merge patch of a `V`: any part of it, and `null` for what is to go. */
export type Patch<V> = V extends readonly unknown[] ? V : V extends object ? { readonly [K in keyof V]?: Patch<V[K]> | null } : V;

/** The root of the API at a URL, or at what is short for one. */
function rootOf(url: string): URL {
  try {
    const whole = url.replace(/^ws(?=s?:\/\/)/i, 'http').replace(/^(?=\[|[^/?#:]+:\d)/, 'http://');
    const given = new URL(whole, globalThis.location?.href);
    const root = new URL(given.pathname.replace(/\/?$/, '/'), given);
    // No request goes to another scheme, or to one who is named in the URL.
    if (/^https?:\/\/[^/@]*\//.test(root.href)) return root;
  } catch {}
  throw badOption(`"${url}" is no URL of http or ws`, 'connect() takes the URL of its root');
}

const badOption = (detail: string, hint: string) => new HalfpingError('bad-option', detail, { hint });

/** Equal watches have equal keys. */
function keyOf(path: string, shape: Shape): string {
  return checked(path) + JSON.stringify(shapeOf(shape));
}

function brokenBy(why: 'offline' | 'unsure' | 'closed', url: string, problem?: Problem): HalfpingError {
  const because = problem ? `: ${problem.detail}` : '';
  const details = {
    offline: `not sent: no connection to ${url}${because}`,
    unsure: `no answer from ${url}: it may have happened or not${because}`,
    closed: CLOSED,
  };
  return new HalfpingError(why, details[why], { hint: problem?.hint });
}
