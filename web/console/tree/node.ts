import type { Change } from 'halfping';
import { Flashes } from '../lib/flash';
import { isObject, type JsonObject } from '../lib/json';
import type { Path } from '../lib/paths';
import type { Branch } from '../lib/rows';
import { problemOf, type Problem } from '../state/problem';
import type { Api } from '../state/connection';

/** Faster than this nobody sees; what is in between is conflated by the server, and the newest arrives all the same. */
const RATE_SMALL = 10;
/** Each change of an object of thousands of members makes a new one, and a page has other things to do. */
const RATE_LARGE = 4;
const LARGE_MEMBERS = 2_000;

/** An open node: one link, one level deep. */
export class TreeNode implements Branch {
  value: JsonObject | undefined;
  keys: readonly string[] = [];
  problem: Problem | undefined;
  /** True if its first state is there. */
  known = false;
  readonly open = new Map<string, TreeNode>();
  readonly flashes = new Flashes();
  #stop = () => {};

  constructor(
    private readonly api: Api,
    readonly path: Path,
    readonly level: number,
    private readonly onChange: (members: boolean) => void,
  ) {
    this.#watch(RATE_SMALL);
  }

  #watch(rate: number): void {
    this.#stop();
    const accept = (value: unknown, change: Change) => {
      this.onChange(this.#accept(value, change));
      if (rate > RATE_LARGE && this.keys.length > LARGE_MEMBERS) this.#watch(RATE_LARGE);
    };
    const onError = (error: unknown) => {
      this.problem = problemOf(error);
      this.known = true;
      this.onChange(true);
    };
    this.#stop = this.api.on(this.path, accept, { depth: 1, rate, onError });
  }

  /** Answers whether members came or went: only then are rows laid out anew. */
  #accept(next: unknown, change: Change): boolean {
    const before = this.value;
    const after = isObject(next) ? next : undefined;
    this.value = after;
    this.known = true;
    this.problem = undefined;
    if (!before || !after) {
      this.keys = after ? Object.keys(after) : [];
      return true;
    }
    // The first state of a slower link has no previous one and shares nothing with what is shown: all may have changed, and nothing flashes.
    const first = change.previous === undefined;
    const changed = first ? Object.keys({ ...before, ...after }) : (change.keys ?? []);
    if (!first) this.flashes.mark(changed, performance.now());
    const members = changed.some((key) => Object.hasOwn(before, key) !== Object.hasOwn(after, key));
    if (members) this.keys = Object.keys(after);
    // An object that became a number, or the other way, can be opened or not any more.
    return members || changed.some((key) => isObject(before[key]) !== isObject(after[key]));
  }

  close(): void {
    for (const child of this.open.values()) child.close();
    this.open.clear();
    this.#stop();
  }
}
