/** A mirror of one resource. */

import type { Api, Change, Handler, WatchOptions } from './api.js';
import type { HalfpingError } from './errors.js';
import { at, changedKeys } from './value.js';

/** What is at a path, kept up to date until {@link Live.close}. Values are never written to: what did not change stays `===`. */
export class Live<V = any> {
  /** Settles with the first state, when it is there. */
  readonly ready: Promise<V | undefined>;
  readonly #api: Api<any>;
  #change: Change<V> | undefined;
  readonly #handlers = new Set<Handler<V>>();
  readonly #stop: () => void;

  /** @internal */
  constructor(
    api: Api<any>,
    readonly path: string,
    options: WatchOptions,
  ) {
    this.#api = api;
    let resolve: (value: V | undefined) => void;
    let reject: (error: HalfpingError) => void;
    this.ready = new Promise((...settle) => ([resolve, reject] = settle));
    this.ready.catch(() => {}); // who does not wait for it need not know
    this.#stop = api.subscribe(path, options, {
      changed: (change) => {
        this.#change = change;
        resolve(change.value);
        for (const handler of [...this.#handlers]) this.#tell(handler, change);
      },
      failed: (error) => {
        reject(error);
        this.#api.report(error, options.onError);
      },
    });
  }

  /** What is there; `undefined` when nothing is, or it is not known yet. */
  get value(): V | undefined {
    return this.#change?.value;
  }

  /** What is beneath it, at these names. */
  get(...keys: string[]): any {
    return at(this.value, keys);
  }

  /** The cursor of the state that it shows. */
  get rev(): string | undefined {
    return this.#change?.rev;
  }

  /** When that was committed: milliseconds since 1970, by the server's clock. */
  get t(): number | undefined {
    return this.#change?.t;
  }

  /** Whether it is up to date, as far as anybody here can know. */
  get synced(): boolean {
    return this.#change !== undefined && this.#api.status.synced;
  }

  /** Calls the handler with the state, and whenever it has changed. Returns what ends it. */
  on(handler: Handler<V>): () => void {
    const own: Handler<V> = (value, change) => handler(value, change); // the same handler may come twice
    this.#handlers.add(own);
    const change = this.#change;
    if (change) queueMicrotask(() => this.#change === change && this.#handlers.has(own) && this.#tell(own, change));
    return () => this.#handlers.delete(own);
  }

  /** Calls the handler for each member: of the first state, and then for each that has changed. `undefined` for what is not there. */
  members(handler: (key: string, value: any, previous: any) => void): () => void {
    let known: unknown;
    return this.on((value, change) => {
      const previous = known;
      known = value;
      for (const key of changedKeys(previous, value, change.kind, change.body) ?? []) handler(key, at(value, [key]), at(previous, [key]));
    });
  }

  /** Ends it. The last value stays. */
  close(): void {
    this.#stop();
    this.#handlers.clear();
  }

  #tell(handler: Handler<V>, change: Change<V>): void {
    this.#api.guard(() => handler(change.value, change));
  }
}
