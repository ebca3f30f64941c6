import jsonPatch from 'fast-json-patch';
import mergePatch from 'json-merge-patch';
import { describe, expect, test } from 'vitest';
import { applied, at, changedKeys, merged, patched, reuse } from '../src/value.js';
import { deepFreeze, json, object, random } from './random.js';

const ROUNDS = 3_000;
const PLAIN = ['a', 'b', 'c', 'a/b', '~', '', 'ü', '1'];

/** Both in the same words, whatever the order of members. */
const sorted = (value: any): any =>
  Array.isArray(value) ? value.map(sorted) : typeof value === 'object' && value !== null ? Object.keys(value).sort().map((key) => [key, sorted(value[key])]) : value;

describe('a merge patch', () => {
  test('does what another implementation does, and never writes to the old value', () => {
    for (let seed = 0; seed < ROUNDS; seed++) {
      const chance = random(seed);
      const [target, patch] = [json(chance, 3, PLAIN), json(chance, 3, PLAIN)];
      const expected = mergePatch.apply(structuredClone(target), structuredClone(patch));
      const actual = merged(deepFreeze(structuredClone(target)), structuredClone(patch));
      // RFC 7396 has nothing to say of members that are null inside arrays; neither touches them.
      expect(sorted(actual), `seed ${seed}`).toEqual(sorted(expected));
    }
  });

  test('leaves what it does not speak of as it was, by identity', () => {
    const value = deepFreeze({ a: { x: 1 }, b: { y: { z: 2 } }, list: [{ n: 1 }] });
    const after = merged(value, { b: { y: { z: 3 } } }) as typeof value;
    expect(after).toEqual({ a: { x: 1 }, b: { y: { z: 3 } }, list: [{ n: 1 }] });
    expect(after.a).toBe(value.a);
    expect(after.list).toBe(value.list);
    expect(after.b).not.toBe(value.b);
  });

  test('that says what is there already changes nothing', () => {
    const value = deepFreeze({ a: { x: [1, { y: 2 }] } });
    expect(merged(value, { a: { x: [1, { y: 2 }] }, gone: null })).toBe(value);
    expect(merged(value, {})).toBe(value);
  });

  test('removes a member that is null, and has a member removed that never was', () => {
    expect(merged({ a: 1, b: 2 }, { a: null, c: null })).toEqual({ b: 2 });
  });

  test('of an object makes an object of anything', () => {
    expect(merged(1, { a: 1 })).toEqual({ a: 1 });
    expect(merged(undefined, {})).toEqual({});
    expect(merged([1], { a: { b: null } })).toEqual({ a: {} });
  });
});

describe('operations', () => {
  const operations = (from: unknown, to: unknown) =>
    jsonPatch
      .compare(from as object, to as object)
      // A server's deltas have no other: a member that is another is added in its place (RFC 6902, section 4.1).
      .map((operation) => (operation.op === 'replace' ? { ...operation, op: 'add' as const } : operation));

  test('lead where another implementation says that they lead', () => {
    const flat = (value: any): any => (Array.isArray(value) ? 'a list' : typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, flat(inner)])) : value);
    for (let seed = 0; seed < ROUNDS; seed++) {
      const chance = random(seed);
      const [from, to] = [flat(object(chance, 3, PLAIN)), flat(object(chance, 3, PLAIN))];
      const after = patched(deepFreeze(structuredClone(from)), operations(from, to));
      expect(sorted(after), `seed ${seed}`).toEqual(sorted(to));
    }
  });

  test('write null, and remove what is not there without complaint', () => {
    expect(patched({ a: { b: 1 } }, [{ op: 'add', path: '/a/b', value: null }])).toEqual({ a: { b: null } });
    const value = deepFreeze({ a: 1 });
    expect(patched(value, [{ op: 'remove', path: '/b' }, { op: 'remove', path: '/c/d' }])).toBe(value);
  });

  test('replace the whole, and take it away', () => {
    expect(patched({ a: 1 }, [{ op: 'add', path: '', value: [2] }])).toEqual([2]);
    expect(patched({ a: 1 }, [{ op: 'remove', path: '' }])).toBeUndefined();
  });

  test('unescape names in the right order', () => {
    expect(patched({}, [{ op: 'add', path: '/~01~1', value: 1 }])).toEqual({ '~1/': 1 });
  });

  test('that add what is equal change nothing', () => {
    const value = deepFreeze({ a: { x: { y: 1 } }, b: 1 });
    expect(patched(value, [{ op: 'add', path: '/a/x', value: { y: 1 } }])).toBe(value);
  });

  test.each([
    [1, [{ op: 'add', path: '/a', value: 1 }]],
    [{}, [{ op: 'add', path: '/a/b', value: 1 }]],
    [{ a: [1] }, [{ op: 'add', path: '/a/0', value: 1 }]],
    [{ a: 1 }, [{ op: 'replace', path: '/a', value: 1 }]],
    [{ a: 1 }, { op: 'add' }],
  ])('that cannot be meant for %j are an error: %j', (value, operations) => {
    expect(() => patched(value, operations)).toThrow(TypeError);
    const what = () => patched({ a: 1 }, [{ op: 'replace', path: '/a', value: 2 }]);
    expect(what).toThrow('op replace');
    expect(() => patched(1, [{ op: 'add', path: '/a', value: 2 }])).toThrow('at a');
  });
});

