import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { HalfpingError, sorted } from '../src/index.js';
import { below, json, random } from './random.js';

interface Case {
  readonly about: string;
  readonly order: string | null;
  readonly members: { readonly [name: string]: unknown };
  readonly sorted: readonly string[];
}

const { cases }: { cases: Case[] } = JSON.parse(readFileSync(new URL('../../../conformance/order/cases.json', import.meta.url), 'utf8'));
const names = (members: {} | undefined, order?: string) => sorted(members, order).map(([name]) => name);

describe('the order that all share', () => {
  test.each(cases)('$about', ({ order, members, sorted }) => {
    expect(sorted.length).toBeGreaterThan(1);
    const given = Object.entries(members);
    for (let turn = 0; turn < given.length; turn++) {
      given.push(given.shift()!);
      for (const entries of [given, [...given].reverse()]) expect(names(Object.fromEntries(entries), order ?? undefined)).toEqual(sorted);
    }
  });
});

test('members come with their names, as they are, and what they were taken from stays', () => {
  const members = { b: { n: 1 }, a: { n: 2 }, c: 'text' };
  const rows = sorted<unknown>(members, '-n');
  expect(rows).toEqual([['a', { n: 2 }], ['b', { n: 1 }], ['c', 'text']]);
  expect(rows[0]![1]).toBe(members.a);
  expect(Object.keys(members)).toEqual(['b', 'a', 'c']);
});

test('what has no members has none in order', () => {
  for (const value of [undefined, null, 1, 'text', [3, 1, 2]]) expect(sorted(value as any, '-a')).toEqual([]);
});

test('an order is total: whatever came first, the same comes out', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const chance = random(seed);
    const members: [string, unknown][] = Array.from({ length: 12 }, (_, n) => [`m${n}`, { a: json(chance), b: { c: json(chance, 1) } }]);
    const order = ['a', '-a', 'b.c,-a', '-b.c,a'][below(chance, 4)]!;
    const shuffled = members.map((entry) => [chance(), entry] as const).sort(([a], [b]) => a - b).map(([, entry]) => entry);
    expect(names(Object.fromEntries(shuffled), order), `seed ${seed}`).toEqual(names(Object.fromEntries(members), order));
  }
});

test('an order that is none says from which column on', () => {
  const said = (order: string) => {
    try {
      return String(sorted({}, order));
    } catch (error) {
      expect(error).toBeInstanceOf(HalfpingError);
      expect(error).toMatchObject({ type: 'bad-view' });
      return (error as HalfpingError).detail;
    }
  };
  const wrong: [order: string, column: number][] = [
    [' ', 1], ['-', 1], ['--a', 1], ['/a', 1], ['a b', 1], ['a.', 1], ['.a', 1], ['a..b', 1], ['a(b)', 1], ['`a', 1], ['a`b`', 1], ['+a:', 1],
    ['a,', 3], ['a,,b', 3], ['a,-', 3], ['speed desc', 1], ['line, speed desc', 6],
  ];
  for (const [order, column] of wrong) expect(said(order)).toContain(`"${order}" is no order: from column ${column} on`);
  for (const order of ['a', '-a.b', ' a , -b ', '``', '````.`,`', 'a-b', 'a/b', '+a', 'größe']) expect(said(order)).toBe('');
});
