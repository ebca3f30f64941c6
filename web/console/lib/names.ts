import type { Query } from './query';

const NAME = '(?:`(?:[^`]|``)*`|[\\p{L}_][\\p{L}\\p{N}_]*)';
/** Text, a number, or a path of names and whether it is called. */
const TOKEN = new RegExp(`"(?:\\\\.|[^"\\\\])*"|'(?:\\\\.|[^'\\\\])*'|\\d[\\w.]*|(${NAME}(?:\\.${NAME})*)\\s*(\\()?`, 'gu');
const WORDS = new Set(['true', 'false', 'null', 'in']);

/** The members that a part is asked for by, as its texts call them: `speed`, `driver.name`. */
export function namesIn({ where, order, select }: Query): string[] {
  const read = Array.from(where.matchAll(TOKEN), ([, path = '', called]) => (called ? path.split('.').slice(0, -1).join('.') : path));
  const ordered = Array.from(order.matchAll(TOKEN), ([, path = '']) => path);
  // With slashes it is about the resource itself. What stands in parentheses is within a member that is named before.
  const selected = select.startsWith('/') ? [] : Array.from(select.replace(/\(.*?\)+/gs, '').matchAll(TOKEN), ([, path = '']) => path);
  return [...new Set([...read, ...ordered, ...selected])].filter((name) => name !== '' && !WORDS.has(name));
}
