/** Readers: what they ask for, and what they are told of. */

import type { Change } from './change.js';
import type { HalfpingError } from './errors.js';
import type { Identity, Shape } from './protocol.js';
import type { Link, Phase, Transport } from './terms.js';

/** Called with the first state (`undefined` when nothing is there), and whenever it has changed. */
export type Handler<V = any> = (value: V | undefined, change: Change<V>) => void;

/** The shape of a link, and the handler of its error. */
export interface WatchOptions<C extends boolean = boolean> extends Shape<C> {
  /** The server refuses the link: it is over. */
  readonly onError?: (error: HalfpingError) => void;
}

/** The state of the connection. */
export interface Status {
  /**
   * `idle`: nothing is needed. `opening`: no word from the server yet. `live`. `waiting`: lost, another try will follow. `off`: by
   * `disconnect()`. `refused`: the server said not to come back; `reconnect()` does. `closed`: by `close()`.
   */
  readonly state: Phase;
  /** Everything that is watched shows the newest state that the server has told. */
  readonly synced: boolean;
  readonly transport: Transport | undefined;
  /** Time at which that was last known to be so: milliseconds since 1970. */
  readonly inStepAt: number | undefined;
  /** The last error, if it still matters. */
  readonly error: HalfpingError | undefined;
  /** The remedy, in one sentence. */
  readonly hint: string | undefined;
  /** Who one is, as the server said of the newest token. `null` or `undefined`: nobody, or nobody is told apart. */
  readonly identity?: Identity | null | undefined;
}

/** Told of a resource, or that it cannot be told. */
export interface Subscriber {
  changed(change: Change): void;
  failed(error: HalfpingError): void;
  /** Something. */
  told?: boolean;
}

/** The source of a reader's resource. */
export interface Source {
  readonly status: Status;
  subscribe(path: string, shape: Shape, subscriber: Subscriber): () => void;
  /** The link that shows a resource in this shape, if there is one. */
  state(path: string, shape: Shape): Readonly<Link> | undefined;
  /** Passes on an error to who takes such, or to all. */
  report(error: unknown, to?: (error: HalfpingError) => void): void;
}
