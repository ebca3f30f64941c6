import type { Path } from '../lib/paths';
import { searchOf, type Query } from '../lib/query';
import { json } from './quote';

/** The resource that a snippet is about. */
export interface Target {
  /** The path at which the API is mounted, with a slash at the end. */
  root: string;
  path: Path;
  /** The part of it that is read. */
  query: Query;
  /** The value to write there: the present one, when it is known and short. */
  value: unknown;
}

export interface Snippet {
  id: string;
  name: string;
  code: (target: Target) => string;
}

export function urlOf({ root, path }: Target): string {
  return root + path.slice(1);
}

/** The URL at which the part is read, with more parameters. */
export function readUrlOf(target: Target, more = ''): string {
  const search = searchOf(target.query);
  return urlOf(target) + search + (more && `${search ? '&' : '?'}${more}`);
}

/** `connect` and `Client::new` want the mount itself. */
export function baseOf({ root }: Target): string {
  return root.replace(/\/$/, '');
}

export function socketUrlOf(target: Target): string {
  return readUrlOf(target, 'watch').replace(/^http/, 'ws');
}

/** Longer values do not stand in a command line. */
const VALUE_CHARS_MAX = 2_000;

/** As JSON; a placeholder when the value is not known, or long. */
export function bodyOf({ value }: Target): string {
  const text = value === undefined ? undefined : json(value);
  return text === undefined || text.length > VALUE_CHARS_MAX ? '"new value"' : text;
}
