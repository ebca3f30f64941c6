/** Random JSON and random changes of it, from a seed that a failure prints. */

export type Random = () => number;

/** SplitMix32. */
export function random(seed: number): Random {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let z = state ^ (state >>> 16);
    z = Math.imul(z, 0x21f0aaad);
    z ^= z >>> 15;
    z = Math.imul(z, 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
}

export const below = (chance: Random, n: number): number => Math.floor(chance() * n);
export const pick = <T>(chance: Random, from: readonly T[]): T => from[below(chance, from.length)]!;

const NAMES = ['a', 'b', 'c', 'a/b', '~', '', 'ü', '1', '__proto__', 'constructor'];

/** A value; names of members that a path cannot have in `plain` ones are left out. */
export function json(chance: Random, depth = 3, names: readonly string[] = NAMES): any {
  const kinds = depth > 0 ? 8 : 5;
  switch (below(chance, kinds)) {
    case 0:
      return null;
    case 1:
      return chance() < 0.5;
    case 2:
      return below(chance, 5);
    case 3:
      return pick(chance, ['', 'x', 'a longer text']);
    case 4:
      return [];
    case 5:
      return Array.from({ length: below(chance, 3) }, () => json(chance, depth - 1, names));
    default:
      return object(chance, depth, names);
  }
}

export function object(chance: Random, depth = 3, names: readonly string[] = NAMES): any {
  const pairs = Array.from({ length: below(chance, 5) }, () => [pick(chance, names), json(chance, depth - 1, names)]);
  return JSON.parse(`{${[...new Map(pairs as [string, unknown][])].map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',')}}`);
}

export function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(deepFreeze);
  }
  return value;
}
