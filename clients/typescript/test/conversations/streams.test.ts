/**
 * The text of plain streams (conformance/conversations/streams/) leads the client's applier to the states that the files tell of. The library
 * itself opens no such stream: its own are those of sessions.
 */
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
// @ts-expect-error: it has no types
import { parse } from '../../../../conformance/lib/conversation.mjs';
import { applied } from '../../src/value.js';
import { difference, World } from './world.js';

const folder = fileURLToPath(new URL('../../../../conformance/conversations/streams/', import.meta.url));
const files = readdirSync(folder).filter((name) => name.endsWith('.txt'));

/** A frame's kind and body, from a line of NDJSON; what the file leaves open is worked out from what was written. */
function frameOf(line: string, path: string, world: World, held: unknown): [string, unknown] {
  const kind = /"kind":"(\w+)"/.exec(line)![1]!;
  const text = /"value":(.*?)(?:,"resume".*)?\}$/.exec(line)?.[1];
  const isOpen = text === undefined || /\*|\.\.\./.test(text.replace(/"[^"]*"/g, ''));
  if (!isOpen) return [kind, JSON.parse(text)];
  return [kind, kind === 'merge' ? difference(held, world.at(path)) : world.at(path)];
}

test.each(files)('%s', (name) => {
  const world = new World();
  const mirrors = new Map<string, unknown>();
  /** Paths of which the file leaves the kind of a frame open. */
  const open = new Set<string>();
  let path = '/';
  let event: { kind: string; data: string | undefined } = { kind: 'snapshot', data: undefined };
  let frames = 0;
  for (const { word, rest, at } of parse(folder + name).steps as { word: string; rest: string; at: number }[]) {
    const apply = (where: string, kind: string, body: unknown) => {
      if (kind === 'synced' || kind === 'error') return;
      // With `delta=false`, null stands for nothing (E2): such a page cannot tell.
      mirrors.set(where, applied(mirrors.get(where), kind, structuredClone(body)));
      frames++;
    };
    if (word === 'write') {
      const [, method, where, body] = /^(?:\$\w+ )?([A-Z]+) (\S+)(?: (.*))?$/.exec(rest)!;
      world.write(method!, where!, body === undefined ? undefined : JSON.parse(body));
    } else if (word === 'open') {
      path = new URL(rest.split(' ')[1]!.replaceAll('$', ''), 'http://x').pathname;
    } else if (word === '<' && rest.startsWith('{')) {
      const where = /^\{"path":"([^"]+)"/.exec(rest)?.[1] ?? path;
      if (rest.includes('"kind":*')) open.add(where);
      else apply(where, ...frameOf(rest, where, world, mirrors.get(where)));
    } else if (word === '<' && rest.startsWith('event: ')) event.kind = rest.slice(7);
    else if (word === '<' && rest.startsWith('data: ')) event.data = rest.slice(6);
    else if (word === '<' && rest === '') {
      if (event.data?.startsWith('{"path"') || event.data === undefined) continue;
      apply(path, event.kind, JSON.parse(event.data));
      event = { kind: 'snapshot', data: undefined };
    } else if (word === 'mirror') {
      const [where, ...words] = rest.split(' ');
      if (open.has(where!)) continue;
      const expected = words.join(' ') === 'nothing' ? undefined : JSON.parse(words.join(' '));
      expect(mirrors.get(where!), `line ${at}`).toEqual(expected);
    }
  }
  if (name !== 'an_unknown_parameter_is_refused.txt') expect(frames).toBeGreaterThan(0);
});
