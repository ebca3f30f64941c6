import { isInexact, quoted, scalarText } from './shown';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };
export type Kind = 'object' | 'array' | 'string' | 'number' | 'boolean' | 'null' | 'absent';

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function kindOf(value: unknown): Kind {
  if (value === undefined) return 'absent';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  return typeof value as Kind;
}

/** `Object.keys(value).length` without the array of ten thousand names, when all that matters is whether there is one. */
export function isEmpty(value: object): boolean {
  for (const key in value) if (Object.hasOwn(value, key)) return false;
  return true;
}

export interface Preview {
  text: string;
  /** A number in the text is not what the server has, digit for digit. */
  approximate: boolean;
}

/** The beginning of a value in one line. Looks only at as much of it as is shown. */
export function preview(value: unknown, limit: number): Preview {
  const out: string[] = [];
  let left = limit;
  let approximate = false;
  const write = (text: string): boolean => {
    if (text.length > left) {
      out.push(text.slice(0, Math.max(0, left)), '…');
      left = -1;
      return false;
    }
    out.push(text);
    left -= text.length;
    return true;
  };
  const walk = (node: unknown): boolean => {
    if (typeof node === 'string') return write(quoted(node.length > left ? node.slice(0, left + 1) : node));
    if (Array.isArray(node)) {
      if (!write('[')) return false;
      for (let i = 0; i < node.length; i++) if ((i > 0 && !write(', ')) || !walk(node[i])) return false;
      return write(']');
    }
    if (isObject(node)) {
      if (!write('{')) return false;
      let first = true;
      for (const key in node) {
        if (!Object.hasOwn(node, key)) continue;
        if ((!first && !write(', ')) || !write(`${quoted(key.slice(0, limit))}: `) || !walk(node[key])) return false;
        first = false;
      }
      return write('}');
    }
    approximate ||= isInexact(node);
    return write(scalarText(node));
  };
  walk(value);
  return { text: out.join(''), approximate };
}

/** The kind of a value, in a word or two: `object, 300 members`. Where it shows only some of them: `10 of 300 members`. */
export function describe(value: unknown, count?: number, all?: number): string {
  const kind = kindOf(value);
  switch (kind) {
    case 'array':
      return plural((value as unknown[]).length, 'element');
    case 'object':
      return count === undefined ? 'object' : all === undefined ? plural(count, 'member') : `${count.toLocaleString('en')} of ${plural(all, 'member')}`;
    case 'string':
      return plural((value as string).length, 'character');
    case 'absent':
      return 'nothing here';
    default:
      return kind;
  }
}

function plural(count: number, noun: string): string {
  return `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;
}

/** True if something may be missing because of `depth`: an object at the cut reads as `{}`. */
export function mayBeCut(value: unknown, depth: number | undefined): boolean {
  if (depth === undefined || !isObject(value)) return false;
  if (depth === 0) return isEmpty(value);
  for (const key in value) if (Object.hasOwn(value, key) && mayBeCut(value[key], depth - 1)) return true;
  return false;
}
