/** What goes over the wire, as types (PROTOCOL section 5, L2 to L14). */

import type { Problem } from './errors.js';

/** How a resource is to be told. Equal watches share one link. */
export interface Shape {
  /** At most so many updates a second, each with the newest state (S9). */
  readonly rate?: number;
  /** So many levels of objects; what lies deeper reads as `{}` (R5). */
  readonly depth?: number;
  /** `false`: whole values on the wire, no deltas. It makes no difference to what handlers see. */
  readonly delta?: boolean;
  /** From 0 to 3: higher goes first when the connection is slow (L7). */
  readonly priority?: 0 | 1 | 2 | 3;
}

/** A command of a session. */
export type Command = { readonly ref?: number; readonly [member: string]: unknown };

/** One element of `set`: a link's number, the kind of the frame, its body, and whether more of this change follows. */
export type Entry = readonly [number, string, unknown?, 'more'?];

/** What became of a command. */
export interface Answer extends Problem {
  readonly ref: number;
  readonly status: number;
  readonly rev?: string;
  readonly value?: unknown;
  readonly path?: string;
  /** The first link that the command could not open. */
  readonly link?: number;
}

/** A message of the server's. */
export type Message =
  | Answer
  | { readonly rev: string; readonly t: number; readonly set?: readonly Entry[]; readonly synced?: boolean }
  | { readonly error: Problem & { readonly ends?: boolean }; readonly link?: number };

/** How long to wait before coming back after a close code: 'never', 'spread' over some seconds, at 'once', or a 'pause' that grows. */
export function comeBack(code = 0): 'never' | 'spread' | 'once' | 'pause' | 'slower' {
  if (/^(100[2379]|44..)$/.test(`${code}`)) return 'never';
  if (code === 4000) return 'spread';
  return code > 4199 || code < 4000 ? 'pause' : code < 4100 ? 'once' : 'slower';
}
