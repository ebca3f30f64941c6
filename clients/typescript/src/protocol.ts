/** Messages on the wire, as types (PROTOCOL section 5, L2 to L14). */

import type { Problem } from './errors.js';
import { copied } from './value.js';

/** The shape in which a resource is told. Equal watches share one link. `C`: whether its value is a number of members, where that is known. */
export interface Shape<C extends boolean = boolean> {
  /** At most so many updates a second, each with the newest state (S9). */
  readonly rate?: number;
  /** So many levels of objects; what lies deeper reads as `{}` (R5). */
  readonly depth?: number;
  /** `false`: whole values on the wire, no deltas. It makes no difference to what handlers see. */
  readonly delta?: boolean;
  /** From 0 to 3: higher goes first when the connection is slow (L7). */
  readonly priority?: 0 | 1 | 2 | 3;
  /** Only the members for which this condition is true: `speed > 50 && line == "U4"`. Empty text is none. */
  readonly where?: string;
  /** Only these members of each member, `lat,lon,driver(name)`, or of the resource itself, `/lat,/lon`. Empty text is all of them. It changes no type. */
  readonly select?: string;
  /** The order in which `limit` takes the members: `-speed,driver.name`. The value has what it orders by, and `sorted(value, order)` puts it in order. Empty text is none. */
  readonly order?: string;
  /** Only so many members, the first in `order`, or by name. */
  readonly limit?: number;
  /** The value is the number of members. */
  readonly count?: C;
}

/** The shape in which a resource is read once. */
export interface ReadOptions<C extends boolean = boolean, A extends 'list' | undefined = 'list' | undefined>
  extends Pick<Shape<C>, 'depth' | 'where' | 'select' | 'order' | 'limit' | 'count'> {
  /** The value is a list of the members, in order, each with its name: what `sorted()` returns. */
  readonly as?: A;
}

/** The shape that goes without saying. */
const USUAL: { readonly [N in keyof Required<Shape & ReadOptions>]: unknown } = {
  depth: undefined,
  rate: undefined,
  delta: true,
  priority: 0,
  where: '',
  select: '',
  order: '',
  limit: undefined,
  count: false,
  as: undefined,
};

/** The same shape, without what goes without saying: equal ones are equal as text. */
export function shapeOf(given: Shape & ReadOptions): Shape {
  const shape: Partial<Record<keyof typeof USUAL, unknown>> = {};
  for (const name of Object.keys(USUAL) as (keyof typeof USUAL)[]) {
    if ((given[name] ?? USUAL[name]) !== USUAL[name]) shape[name] = given[name];
  }
  return copied(shape, 'options') as Shape;
}

/** A command of a session. */
export type Command = { readonly ref?: number; readonly [member: string]: unknown };

/** One element of `set`: a link's number, the kind of the frame, its body, and whether more of this change follows. */
export type Entry = readonly [number, string, unknown?, 'more'?];

/** Who one is, as the server tells it. */
export interface Identity {
  readonly sub?: string;
  /** Time that was left of the token when it was shown, if it ends. */
  readonly expires_ms?: number;
}

/** The answer to a command. */
export interface Answer extends Problem {
  readonly ref: number;
  readonly status: number;
  readonly rev?: string;
  readonly value?: unknown;
  readonly path?: string;
  /** Who one is from now on, as `auth` tells it. */
  readonly identity?: Identity | null;
  /** The first link that the command could not open. */
  readonly link?: number;
}

/** A message of the server's. */
export type Message =
  | Answer
  | { readonly rev: string; readonly t: number; readonly set?: readonly Entry[]; readonly synced?: boolean }
  | { readonly error: Problem & { readonly ends?: boolean }; readonly link?: number };

/** The wait before coming back after a close code: 'never', 'spread' over some seconds, at 'once', or a 'pause' that grows. */
export function comeBack(code = 0): 'never' | 'spread' | 'once' | 'pause' | 'slower' {
  if (/^(100[2379]|44..)$/.test(`${code}`)) return 'never';
  if (code === 4000) return 'spread';
  return code > 4199 || code < 4000 ? 'pause' : code < 4100 ? 'once' : 'slower';
}
