/** The things that move: one link that tells which there are, and one for each of them. All of it over one session. */

import type { Api, Change } from 'halfping';
import { colourOf } from './colours';
import { MPS, placeOf, type Unit } from './place';
import type { Projection } from './projection';

/** Positions that an entity remembers, for its trail. */
const TRAIL_POINTS = 14;
/**
 * A thing that is farther away than it could have driven has jumped. In metres a second of its own time, where none of them says how fast it is;
 * else twice as fast as the fastest, and not for longer than this: who knows where it was in between?
 */
const JUMP_MPS = 1000;
const UNSEEN_MS_MAX = 10_000;
const INTERVALS_MAX = 4;

export interface Entity {
  readonly id: string;
  readonly path: string;
  value: unknown;
  change: Change | undefined;
  /** The place that it told, in metres of the map. */
  x: number;
  y: number;
  /** Its velocity, in metres a second of ours. */
  vx: number;
  vy: number;
  /** The distance from that at which it was shown then. */
  offX: number;
  offY: number;
  /** Time at which it said so: milliseconds of `performance.now()`; 0 for never. */
  at: number;
  /** Time at which it was told last, whatever that was: milliseconds of `performance.now()`. */
  toldAt: number;
  heading: number;
  speed: number;
  /** x and y, the oldest first. */
  trail: number[];
  stop: () => void;
}

export interface Pace {
  /** The factor by which it is faster than in the world. */
  readonly speed: number;
  /** About how long after it told something a thing does again. */
  readonly interval_ms: number;
}

