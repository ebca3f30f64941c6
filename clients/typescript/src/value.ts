/**
 * JSON values that are never written to: a change makes a new value that shares all that stays the same with the old one. So
 * `===` tells whether something changed, at every level.
 */

import { HalfpingError } from './errors.js';

/** Half of a character, which no UTF-8 has (PROTOCOL V2). */
export const LONE_SURROGATE = /\p{Surrogate}/u;

/** Any JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** An operation of RFC 6902. The server's own deltas have only `add` and `remove`. */
export type Operation =
  | { readonly op: 'add' | 'replace' | 'test'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string }
  | { readonly op: 'move' | 'copy'; readonly path: string; readonly from: string };

/** A value, or `undefined` where nothing is. */
type Maybe = unknown;
type Members = { [key: string]: unknown };

export const isObject = (value: unknown): value is Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Sets a member. `__proto__` is a name like any other, and an assignment would make something else of it: then it is a copy that has it. */
function set(object: Members, key: string, value: unknown): Members {
  if (key === '__proto__') return { ...object, [key]: value };
  object[key] = value;
  return object;
}

const member = (object: Members, key: string): unknown => (Object.hasOwn(object, key) ? object[key] : undefined);

/**
 * A copy as JSON has it, without members that are `undefined`. Of what else it has no form for it would make `null` or `{}`, which mean
 * something: that is an error, which names the member.
 */
export function copied(given: any, name: string, above: readonly unknown[] = []): unknown {
  const value = given?.toJSON?.() ?? given;
  let kind = Object.prototype.toString.call(value).slice(8, -1);
  const within = (inner: unknown, key: string | number) => copied(inner, `${name}.${key}`, [...above, value]);
  if (above.includes(value)) kind = 'a cycle';
  if (kind === 'Array') return Array.from(value, within);
  if (kind === 'Object') {
    let copy = {};
    for (const key of Object.keys(value)) {
      if (value[key] !== undefined) copy = set(copy, key, within(value[key], key));
    }
    return copy;
  }
  if (value === null || kind === 'Boolean' || Number.isFinite(value) || (kind === 'String' && !LONE_SURROGATE.test(value))) return value;
  throw new HalfpingError('bad-json', `${name} is ${kind === 'String' ? 'ill-formed text' : kind === 'Number' ? value : kind}: no JSON`);
}

/** The newer value, with every part of the older one that is equal in place of its copy. */
export function reuse(older: Maybe, newer: Maybe): Maybe {
  if (older === newer) return older;
  // Lists are alike: their members have numbers for names.
  const isBoth = (is: (value: unknown) => boolean) => is(older) && is(newer);
  if (!isBoth(isObject) && !isBoth(Array.isArray)) return newer;
  const before = older as Members;
  let after = newer as Members;
  const keys = Object.keys(after);
  let same = keys.length === Object.keys(before).length;
  for (const key of keys) {
    const old = member(before, key);
    const reused = reuse(old, after[key]);
    same &&= reused === old;
    after = set(after, key, reused);
  }
  return same ? older : after;
}

/** A merge patch applied (RFC 7396). */
export function merged(target: Maybe, patch: unknown): Maybe {
  if (!isObject(patch)) return reuse(target, patch);
  const before = isObject(target) ? target : {};
  let after: Members | undefined = isObject(target) ? undefined : {};
  for (const key of Object.keys(patch)) {
    const old = member(before, key);
    const now = patch[key] === null ? undefined : merged(old, patch[key]);
    if (now === old) continue; // also the removal of what is not there
    after ??= { ...before };
    if (now === undefined) delete after[key];
    else after = set(after, key, now);
  }
  return after ?? target;
}

/**
 * Applies the part of RFC 6902 that a server's delta may have: `add` and `remove` of members of objects. To it an array is one value.
 * The `remove` of what is not there changes nothing (PROTOCOL S7).
 */
export function patched(target: Maybe, operations: unknown): Maybe {
  return (operations as { op: string; path: string; value?: unknown }[]).reduce((value: Maybe, operation) => {
    if (operation.op !== 'add' && operation.op !== 'remove') throw new TypeError(`op ${operation.op}`);
    return edited(value, operation.path.split('/').slice(1).map(unescaped), operation);
  }, target);
}

const unescaped = (segment: string): string => segment.replaceAll('~1', '/').replaceAll('~0', '~');

function edited(value: Maybe, path: string[], operation: { op: string; value?: unknown }): Maybe {
  const [key, ...rest] = path;
  const adds = operation.op === 'add';
  if (key === undefined) return adds ? reuse(value, operation.value) : undefined;
  if (!isObject(value)) throw new TypeError(`at ${key}`);
  const old = member(value, key);
  if (old === undefined && !adds) return value;
  const now = edited(old, rest, operation);
  if (now === old) return value;
  const copy = { ...value, [key]: now };
  if (now === undefined) delete copy[key];
  return copy;
}

const KINDS = { snapshot: reuse, merge: merged, patch: patched, gone: () => undefined };

/** The value after a frame (PROTOCOL S2). */
export function applied(value: Maybe, kind: string, body: unknown): Maybe {
  if (!Object.hasOwn(KINDS, kind)) throw new TypeError(`kind ${kind}`);
  return KINDS[kind as keyof typeof KINDS](value, body);
}

/** The members that differ between two values of one object; `undefined` when neither is an object. */
export function changedKeys(previous: Maybe, value: Maybe, kind: string, body: unknown): string[] | undefined {
  const before = isObject(previous) ? previous : {};
  const after = isObject(value) ? value : {};
  if (before !== previous && after !== value) return undefined;
  // A patch names what it changes: no need to look at thousands that it does not.
  const names = kind === 'merge' && isObject(body) ? body : { ...before, ...after };
  return Object.keys(names).filter((key) => member(before, key) !== member(after, key));
}

/** The value at these names, beneath a value. */
export function at(value: Maybe, keys: readonly string[]): Maybe {
  return keys.reduce<Maybe>((inner, key) => (isObject(inner) ? member(inner, key) : undefined), value);
}
