/**
 * Paths as the protocol writes them: percent-encoded segments after a slash each, `/` for the root. Those of members that have no address
 * (PROTOCOL P3) are written in the same way, and an empty name at the end as one slash more: `/a//`.
 */
export type Path = string;

export const ROOT: Path = '/';

export function encodeKey(key: string): string {
  return encodeURIComponent(wellFormed(key));
}

/** `encodeURIComponent` throws at a lone surrogate. No server sends one, but a filter or a hash may hold one. */
function wellFormed(text: string): string {
  return text.replace(/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g, '\uFFFD');
}

export function join(path: Path, key: string): Path {
  return path === ROOT ? fromKeys([key]) : path + fromKeys([key]);
}

/** The names on the way to a path, decoded. */
export function keysOf(path: Path): string[] {
  const segments = path.slice(1);
  // One slash at the end means nothing (PROTOCOL P2).
  return segments === '' ? [] : segments.replace(/\/$/, '').split('/').map(decode);
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    // Somebody typed a bare `%`: taken as it stands.
    return segment;
  }
}

export function fromKeys(keys: readonly string[]): Path {
  return `/${keys.map(encodeKey).join('/')}${keys.at(-1) === '' ? '/' : ''}`;
}

/** One spelling for each resource, so that paths can be compared as text. */
export function canonical(path: string): Path {
  return fromKeys(keysOf(path));
}

/** From the root to the parent. */
export function ancestors(path: Path): Path[] {
  const keys = keysOf(path);
  return keys.map((_, length) => fromKeys(keys.slice(0, length)));
}

export function parent(path: Path): Path {
  return fromKeys(keysOf(path).slice(0, -1));
}

export function nameOf(path: Path): string {
  return keysOf(path).at(-1) ?? ROOT;
}

/** Members with these names can be kept, but have no URL of their own (PROTOCOL P3). */
export function hasUrl(key: string): boolean {
  return key !== '' && key !== '.' && key !== '..' && !key.includes('\u0000');
}

export function hasAddress(path: Path): boolean {
  return keysOf(path).every(hasUrl);
}
