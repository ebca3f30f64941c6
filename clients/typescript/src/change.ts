/** Changes, as handlers are told of them. */

import type { Told } from './terms.js';
import { changedKeys } from './value.js';

/** A change of a resource. */
export interface Change<V = any> {
  readonly path: string;
  /** The value that is there now; `undefined` when nothing is. */
  readonly value: V | undefined;
  /** The value that was there when this reader was last told. */
  readonly previous: V | undefined;
  /** The kind of frame by which it came. */
  readonly kind: 'snapshot' | 'merge' | 'patch' | 'gone';
  /** As it came: the value, a merge patch (RFC 7396), or operations (RFC 6902). What came in parts, or is several changes, is the whole value. */
  readonly body: unknown;
  /** The cursor of this state. */
  readonly rev: string;
  /** Time at which the newest change in it was committed, by the server's clock: milliseconds since 1970. */
  readonly t: number;
  /** All that this API watches was up to date with this. */
  readonly synced: boolean;
  /** The members that changed, if it is or was an object. */
  readonly keys: string[] | undefined;
}

export function newChange(path: string, told: Told): Change {
  const { previous, value, kind, body } = told;
  let keys: string[] | undefined;
  return {
    ...told,
    path,
    // It takes a walk over all members, which most handlers have no need of.
    get keys() {
      return (keys ??= changedKeys(previous, value, kind, body));
    },
  };
}

/** A state: the value that is there, and its cursor. */
export type State = Pick<Change, 'path' | 'value' | 'rev' | 't' | 'synced'>;

/** The change of which a reader is told that knows another state already, or none. */
export function since(previous: unknown, { path, value, rev, t, synced }: State): Change {
  return newChange(path, { rev, t, synced, value, previous, kind: value === undefined ? 'gone' : 'snapshot', body: value });
}
