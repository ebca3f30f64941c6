/**
 * JSON values that are never written to: a change makes a new value that shares all that stays the same with the old one. So
 * `===` tells whether something changed, at every level.
 */

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

const has = (object: object, key: string): boolean => Object.hasOwn(object, key);

/** Sets a member. `__proto__` is a name like any other, and an assignment would make something else of it. */
function set(object: Members, key: string, value: unknown): void {
  if (key === '__proto__') {
    Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
  } else {
    object[key] = value;
  }
}

const member = (object: Members, key: string): unknown => (has(object, key) ? object[key] : undefined);

/** The newer value, with every part of the older one that is equal in place of its copy. */
export function reuse(older: Maybe, newer: Maybe): Maybe {
  if (older === newer) return older;
  if (Array.isArray(older) && Array.isArray(newer)) {
    let same = older.length === newer.length;
    newer.forEach((item, index) => {
      newer[index] = reuse(older[index], item);
      same &&= newer[index] === older[index];
    });
    return same ? older : newer;
  }
  if (!isObject(older) || !isObject(newer)) return newer;
  const keys = Object.keys(newer);
  let same = keys.length === Object.keys(older).length;
  for (const key of keys) {
    const reused = reuse(member(older, key), newer[key]);
    same &&= has(older, key) && reused === older[key];
    set(newer, key, reused);
  }
  return same ? older : newer;
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
    else set(after, key, now);
  }
  return after ?? target;
}

/**
 * What a server's delta may have of RFC 6902 applied: `add` and `remove` of members of objects. To it an array is one value.
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
  const copy = { ...value };
  if (now === undefined) delete copy[key];
  else set(copy, key, now);
  return copy;
}

/** What a frame makes of a value (PROTOCOL S2). */
export function applied(value: Maybe, kind: string, body: unknown): Maybe {
  switch (kind) {
    case 'snapshot':
      return reuse(value, body);
    case 'merge':
      return merged(value, body);
    case 'patch':
      return patched(value, body);
    case 'gone':
      return undefined;
    default:
      throw new TypeError(`kind ${kind}`);
  }
}

/** The members that differ between two values of one object; `undefined` when neither is an object. */
export function changedKeys(previous: Maybe, value: Maybe, kind: string, body: unknown): string[] | undefined {
  const [before, after] = [isObject(previous) ? previous : undefined, isObject(value) ? value : undefined];
  if (!before && !after) return undefined;
  const differs = (key: string) => member(before ?? {}, key) !== member(after ?? {}, key);
  // A patch names what it changes: no need to look at thousands that it does not.
  if (before && after && kind === 'merge' && isObject(body)) return Object.keys(body).filter(differs);
  return [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])].filter(differs);
}

/** What is at these names, beneath a value. */
export function at(value: Maybe, keys: readonly string[]): Maybe {
  return keys.reduce<Maybe>((inner, key) => (isObject(inner) ? member(inner, key) : undefined), value);
}