export class Fleet {
  readonly entities = new Map<string, Entity>();
  /** Told so far, over all entities. */
  updates = 0;
  /** Time at which the newest change that was told was committed, by the server's clock. */
  newest = 0;
  unit: Unit = MPS;
  /** Of what moves now: all but the slowest and the fastest twentieth are between these. */
  slow = 0;
  fast = 0;
  /** The highest speed that any has told, in metres a second. */
  #fastest = 0;
  still = false;
  #rate: number | undefined;
  #stop = () => {};
  #restart: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly api: Api,
    readonly collection: string,
    readonly projection: Projection,
    readonly pace: Pace,
    /** Called with each update; the first state of an entity is none. */
    readonly onUpdate: (entity: Entity, change: Change, from: { x: number; y: number } | undefined) => void,
    readonly onMembers: () => void,
  ) {}

  start(): void {
    this.#stop = this.api.on(
      this.collection as '/',
      (members, change) => {
        const known = (members ?? {}) as Record<string, unknown>;
        const gone = change.kind === 'merge' && change.keys ? change.keys.filter((id) => !(id in known)) : [...this.entities.keys()].filter((id) => !(id in known));
        for (const id of gone) this.#remove(id);
        for (const id of change.kind === 'merge' && change.keys ? change.keys : Object.keys(known)) {
          if (id in known && !this.entities.has(id)) this.#add(id);
        }
        this.onMembers();
      },
      { depth: 1, priority: 1 },
    );
  }

  /** Forgets all that it was told, and begins anew. */
  restart(): void {
    this.#stop();
    for (const id of [...this.entities.keys()]) this.#remove(id);
    this.newest = 0;
    // Links that are over are ended first: else one would be taken for the same.
    clearTimeout(this.#restart);
    this.#restart = setTimeout(() => this.start());
  }

  /** Asks for at most so many updates a second of each entity, or for all of them. */
  set rate(rate: number | undefined) {
    if (rate === this.#rate) return;
    this.#rate = rate;
    for (const entity of this.entities.values()) {
      const before = entity.stop;
      entity.stop = this.#follow(entity);
      before();
    }
  }

  get rate(): number | undefined {
    return this.#rate;
  }

  /**
   * The age of what is shown that comes from the rate that was asked for, on average: milliseconds. Since it was told last, a thing may have changed; if
   * nothing has come when its turn was over, it has not.
   */
  heldBack(now: number): number {
    if (this.#rate === undefined || this.entities.size === 0) return 0;
    let sum = 0;
    for (const { toldAt } of this.entities.values()) {
      const ms = now - toldAt;
      if (ms < 1000 / this.#rate) sum += ms;
    }
    return sum / this.entities.size;
  }

  /** Looks again what is slow and what is fast. */
  gauge(): void {
    const speeds = Float64Array.from([...this.entities.values()].filter(({ speed }) => speed > 0), ({ speed }) => speed).sort();
    const twentieth = Math.floor(speeds.length / 20);
    this.slow = Math.floor(speeds[twentieth] ?? 0);
    this.fast = Math.ceil(speeds[speeds.length - 1 - twentieth] ?? 0);
  }

  /** The colour of an entity. */
  colour({ speed }: Entity): number {
    return colourOf(speed, this.slow, this.fast);
  }

  /** One for each, and one that tells which there are. */
  get links(): number {
    return this.entities.size + 1;
  }

  #add(id: string): void {
    const entity: Entity = {
      id,
      path: `${this.collection}/${encodeURIComponent(id)}`,
      value: undefined,
      change: undefined,
      ...{ x: 0, y: 0, vx: 0, vy: 0, offX: 0, offY: 0, at: 0, toldAt: 0, heading: 0, speed: 0 },
      trail: [],
      stop: () => {},
    };
    this.entities.set(id, entity);
    entity.stop = this.#follow(entity);
  }

  #follow(entity: Entity): () => void {
    const shape = this.#rate === undefined ? {} : { rate: this.#rate };
    return this.api.on(entity.path as '/', (value, change) => this.#told(entity, value, change), shape);
  }

  #remove(id: string): void {
    this.entities.get(id)?.stop();
    this.entities.delete(id);
  }

  #told(entity: Entity, value: unknown, change: Change): void {
    const isFirst = entity.change === undefined;
    entity.value = value;
    entity.change = change;
    entity.toldAt = performance.now();
    if (change.t > this.newest) this.newest = change.t;
    if (!isFirst) this.updates++;
    const place = placeOf(value);
    let from: { x: number; y: number } | undefined;
    if (place) {
      const now = performance.now();
      const known = entity.at > 0;
      const shown = this.shown(entity, now);
      const [x, y] = this.projection.metres(place.lat, place.lon);
      const [dx, dy] = [x - entity.x, y - entity.y];
      const far = Math.hypot(dx, dy);
      this.#fastest = Math.max(this.#fastest, (place.speed ?? 0) * place.unit.mps);
      const jumped = far > this.#reach(now - entity.at);
      if (known && !jumped && far > 0) from = { x: entity.x, y: entity.y };
      entity.speed = place.speed ?? 0;
      if (place.heading !== undefined) entity.heading = place.heading;
      else if (known && far > 1) entity.heading = (Math.atan2(dx, -dy) * 180) / Math.PI;
      const mps = place.heading === undefined ? 0 : entity.speed * place.unit.mps * this.pace.speed;
      const towards = (entity.heading * Math.PI) / 180;
      entity.vx = mps * Math.sin(towards);
      entity.vy = -mps * Math.cos(towards);
      entity.offX = known && !jumped ? shown.x - x : 0;
      entity.offY = known && !jumped ? shown.y - y : 0;
      [entity.x, entity.y, entity.at] = [x, y, now];
      this.unit = place.unit;
      if (jumped) entity.trail.length = 0;
      if (entity.trail.push(x, y) > 2 * TRAIL_POINTS) entity.trail.splice(0, 2);
    }
    this.onUpdate(entity, change, from);
  }

  /** The metres that are possible in so long. */
  #reach(passed_ms: number): number {
    const seen_ms = Math.min(passed_ms, Math.max(UNSEEN_MS_MAX, INTERVALS_MAX * this.pace.interval_ms));
    const mps = this.#fastest > 0 ? 2 * this.#fastest : JUMP_MPS;
    return mps * this.pace.speed * Math.max(1, seen_ms / 1000);
  }

  readonly #at = { x: 0, y: 0 };

  /**
   * The place to show it at: where it will be by now if it goes on as it said, from where it was shown before without a leap. The result is good until
   * the next call.
   */
  shown(entity: Entity, now: number): { x: number; y: number } {
    const at = this.#at;
    [at.x, at.y] = [entity.x, entity.y];
    if (this.still) return at;
    // A reader that is told seldom does not know enough to go on by itself.
    const interval_ms = this.#rate === undefined ? this.pace.interval_ms : Math.max(this.pace.interval_ms, 1000 / this.#rate);
    const passed = now - entity.at;
    const goes = this.#rate === undefined && (entity.vx !== 0 || entity.vy !== 0);
    const on = (Math.min(passed, 1.5 * interval_ms) / 1000) * (goes ? 1 : 0);
    const settle = goes ? Math.min(400, interval_ms) : interval_ms;
    const left = passed < settle ? 1 - passed / settle : 0;
    at.x += entity.vx * on + entity.offX * left;
    at.y += entity.vy * on + entity.offY * left;
    return at;
  }
}
