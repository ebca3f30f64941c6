import { checkJson, type Mistake } from '../lib/json-check';
import type { Path } from '../lib/paths';
import type { Api } from '../state/connection';

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

/** What the value was based on. `rev` alone would not do: nothing is there with a cursor, too. */
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

/** Answers with what happened, in words. */
export async function write(api: Api, method: Method, path: Path, text: string, base: Base | undefined): Promise<{ said: string; at: Path; rev: string }> {
  const condition = base && canCompare(method) ? { ifMatch: base.present ? base.rev : null } : {};
  const value = hasBody(method) ? JSON.parse(text) : undefined;
  switch (method) {
    case 'post': {
      const made = await api.post(path, value);
      return { said: 'Created', at: made.path, rev: made.rev };
    }
    case 'delete': {
      const { rev } = await api.delete(path, condition);
      return { said: 'Deleted', at: path, rev };
    }
    default: {
      const { rev, created } = await api[method](path, value, condition);
      return { said: created ? 'Created' : 'Written', at: path, rev };
    }
  }
}