describe('reuse', () => {
  test('is equal to the newer, keeps every equal part of the older, and never writes to it', () => {
    for (let seed = 0; seed < ROUNDS; seed++) {
      const chance = random(seed);
      const older = deepFreeze(json(chance));
      const newer = chance() < 0.5 ? json(chance) : { ...structuredClone(object(chance)), kept: structuredClone(older) };
      const text = JSON.stringify(newer);
      const result = reuse(older, newer);
      expect(JSON.stringify(result), `seed ${seed}`).toEqual(text);
      if (JSON.stringify(older) === text) expect(result).toBe(older);
    }
    const older = { a: { x: 1 }, list: [{ n: 1 }, { n: 2 }], b: 1 };
    const newer = reuse(older, { b: 2, a: { x: 1 }, list: [{ n: 1 }, { n: 3 }] }) as typeof older;
    expect(newer.a).toBe(older.a);
    expect(newer.list[0]).toBe(older.list[0]);
    expect(newer.list).not.toBe(older.list);
  });

  test('tells a member that is absent from one that is there', () => {
    expect(reuse({ a: 1, b: 1 }, { a: 1, c: 1 })).toEqual({ a: 1, c: 1 });
    expect(reuse([1, 2], [1])).toEqual([1]);
    expect(reuse([1], [1, 2])).toEqual([1, 2]);
    expect(reuse({ '0': 1 }, [1])).toEqual([1]);
    expect(reuse([1], { '0': 1 })).toEqual({ '0': 1 });
  });
});

test('a member called __proto__ is a member', () => {
  const hostile = JSON.parse('{"__proto__":{"polluted":1}}');
  for (const value of [merged({}, hostile), reuse({ x: 1 }, structuredClone(JSON.parse('{"__proto__":{"polluted":1}}'))), patched({}, [{ op: 'add', path: '/__proto__', value: { polluted: 1 } }])]) {
    expect((value as any).polluted).toBeUndefined();
    expect(Object.keys(value as object)).toEqual(['__proto__']);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  }
  expect(merged(merged({}, hostile), JSON.parse('{"__proto__":null}'))).toEqual({});
  expect(({} as any).polluted).toBeUndefined();
  expect(at({}, ['constructor'])).toBeUndefined();
  expect(changedKeys({}, {}, 'merge', JSON.parse('{"toString":null}'))).toEqual([]);
});

test('what changed among the members', () => {
  const before = { a: 1, b: { c: 1 }, d: 1 };
  const after = merged(before, { a: 2, b: { c: 1 }, d: null, e: 1 });
  expect(changedKeys(before, after, 'merge', { a: 2, b: { c: 1 }, d: null, e: 1 })).toEqual(['a', 'd', 'e']);
  expect(changedKeys(before, after, 'snapshot', after)?.sort()).toEqual(['a', 'd', 'e']);
  expect(changedKeys(undefined, { a: 1 }, 'snapshot', {})).toEqual(['a']);
  expect(changedKeys({ a: 1 }, undefined, 'gone', undefined)).toEqual(['a']);
  expect(changedKeys({ a: 1 }, 5, 'snapshot', 5)).toEqual(['a']);
  expect(changedKeys(1, 2, 'snapshot', 2)).toBeUndefined();
});

test('what a frame makes of a value', () => {
  expect(applied(1, 'snapshot', { a: 1 })).toEqual({ a: 1 });
  expect(applied({ a: 1 }, 'merge', { b: 1 })).toEqual({ a: 1, b: 1 });
  expect(applied({ a: 1 }, 'patch', [{ op: 'remove', path: '/a' }])).toEqual({});
  expect(applied({ a: 1 }, 'gone', undefined)).toBeUndefined();
  expect(() => applied(1, 'news', 1)).toThrow('kind news');
});

test('what is beneath', () => {
  expect(at({ a: { b: [1] } }, ['a', 'b'])).toEqual([1]);
  expect(at({ a: { b: [1] } }, ['a', 'b', '0'])).toBeUndefined();
  expect(at(undefined, ['a'])).toBeUndefined();
  expect(at(7, [])).toBe(7);
});
