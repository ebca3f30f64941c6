import { checkJson, type Mistake } from '../lib/json-check';
import { indented } from '../lib/json-text';
import { ROOT, type Path } from '../lib/paths';
import { escapeBidi } from '../lib/shown';
import type { Api } from '../state/connection';
import { request } from '../state/request';

export type Method = 'put' | 'merge' | 'patch' | 'post' | 'delete';

export interface MethodInfo {
  method: Method;
  name: string;
  does: string;
  /** An example of a body, where an empty box would leave one guessing. */
  example: string;
}

export const METHODS: readonly MethodInfo[] = [
  { method: 'put', name: 'PUT', does: 'Makes the resource exactly this value', example: '{"status": "moving"}' },
  { method: 'merge', name: 'MERGE', does: 'Sets the members that are named; null removes one (RFC 7396)', example: '{"note": "new", "old": null}' },
  { method: 'patch', name: 'JSON PATCH', does: 'A list of operations, all or nothing (RFC 6902)', example: '[{"op": "add", "path": "/note", "value": "new"}]' },
  { method: 'post', name: 'POST', does: 'Makes a new member under a key that sorts by time', example: '{"text": "hello"}' },
  { method: 'delete', name: 'DELETE', does: 'Removes the resource and everything beneath it', example: '' },
];

/** The state that the value was based on. `rev` alone would not do: nothing is there with a cursor, too. */
export interface Base {
  rev: string;
  present: boolean;
}

export function hasBody(method: Method): boolean {
  return method !== 'delete';
}

/** New things have no before. */
export function canCompare(method: Method): boolean {
  return method !== 'post';
}

export function check(method: Method, text: string): Mistake | undefined {
  if (!hasBody(method) || text.trim() === '') return undefined;
  const mistake = checkJson(text);
  if (mistake || method !== 'patch') return mistake;
  return Array.isArray(JSON.parse(text)) ? undefined : { message: 'A JSON Patch is an array of operations', offset: 0, line: 1, column: 1 };
}

/** The cursor of what is there. Through the client, as a browser logs each 404 of a plain request as an error. */
export async function baseOf(api: Api, path: Path): Promise<Base> {
  const { value, rev } = await api.get(path, { depth: 0 });
  return { rev, present: value !== undefined };
}

/** The present value as text, number for number as the server has it. */
export async function load(api: Api, path: Path): Promise<{ base: Base; text: string }> {
  const base = await baseOf(api, path);
  if (!base.present) return { base, text: '' };
  const { rev, text } = await request('GET', path);
  return { base: { rev, present: true }, text: escapeBidi(indented(text)) };
}

const REQUESTS: Record<Exclude<Method, 'delete'>, { verb: string; type: string }> = {
  put: { verb: 'PUT', type: 'application/json' },
  merge: { verb: 'PATCH', type: 'application/merge-patch+json' },
  patch: { verb: 'PATCH', type: 'application/json-patch+json' },
  post: { verb: 'POST', type: 'application/json' },
};

/** Answers with what happened, in words. The text goes as it is. */
export async function write(api: Api, method: Method, path: Path, text: string, base: Base | undefined): Promise<{ said: string; at: Path; rev: string }> {
  const compared = canCompare(method) ? base : undefined;
  if (method === 'delete') {
    const { rev } = await api.delete(path, compared ? { ifMatch: compared.present ? compared.rev : null } : {});
    return { said: 'Deleted', at: path, rev };
  }
  const { verb, type } = REQUESTS[method];
  const { status, rev, location } = await request(verb, path, { 'content-type': type, ...condition(compared) }, text);
  return { said: status === 201 ? 'Created' : 'Written', at: method === 'post' && location ? made(path, location) : path, rev };
}

function condition(base: Base | undefined): Record<string, string> {
  if (!base) return {};
  return base.present ? { 'if-match': `"${base.rev}"` } : { 'if-none-match': '*' };
}

/** Whatever a proxy has made of what stands before it: the last name is the new one. */
function made(path: Path, location: string): Path {
  return `${path === ROOT ? '' : path}/${location.split('/').pop()!}`;
}
