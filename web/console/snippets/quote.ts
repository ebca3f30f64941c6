import { escapeBidi } from '../lib/shown';

/** Text as a literal of each language. */

export function shell(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/**
 * JSON in one line, whoever reads it: JavaScript and editors take two characters for the end of a line that JSON does not, and a comment would end
 * there; others turn the order of what stands after them.
 */
export function json(value: unknown): string {
  return escapeBidi(JSON.stringify(value).replace(/[\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16)}`));
}

/** JavaScript and Python read all of JSON's escapes. */
export const javascript = (text: string): string => json(text);
export const python = (text: string): string => json(text);

export function pythonValue(value: unknown): string {
  if (value === null || value === undefined) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'string') return python(value);
  if (Array.isArray(value)) return `[${value.map(pythonValue).join(', ')}]`;
  if (typeof value === 'object') {
    const members = Object.entries(value).map(([key, member]) => `${python(key)}: ${pythonValue(member)}`);
    return `{${members.join(', ')}}`;
  }
  return String(value);
}

export function rust(text: string): string {
  const escaped = text.replace(/[\\"]/g, '\\$&').replace(/[\u0000-\u001f\u007f\u2028\u2029]/g, (c) => `\\u{${c.charCodeAt(0).toString(16)}}`);
  return `"${escaped}"`;
}

/** A raw string with as many `#` as its text needs. */
export function rustRaw(text: string): string {
  if (text.includes('\r')) return rust(text);
  let marks = '#';
  while (text.includes(`"${marks}`)) marks += '#';
  return `r${marks}"${text}"${marks}`;
}
