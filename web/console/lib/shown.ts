/** Text and numbers as this page shows them. */

/** Characters that turn the order of what stands around them. */
const BIDI = /[\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/g;

export function escapeBidi(text: string): string {
  return text.replace(BIDI, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** As JSON has it. The escapes are its own: read again, it is the same text. */
export function quoted(text: string): string {
  return escapeBidi(JSON.stringify(text));
}

/** A name among others, without quotes unless there would be nothing to see. */
export function nameText(name: string): string {
  return name === '' ? '""' : escapeBidi(name);
}

export const APPROXIMATE = '≈: this page shows numbers as 64-bit floats; curl shows the digits';

/** The server keeps each digit (PROTOCOL V1); of this one, the page may not have them all. */
export function isInexact(value: unknown): boolean {
  return Number.isInteger(value) && !Number.isSafeInteger(value);
}

/** True if such a number is anywhere in a value. */
export function hasInexact(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return isInexact(value);
  for (const key in value) if (hasInexact((value as Record<string, unknown>)[key])) return true;
  return false;
}

/** A value that has no parts. */
export function scalarText(value: unknown): string {
  if (typeof value === 'string') return quoted(value);
  return isInexact(value) ? `≈${String(value)}` : String(value);
}
