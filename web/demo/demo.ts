/** The demo behind its page: one session, the fleet, the meter, and what the buttons do. */

import { batch, signal } from '@preact/signals';
import { connect, type Change, type Status } from 'halfping';
import { fastest, follow, unfollow } from './fastest';
import { Fleet, type Entity } from './fleet';
import type { Streets } from './ground';
import { LiveMap } from './map';
import { Meter, SAMPLE_MS } from './meter';
import { Network, type Report } from './network';
import { Projection, type Bounds } from './projection';
import { count, duration } from './text';

/** One in whose name the page can look. */
export interface Operator {
  readonly sub: string;
  readonly name: string;
  /** The things that it has at first, in words. */
  readonly runs: string;
  readonly token: string;
}

/** The value of `/demo`. */
export interface Description {
  readonly title: string;
  readonly source: string;
  readonly credit?: string;
  readonly collection: string;
  /** The number that is wished; a recording has as many as it has. */
  readonly vehicles?: number;
  readonly vehicles_at_first?: number;
  readonly speed: number;
  readonly interval_ms: number;
  readonly bounds?: Bounds;
  readonly streets?: Streets;
  readonly operators?: readonly Operator[];
}

/** Wherever the API is mounted, this page is one below. */
const ROOT = new URL('../', location.href);
/** Bytes of state that the server may have on their way: what a stall can make stale. */
const CREDIT_BYTES = 64 * 1024;
export const FREEZE_MS = 5000;
export const MORE = 1000;
export const SLOW_S = 5;
const WORLD: Bounds = { south: -60, west: -180, north: 75, east: 180 };

export const network = new Network(CREDIT_BYTES);
/** The operator in whose name the page looks; undefined for everybody. */
export const operator = signal<Operator | undefined>(undefined);
const token = () => operator.peek()?.token;
export const api = connect(ROOT, { WebSocket: network.Socket, credit: CREDIT_BYTES, token });
export const meter = new Meter();

/** The state of things, a few times a second. */
export const now = signal({ state: 'idle' as Status['state'], inStep: false, behindMs: 0, ageMs: Infinity, entities: 0, links: 0, frozenMs: undefined as number | undefined, hint: undefined as string | undefined });
export const description = signal<Description | undefined>(undefined);
/** The value of `/fleet`. */
export const summary = signal<Record<string, unknown> | undefined>(undefined);
/** True if the console is there: exactly when the server's own state is (PROTOCOL O8). */
export const hasConsole = signal(false);
export const wished = signal<number | undefined>(undefined);
export const busy = signal<'freeze' | 'cut' | undefined>(undefined);
/** `usual_bytes`: what so much time brings when nothing is frozen, as it was just before. */
export const frozen = signal<(Report & { usual_bytes: number }) | undefined>(undefined);
export const cut = signal<Report | undefined>(undefined);
export const slow = signal(false);
export const selected = signal<{ id: string; value: unknown; change: Change | undefined } | undefined>(undefined);
export const hovered = signal<{ entity: Entity; x: number; y: number } | undefined>(undefined);
/** Said aloud, too. */
export const said = signal('');
export const viewed = signal(0);
export let fleet: Fleet | undefined;
export let map: LiveMap | undefined;

/** Time at which all that is shown was last known to be the newest. */
let inStepAt: number | undefined;
let sampled = 0;

const known = (id: string) => {
  const entity = fleet?.entities.get(id);
  return { id, value: entity?.value, change: entity?.change };
};

/** Shows what `/demo` describes, and everything again when that becomes something else. */
export function start(host: HTMLElement): void {
  setInterval(sample, SAMPLE_MS);
  api.on('/fleet', (value) => (summary.value = value), { priority: 2 });
  api.on('/demo/vehicles', (value: unknown) => {
    wished.value = typeof value === 'number' ? value : undefined;
  });
  void api
    .get('/_server', { depth: 0 })
    .then(({ value }) => (hasConsole.value = value !== undefined))
    .catch(() => {}); // then there is no link to it
  void api
    .get('/demo')
    .then(({ value }) => {
      if (value === undefined) said.value = 'There is no demo here: start the server with `halfping demo`.';
      else show(host, value as Description);
    })
    .catch((error: Error) => (said.value = error.message));
}

