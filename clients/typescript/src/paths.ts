/** Paths, and what stands at them, as types. */

import { HalfpingError } from './errors.js';
import { LONE_SURROGATE } from './value.js';

type IsAny<T> = 0 extends 1 & T ? true : false;

type Member<T, K extends string> =
  IsAny<T> extends true
    ? any
    : T extends readonly unknown[]
      ? undefined // nothing lies beneath an array (PROTOCOL P5)
      : K extends keyof T
        ? T[K]
        : T extends { readonly [key: string]: infer V }
          ? V
          : undefined;

type Descend<T, P extends string> = P extends ''
  ? T
  : P extends `${infer K}/${infer R}`
    ? Descend<Member<NonNullable<T>, K>, R>
    : Member<NonNullable<T>, P>;

/** The type of the value at path `P` of an API whose whole state is `S`: `At<{ orders: Record<string, Order> }, '/orders/42'>` is `Order`. */
export type At<S, P extends string> = string extends P ? any : P extends `/${infer R}` ? Descend<S, R> : never;

/** The type of a value `V` in a shape: with `count` a number, with `as: 'list'` its members with their names. */
export type Shown<V, C = false, A = undefined> = A extends 'list' ? [name: string, member: MemberOf<NonNullable<V>>][] : C extends true ? number : V;
type MemberOf<V> = IsAny<V> extends true ? any : V[keyof V];

/** A name in a path. */
export type Name = string | number;
/** The path of names whose types are these. */
export type PathOf<N extends readonly Name[]> = N extends readonly [infer K extends Name, ...infer R extends readonly Name[]]
  ? `/${K}${R extends readonly [] ? '' : PathOf<R>}`
  : N extends readonly []
    ? '/'
    : string;

/**
 * The path of these names: `path('orders', id)`. They may have any character in them. None may be empty, or `.` or `..`, or neither text nor a
 * finite number: the path would be that of something else.
 */
export function path<const N extends readonly Name[]>(...names: N): PathOf<N> {
  const isName = (name: unknown) => (typeof name === 'string' ? name && !LONE_SURROGATE.test(name) : Number.isFinite(name));
  return checked(names.every(isName) ? `/${names.map(encodeURIComponent).join('/')}` : names) as PathOf<N>;
}

/** Of others a URL would make something else. */
export function checked(path: unknown): string {
  if (typeof path === 'string' && path.startsWith('/') && !LONE_SURROGATE.test(path) && !/\/(\.|%2e){1,2}(\/|$)/i.test(path)) return path;
  throw new HalfpingError('bad-path', `"${path}" is no path: begin it with /, name nothing . or ..`);
}
