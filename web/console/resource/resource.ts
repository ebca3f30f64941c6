import { signal } from '@preact/signals';
import type { Change, Shape } from 'halfping';
import { changedParts } from '../lib/changes';
import { Flashes } from '../lib/flash';
import { isObject } from '../lib/json';
import { pointer } from '../lib/lines';
import { namesIn } from '../lib/names';
import type { Path } from '../lib/paths';
import { optionsOf, type Query } from '../lib/query';
import type { Api } from '../state/connection';
import { perFrame } from '../state/frame';
import { problemOf, type Problem } from '../state/problem';
import { History } from './history';

export interface View {
  /** Levels of objects; undefined for all of them. */
  depth: number | undefined;
  /** Updates a second at most; undefined for every one that the connection can take. */
  rate: number | 'auto' | undefined;
}

/** Enough for one thing and its parts, little enough for a root with a great deal in it. */
export const VIEW_DEFAULT: View = { depth: 2, rate: 'auto' };

/** As many as an eye follows. */
const RATE_SMALL = 20;
/** Each change of a large value makes a new one, and a page has other things to do. */
export const RATE_LARGE = 4;
const LARGE_BYTES = 50_000;
/** So many names of one query are looked for. */
const NAMES_MAX = 8;

/** The selected resource: its live value and what happened to it lately. */
export class Resource {
  readonly history = new History();
  readonly flashes = new Flashes();
  /** Goes up, at most once a frame, when there is something new to draw. */
  readonly beat = signal(0);
  readonly problem = signal<Problem | undefined>(undefined);
  /** Names in the query that no member has: they may be misspelt, which is no error. */
  readonly absent = signal<readonly string[]>([]);
  known = false;
  value: unknown;
  /** Of an object: how many members it has. */
  members = 0;
  /** Of a part that has only so many members: how many there would be without that limit. */
  matching: number | undefined;
  /** The order in which the members of the value are shown. */
  order = '';
  rev: string | undefined;
  /** Time of the last change, by this page's clock. */
  changedAt: number | undefined;
  #drawn: unknown;
  #changed = new Set<string>();
  #stop: (() => void) | undefined;
  #stopCount: (() => void) | undefined;
  #sought: readonly string[] = [];
  #closed = false;
  readonly #draw = perFrame(() => {
    if (this.#closed) return;
    this.#flash();
    this.beat.value++;
  });

  constructor(
    private readonly api: Api,
    readonly path: Path,
  ) {}

  watch({ depth, rate }: View, query: Query): void {
    const options = optionsOf(query) as Shape;
    const levels = query.order && depth !== undefined ? Math.max(depth, levelsOf(query.order)) : depth;
    this.#open({ ...options, ...(levels !== undefined && { depth: levels }) }, rate === 'auto' ? RATE_SMALL : rate, rate === 'auto');
    this.#count(options);
    void this.#lookFor(namesIn(query).slice(0, NAMES_MAX));
  }

  async #lookFor(names: readonly string[]): Promise<void> {
    const sought = (this.#sought = names);
    this.absent.value = [];
    if (names.length === 0) return;
    const count = (where: string) => this.api.get(this.path, { where, count: true }).then(({ value }) => value, () => undefined);
    const [all, ...having] = await Promise.all(['', ...names.map((name) => `has(${name})`)].map(count));
    if (all && this.#sought === sought) this.absent.value = names.filter((_, n) => having[n] === 0);
  }

  #count({ where = '', limit }: Shape): void {
    this.#stopCount?.();
    this.matching = this.#stopCount = undefined;
    if (limit === undefined) return;
    const accept = (matching: number | undefined) => {
      this.matching = matching;
      this.#draw();
    };
    // If it is refused, so is the part itself, which says why.
    this.#stopCount = this.api.on(this.path, accept, { where, count: true, rate: RATE_LARGE, onError: () => {} });
  }

  close(): void {
    this.#closed = true;
    this.#stop?.();
    this.#stopCount?.();
  }

  #open(shape: Shape, rate: number | undefined, mayFall: boolean): void {
    this.#stop?.();
    this.#drawn = undefined;
    let first = true;
    const accept = (value: unknown, change: Change) => {
      this.order = shape.order ?? '';
      const large = this.#accept(value, change, first);
      first = false;
      if (mayFall && large) this.#open(shape, RATE_LARGE, false);
    };
    this.#stop = this.api.on(this.path, accept, {
      ...shape,
      ...(rate === undefined ? {} : { rate }),
      onError: (error) => {
        this.problem.value = problemOf(error);
        // Nobody tells of it any more.
        this.known = false;
        this.value = this.rev = this.changedAt = undefined;
        this.#draw();
      },
    });
  }

  /** Answers whether a large value came. */
  #accept(value: unknown, change: Change, first: boolean): boolean {
    const now = Date.now();
    const before = this.value;
    this.value = value;
    this.rev = change.rev;
    this.members = first || !isObject(before) || !isObject(value) ? (isObject(value) ? Object.keys(value).length : 0) : counted(this.members, before, value, change.keys);
    if (first) this.#changed.clear();
    else for (const key of change.keys ?? []) this.#changed.add(key);
    let bytes = 0;
    // The first state of another view of it is not a change.
    if (!first || !this.known) {
      // A first state says when it was made, by the server's clock; a change that is watched happens now.
      this.changedAt = first ? Math.min(now, change.t) : now;
      bytes = this.history.add(change, now);
    }
    this.known = true;
    if (this.problem.peek()) this.problem.value = undefined;
    this.#draw();
    return bytes > LARGE_BYTES;
  }

  /** Marks what differs from what was drawn last; of an object, looking only at the members that were said to have changed. */
  #flash(): void {
    const { value } = this;
    const drawn = this.#drawn;
    this.#drawn = value;
    if (drawn !== undefined) {
      const parts =
        isObject(drawn) && isObject(value)
          ? [...this.#changed].flatMap((key) => changedParts(drawn[key], value[key], pointer('', key)))
          : changedParts(drawn, value, '');
      this.flashes.mark(parts, performance.now());
    }
    this.#changed.clear();
  }
}

/** Levels of objects that have to be read to see what members are ordered by. */
function levelsOf(order: string): number {
  const paths = order.replace(/`(?:[^`]|``)*`/g, '').split(',');
  return 1 + Math.max(...paths.map((path) => path.split('.').length));
}

/** Counting ten thousand members takes longer than looking at the few that changed. */
function counted(members: number, before: object, after: object, changed: readonly string[] = []): number {
  for (const key of changed) members += Number(Object.hasOwn(after, key)) - Number(Object.hasOwn(before, key));
  return members;
}
