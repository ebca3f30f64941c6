/** Paths, and what stands at them, as types. */

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

/** What is at path `P` of an API whose whole state is `S`: `At<{ orders: Record<string, Order> }, '/orders/42'>` is `Order`. */
export type At<S, P extends string> = string extends P ? any : P extends `/${infer R}` ? Descend<S, R> : never;

/** The path of these names: `path('orders', id)`. They may have any character in them. */
export function path(...names: (string | number)[]): `/${string}` {
  return `/${names.map((name) => encodeURIComponent(name)).join('/')}`;
}
