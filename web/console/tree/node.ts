import type { Change } from 'halfping';
import { Flashes } from '../lib/flash';
import { isObject, type JsonObject } from '../lib/json';
import type { Path } from '../lib/paths';
import type { Branch } from '../lib/rows';
import { problemOf, type Problem } from '../state/problem';
import type { Api } from '../state/connection';

/** Faster than this nobody sees; what is in between is conflated by the server, and the newest arrives all the same. */
export const TREE_RATE = 10;

/** An open node: one link, one level deep. */
export class TreeNode implements Branch {
  value: JsonObject | undefined;
  keys: readonly string[] = [];
  problem: Problem | undefined;
  /** Whether its first state is there. */
  known = false;
  readonly open = new Map<string, TreeNode>();
  readonly flashes = new Flashes();
  readonly #stop: () => void;

  constructor(
    api: Api,
    readonly path: Path,
    readonly level: number,
    onChange: (members: boolean) => void,
  ) {
    this.#stop = api.on(path, (value, change) => onChange(this.#accept(value, change)), {
      depth: 1,
      rate: TREE_RATE,
      onError: (error) => {
        this.problem = problemOf(error);
        this.known = true;
        onChange(true);
      },
    });
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
    const changed = change.keys ?? [];
    this.flashes.mark(changed, performance.now());
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
