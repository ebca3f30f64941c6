import { isObject } from './json';
import { INLINE_ELEMENTS_MAX, pointer } from './lines';

/** More than this is no longer something that the eye follows. */
const CHANGES_MAX = 2_000;

/**
 * The parts of a value that changed, as JSON pointers. What two versions share is the same object in both, and is not looked into: this costs what
 * changed.
 */
export function changedParts(before: unknown, after: unknown, at: string): string[] {
  const parts: string[] = [];
  const walk = (a: unknown, b: unknown, path: string) => {
    if (a === b || parts.length >= CHANGES_MAX) return;
    if (isObject(a) && isObject(b)) {
      for (const key in b) if (a[key] !== b[key]) walk(a[key], b[key], pointer(path, key));
    } else if (Array.isArray(a) && Array.isArray(b)) {
      // Short ones stand in one line, and losing elements leaves nothing else to flash.
      if (b.length <= INLINE_ELEMENTS_MAX || a.length > b.length) parts.push(path);
      for (let i = 0; i < b.length; i++) if (a[i] !== b[i]) walk(a[i], b[i], pointer(path, String(i)));
    } else {
      parts.push(path);
    }
  };
  walk(before, after, at);
  return parts;
}
