/**
 * No ghosts: whatever was deleted, made anew or made another type while a client was away, its mirror then equals a fresh GET. So do two
 * followers that apply the frames as they came with appliers of other people. Against the real binary.
 */
import fastJsonPatch from 'fast-json-patch';
import mergePatch from 'json-merge-patch';
import * as rfc6902 from 'rfc6902';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { WebSocket } from 'ws';
// @ts-expect-error: it has no types
import { startServer } from '../../../conformance/lib/server.mjs';
import { type Api, connect, type Live, type ReadOptions } from '../src/index.js';
import { below, json, pick, type Random, random } from './random.js';

const ROUNDS = Number(process.env['HALFPING_GHOST_ROUNDS'] ?? 1_000);
const SEED = Number(process.env['HALFPING_GHOST_SEED'] ?? 1);
const NAMES = ['a', 'b', 'c', 'd', 'a/b', '~1', 'ü'];
const LONG = 'long '.repeat(100);
const PATHS = ['/g', '/g/a', '/g/a/b', '/g/c', '/g/a%2Fb'] as const;
/** Parts of the first. */
const SHAPES: readonly ReadOptions[] = [
  { depth: 1 },
  { where: 'has(a) || c == 1' },
  { where: 'b != null', select: 'b,c(a)' },
  { where: 'key() in ["a", "b"]', depth: 1 },
  { select: '/a,/b/c' },
  { order: '-a,c', limit: 2, select: 'b' },
  { limit: 1, where: 'has(a)' },
  { count: true },
];

type Apply = (value: any, operations: any[]) => any;

/** Keeps what frames make of each link, without this client's code. */
class Follower {
  readonly values = new Map<number, any>();
  parts = 0;
  constructor(readonly patch: Apply) {}

  take(text: string): void {
    for (const [id, kind, body, more] of JSON.parse(text).set ?? []) {
      this.parts += Number(more === 'more');
      const value = structuredClone(this.values.get(id));
      if (kind === 'snapshot') this.values.set(id, body);
      else if (kind === 'gone') this.values.delete(id);
      else if (kind === 'merge') this.values.set(id, mergePatch.apply(value, body));
      else this.values.set(id, this.patch(value, body));
    }
  }
}

const followers = [
  new Follower((value, operations) =>
    operations.reduce((document, operation) => {
      try {
        return fastJsonPatch.applyOperation(document, operation, true).newDocument;
      } catch (error) {
        if (operation.op === 'remove' && (error as Error).name === 'OPERATION_PATH_UNRESOLVABLE') return document; // PROTOCOL S7
        throw error;
      }
    }, value),
  ),
  new Follower((value, operations) => {
    const holder = { value };
    for (const operation of operations) {
      const [error] = rfc6902.applyPatch(holder, [{ ...operation, path: `/value${operation.path}` }]);
      if (error && operation.op !== 'remove') throw error;
    }
    return holder.value;
  }),
];

/** A socket whose frames the followers see too, and that can be cut. */
class Tapped extends WebSocket {
  static last: Tapped;
  constructor(url: string, protocol: string) {
    super(url, protocol);
    Tapped.last = this;
    // What still comes on a connection that the client has left is no part of what it goes on from.
    this.on('message', (data) => this.readyState === WebSocket.OPEN && followers.forEach((follower) => follower.take(String(data))));
  }
}

let server: { url: string; stop(): Promise<void>; complaint(): string | undefined };
let writer: Api;
let reader: Api;

beforeAll(async () => {
  // Small slices, so that changes come in parts, too.
  server = await startServer('--limit', 'slice_bytes=1024');
  writer = connect(server.url, { WebSocket });
  reader = connect(server.url, { WebSocket: Tapped });
});
afterAll(async () => {
  writer?.close();
  reader?.close();
  expect(server.complaint()).toBeUndefined();
  await server.stop();
});

async function change(chance: Random): Promise<void> {
  const path = `/g${Array.from({ length: below(chance, 3) }, () => `/${encodeURIComponent(pick(chance, NAMES))}`).join('')}` as '/g';
  const kind = below(chance, 10);
  // What is no object has no members, and what is not there cannot be removed: those are no changes.
  const refused = (error: any) => expect(['not-an-object', 'not-found']).toContain(error.type);
  if (kind < 3) await writer.delete(path).catch(refused);
  else if (kind < 7) await writer.put(path, json(chance, 3, NAMES)).catch(refused);
  else if (kind < 9) await writer.merge(path, json(chance, 2, NAMES)).catch(refused);
  // More than fits one frame.
  else await writer.merge(path, Object.fromEntries(NAMES.map((name) => [name, pick(chance, [1, { x: LONG }, LONG])]))).catch(refused);
}

/** All that is watched is up to date. */
const inStep = () =>
  new Promise<void>((resolve) => {
    const stop = reader.onStatus(({ synced }) => {
      if (!synced) return;
      resolve();
      queueMicrotask(() => stop());
    });
  });

test(`${ROUNDS} rounds of changes while the client is away`, { timeout: 120_000 }, async () => {
  const chance = random(SEED);
  const mirrors: Live[] = PATHS.map((path) => reader.live(path));
  const parts = SHAPES.map((shape) => reader.live('/g', shape));
  /** Those that have shown anything. */
  const shown = new Set<number>();
  // What is told of members adds up to the whole.
  const members = new Map<string, unknown>();
  mirrors[0]!.members((key, value) => (value === undefined ? members.delete(key) : members.set(key, value)));
  await Promise.all([...mirrors, ...parts].map(({ ready }) => ready));
  for (let round = 0; round < ROUNDS; round++) {
    const where = `seed ${SEED}, round ${round}`;
    const cut = chance() < 0.3;
    if (cut) Tapped.last.terminate();
    else if (chance() < 0.9) reader.disconnect();
    for (let n = below(chance, 6); n > 0; n--) await change(chance);
    reader.reconnect();
    await inStep();
    const fresh = await Promise.all(PATHS.map((path) => writer.get(path)));
    const freshParts = await Promise.all(SHAPES.map((shape) => writer.get('/g', shape)));
    expect(mirrors.map(({ value }) => value), where).toEqual(fresh.map(({ value }) => value));
    expect(parts.map(({ value }) => value), where).toEqual(freshParts.map(({ value }) => value));
    freshParts.forEach(({ value }, n) => (value > 0 || Object.keys(value ?? {}).length > 0) && shown.add(n));
    const whole = mirrors[0]!.value;
    const isObject = typeof whole === 'object' && whole !== null && !Array.isArray(whole);
    expect(Object.fromEntries(members), where).toEqual(isObject ? whole : {});
    for (const follower of followers) {
      expect([...fresh, ...freshParts].map((_, index) => follower.values.get(index + 1)), where).toEqual([...fresh, ...freshParts].map(({ value }) => value));
    }
  }
  expect(shown.size).toBe(SHAPES.length);
  expect(followers[0]!.parts).toBeGreaterThan(ROUNDS / 20);
});