function show(host: HTMLElement, demo: Description): void {
  const projection = new Projection(demo.bounds ?? WORLD);
  fleet = new Fleet(
    api,
    demo.collection,
    projection,
    { speed: demo.speed, interval_ms: demo.interval_ms },
    (entity, change, from) => {
      meter.came(change.t);
      map?.trace(entity, from);
      if (!fastest.peek()) rank(entity);
      if (entity.id === selected.peek()?.id) selected.value = known(entity.id);
    },
    () => {
      const id = selected.peek()?.id;
      if (id !== undefined && !fleet?.entities.has(id)) select(undefined);
    },
  );
  const still = matchMedia('(prefers-reduced-motion: reduce)');
  fleet.still = still.matches;
  still.addEventListener('change', () => (fleet!.still = still.matches));
  map = new LiveMap(
    host,
    fleet,
    projection,
    demo.streets,
    (id) => (selected.value = id === undefined ? undefined : known(id)),
    (entity, x, y) => (hovered.value = entity && { entity, x, y }),
    () => viewed.value++,
  );
  fleet.start();
  description.value = demo;
}

/** Follows the fastest, when one of them shows what its speed is called. */
function rank(one: Entity | undefined): void {
  if (fleet && one) follow(api, fleet.collection, fleet.unit, one.value, fleet.rate);
}

/** The age of what is shown: since the newest change in it was committed. */
const age = () => (fleet && fleet.newest > 0 ? Math.max(0, meter.now() - fleet.newest) : Infinity);

/** Those of the fleet, of `/fleet` and `/demo/vehicles`, and of the fastest. */
const links = () => (fleet?.links ?? 0) + 2 + Number(fastest.peek() !== undefined);

/** The error, and what somebody could do about it, such as a proxy that asks by a name which the server does not know. */
function trouble(): string | undefined {
  const { hint, error, state } = api.status;
  if (hint) return hint;
  return (state === 'waiting' || state === 'refused') && error ? [error.detail, error.hint].filter(Boolean).join(' ') : undefined;
}

function sample(): void {
  const at = performance.now();
  const { state, synced } = api.status;
  const inStep = state === 'live' && synced && network.heldSince === undefined;
  if (inStep) inStepAt = at;
  const behindMs = inStep ? 0 : at - (network.heldSince ?? inStepAt ?? at);
  const ageMs = age();
  meter.sample({ at, updates: fleet?.updates ?? 0, bytes: network.bytesIn }, Number.isFinite(ageMs) ? ageMs : 0, (fleet?.heldBack(at) ?? 0) + behindMs);
  if (sampled++ % 4 === 0) fleet?.gauge();
  const frozenMs = network.frozenAt === undefined ? undefined : at - network.frozenAt;
  const hint = inStep || frozenMs !== undefined ? undefined : trouble();
  batch(() => {
    now.value = { state, inStep, behindMs, ageMs, entities: fleet?.entities.size ?? 0, links: links(), frozenMs, hint };
  });
  if (fleet && inStep && !busy.peek()) void meter.poll(new URL(`.${fleet.collection}`, ROOT), fleet.entities.size, token());
}

/** The number of values that the server has written, asked for beside the session: nothing that is frozen or cut is in the way. */
async function written(): Promise<number | undefined> {
  try {
    const value: unknown = await (await fetch(new URL('demo/updates', ROOT), { cache: 'no-store' })).json();
    return typeof value === 'number' ? value : undefined;
  } catch {
    return undefined;
  }
}

export async function freeze(): Promise<void> {
  if (busy.peek() || network.busy) return;
  busy.value = 'freeze';
  said.value = `This tab's network is frozen for ${FREEZE_MS / 1000} s.`;
  const usual_bytes = (meter.bytes_per_s * FREEZE_MS) / 1000;
  const report = await network.freeze(FREEZE_MS, written);
  frozen.value = { ...report, usual_bytes };
  busy.value = undefined;
  said.value = `In step again ${duration(report.ms_to_step)} after the freeze.`;
}

