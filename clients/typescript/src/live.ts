/** A mirror of one resource. */

import type { Change } from './change.js';
import { HalfpingError } from './errors.js';
import type { Handler, Source, WatchOptions } from './reader.js';
import { CLOSED } from './terms.js';
import { at } from './value.js';

/** The value at a path, kept up to date until {@link Live.close}. Values are never written to: what did not change stays `===`. */
export class Live<V = any> {
  /** Settles with the first state, when it is there. */
  declare readonly ready: Promise<V | undefined>;
  readonly #api: Source;
  readonly #options: WatchOptions;
  #change: Change<V> | undefined;
  /** The functions that end it. Empty when it has ended. */
  readonly #stops = new Set<() => void>();

  /** @internal */
  constructor(
    api: Source,
    readonly path: string,
    options: WatchOptions,
  ) {
    this.#api = api;
    this.#options = options;
    this.ready = new Promise((resolve, reject) => {
      this.#stops.add(() => reject(new HalfpingError('closed', CLOSED)));
      const stop = api.subscribe(path, options, {
        changed: (change) => {
          this.#change = change;
          resolve(change.value);
        },
        failed: (error) => {
          reject(error);
          api.report(error, options.onError);
        },
      });
      this.#stops.add(stop);
    });
    this.ready.catch(() => {}); // who does not wait for it need not know
  }

  /** True if its state is known yet. Until then `value` is `undefined`, as it is where nothing is. */
  get known(): boolean {
    return this.#change !== undefined;
  }

  /** The value that is there; `undefined` when nothing is, or it is not {@link Live.known} yet. */
  get value(): V | undefined {
    return this.#change?.value;
  }

  /** The value beneath it, at these names. */
  get(...keys: string[]): any {
    return at(this.value, keys);
  }

  /** The cursor of the state that it shows, the newest one: it may have changed and changed back. */
  get rev(): string | undefined {
    const { known, path } = this;
    return (known && this.#stops.size > 0 && this.#api.state(path, this.#options)?.rev) || this.#change?.rev;
  }

  /** Time at which that was committed: milliseconds since 1970, by the server's clock. */
  get t(): number | undefined {
    return this.#change?.t;
  }

  /** True if it is up to date, as far as anybody here can know. */
  get synced(): boolean {
    return this.known && this.#api.status.synced;
  }

  /** Calls the handler with the state, and whenever it has changed. Returns what ends it. */
  on(handler: Handler<V>): () => void {
    if (this.#stops.size === 0) return () => {};
    // The same link, whose errors are told already.
    const end = this.#api.subscribe(this.path, this.#options, { changed: (change) => handler(change.value, change), failed() {} });
    const stop = () => {
      end();
      this.#stops.delete(stop);
    };
    this.#stops.add(stop);
    return stop;
  }

  /** Calls the handler for each member: of the first state, and then for each that has changed. `undefined` for what is not there. */
  members(handler: (key: string, value: any, previous: any) => void): () => void {
    return this.on((value, { keys, previous }) => {
      for (const key of keys ?? []) handler(key, at(value, [key]), at(previous, [key]));
    });
  }

  /** Ends it. The last value stays. */
  close(): void {
    for (const stop of this.#stops) stop();
    this.#stops.clear();
  }
}
