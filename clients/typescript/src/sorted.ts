/** The order of members that a server and all its readers agree on. */

import { HalfpingError } from './errors.js';
import { at, isObject } from './value.js';

/** Characters of a string that count. */
const CHARS_MAX = 256;
/** A name: between backticks, or all characters up to one that means something. */
const NAME = '(?:`(?:[^`]|``)*`|(?![-/])[^\\s\\p{Cc},.()[\\]{}"\'`:]+)';

/** A path in an order, and 1 or, where it is descending, -1. */
type Column = readonly [path: readonly string[], sign: number];

/**
 * The members of an object with their names, in order: by `-speed,driver.name`, the fastest first, and those that are equally fast by the name of their
 * driver. Absent ones come before `null`, `false`, `true`, numbers, strings (by code point, as far as their first 256 go), arrays and objects; `-` turns all
 * of this round. What is equal then, or has no order, comes by name. An odd name in an order stands between backticks.
 */
export function sorted<V = any>(value: { readonly [name: string]: V } | undefined, order = ''): [name: string, member: V][] {
  const columns = order ? columnsOf(order) : [];
  const rows = Object.entries(isObject(value) ? value : {}).map((entry) => ({
    entry: entry as [string, V],
    keys: [...columns.flatMap(([path]) => rankOf(at(entry[1], path))), byCodePoint(entry[0])],
  }));
  const compare = (a: (typeof rows)[number], b: (typeof rows)[number]) => {
    const n = a.keys.findIndex((key, n) => key !== b.keys[n]);
    const sign = columns[n >> 1]?.[1] ?? 1;
    return a.keys[n]! < b.keys[n]! ? -sign : sign;
  };
  return rows.sort(compare).map(({ entry }) => entry);
}

function columnsOf(order: string): Column[] {
  const columns: Column[] = [];
  const column = new RegExp(`\\s*(-?)(${NAME}(?:\\.${NAME})*)\\s*(,|$)`, 'uy');
  for (let follows: string | undefined = ','; follows; ) {
    const from = column.lastIndex;
    const [, minus, path, behind] = column.exec(order) ?? [];
    if (path === undefined) throw new HalfpingError('bad-view', `"${order}" is no order: from column ${from + 1} on, it should go on like "-speed,driver.name"`);
    const names = path.match(new RegExp(NAME, 'gu'))!.map((name) => (name[0] === '`' ? name.slice(1, -1).replaceAll('``', '`') : name));
    columns.push([names, minus ? -1 : 1]);
    follows = behind;
  }
  return columns;
}

/** The kind of a value, and what distinguishes it from others of its kind. */
function rankOf(value: unknown): [number, number | string] {
  if (value === undefined || value === null) return [value === null ? 1 : 0, 0];
  if (typeof value === 'boolean') return [value ? 3 : 2, 0];
  if (typeof value === 'number') return [4, value]; // -0 is 0
  if (typeof value === 'string') return [5, byCodePoint([...value.slice(0, 2 * CHARS_MAX)].slice(0, CHARS_MAX).join(''))];
  return [Array.isArray(value) ? 6 : 7, 0];
}

/** Text that compares, by UTF-16 unit as all text does, as the given one does by code point. */
const byCodePoint = (text: string): string => text.replace(/[\uffff-\u{10ffff}]/gu, (char) => `\uffff${char[1] ? char : '\0'}`);