export async function cutConnection(): Promise<void> {
  if (busy.peek() || network.busy) return;
  busy.value = 'cut';
  said.value = 'The connection is cut.';
  const report = await network.cut(written);
  cut.value = report;
  busy.value = undefined;
  said.value = `Reconnected, and in step again after ${duration(report.ms_to_step)}.`;
}

async function wish(vehicles: number): Promise<void> {
  try {
    await api.put('/demo/vehicles', vehicles);
    said.value = `Asked for ${count(vehicles)} vehicles.`;
  } catch (error) {
    said.value = `That did not work: ${(error as Error).message}`;
  }
}

export const more = () => wish((wished.peek() ?? 0) + MORE);
export const back = () => wish(backTo());
export const backTo = () => description.value?.vehicles_at_first ?? 300;

export function setSlow(on: boolean): void {
  slow.value = on;
  meter.window_ms = on ? 2000 * SLOW_S : 3000;
  if (fleet) {
    fleet.rate = on ? 1 / SLOW_S : undefined;
    rank(fleet.entities.values().next().value);
  }
  said.value = on ? `Each entity is told at most once in ${SLOW_S} s.` : 'Each entity is told as it changes.';
}

/**
 * Looks in the name of an operator, or of everybody, on the same connection. What was shown to the one before goes at once; what this one may see comes,
 * and nothing else.
 */
export function lookAs(one: Operator | undefined): void {
  if (one === operator.peek()) return;
  operator.value = one;
  select(undefined);
  hovered.value = undefined;
  unfollow();
  fleet?.restart();
  map?.forget();
  api.renew();
  said.value = one ? `Now ${one.name} is looking: nothing but ${one.runs} is sent to this page.` : 'Now everybody is looking, and sees all.';
}

/** Gives an entity to an operator. */
export async function handOver(entity: Entity, to: Operator): Promise<void> {
  try {
    await api.put(`${entity.path}/operator` as '/', to.sub);
    said.value = `${entity.id} belongs to ${to.name} now.`;
  } catch (error) {
    said.value = `That did not work: ${(error as Error).message}`;
  }
}

/** Of the entity with this name; false if there is none. */
export function select(id: string | undefined): boolean {
  if (id !== undefined && !fleet?.entities.has(id)) return false;
  map?.select(id);
  return true;
}

/** For tests, and for the curious. */
const halfpingDemo = {
  state: () => ({
    status: api.status.state,
    in_step: now.value.inStep,
    behind_ms: now.value.behindMs,
    age_ms: age(),
    delay_ms: meter.delay_ms,
    shown_ms: meter.shown_ms,
    entities: fleet?.entities.size ?? 0,
    links: links(),
    updates: fleet?.updates ?? 0,
    updates_per_s: meter.updates_per_s,
    bytes_per_s: meter.bytes_per_s,
    bytes_in: network.bytesIn,
    messages_in: network.messagesIn,
    polling_bytes_per_s: meter.poll_bytes,
    fps: map?.fps ?? 0,
    rate: fleet?.rate,
    wished: wished.value,
    frozen: network.frozenAt !== undefined,
    busy: busy.value,
    freeze: frozen.value,
    cut: cut.value,
    selected: selected.value?.id,
    fastest: fastest.value,
    said: said.value,
    operator: operator.value?.sub,
    identity: api.status.identity?.sub,
    /** To whom those belong that are shown. */
    owners: [...new Set([...(fleet?.entities.values() ?? [])].flatMap(({ value }) => ((value as { operator?: string } | undefined)?.operator ?? [])))].sort(),
  }),
  value: (id: string) => fleet?.entities.get(id)?.value,
  place: (id: string) => map?.placeOf(id),
  select,
};
declare global {
  interface Window {
    halfpingDemo: typeof halfpingDemo;
  }
}
window.halfpingDemo = halfpingDemo;
