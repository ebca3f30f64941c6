import { join, ROOT, type Path } from './paths';

/**
 * The tree as rows. Members of an object are not made into rows one by one: a run of them is one entry, so that laying out costs what is
 * open, not what is in it.
 */
export interface Branch {
  readonly path: Path;
  readonly level: number;
  readonly keys: readonly string[];
  /** The members that are open, by name. */
  readonly open: ReadonlyMap<string, Branch>;
}

export interface Row {
  branch: Branch;
  key: string;
  path: Path;
  level: number;
  /** Place among its siblings that are shown, from 1. */
  position: number;
  siblings: number;
}

/** Browsers give up on elements of some 17 million pixels of height. */
export const ROWS_MAX = 500_000;

interface Run {
  start: number;
  branch: Branch;
  keys: readonly string[];
  from: number;
  count: number;
}

export class Rows {
  readonly length: number;
  /** The number that there would be without the bound. */
  readonly total: number;

  constructor(
    private readonly runs: readonly Run[],
    total: number,
  ) {
    this.total = total;
    this.length = Math.min(total, ROWS_MAX);
  }

  at(index: number): Row | undefined {
    let low = 0;
    let high = this.runs.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const run = this.runs[middle]!;
      if (index < run.start) high = middle - 1;
      else if (index >= run.start + run.count) low = middle + 1;
      else return rowOf(run, run.from + index - run.start);
    }
    return undefined;
  }

  /** -1 when it is not shown. By name, since making ten thousand paths to compare them would take longer than drawing. */
  indexOf(above: Path, key: string): number {
    for (const run of this.runs) {
      if (run.branch.path !== above) continue;
      const at = run.keys.indexOf(key, run.from);
      if (at >= 0 && at < run.from + run.count) return run.start + at - run.from;
    }
    return -1;
  }
}

function rowOf(run: Run, at: number): Row {
  const key = run.keys[at]!;
  return {
    branch: run.branch,
    key,
    path: pathOf(run.branch, key),
    level: run.branch.level + 1,
    position: at + 1,
    siblings: run.keys.length,
  };
}

/** The branch above the root has the empty path, and the root as its one member. */
export function top(root: Branch | undefined): Branch {
  return { path: '', level: 0, keys: [ROOT], open: root ? new Map([[ROOT, root]]) : new Map() };
}

export function pathOf(branch: Branch, key: string): Path {
  return branch.path === '' ? ROOT : join(branch.path, key);
}

export function layOut(above: Branch, filter: string): Rows {
  const wanted = filter.toLowerCase();
  const runs: Run[] = [];
  let rows = 0;

  const put = (branch: Branch, keys: readonly string[], from: number, to: number) => {
    if (to > from) runs.push({ start: rows, branch, keys, from, count: to - from });
    rows += to - from;
  };
  const lay = (branch: Branch, all: boolean) => {
    const keys = all ? branch.keys : shown(branch, wanted);
    let from = 0;
    if (branch.open.size > 0) {
      for (let i = 0; i < keys.length; i++) {
        const open = branch.open.get(keys[i]!);
        if (!open) continue;
        put(branch, keys, from, i + 1);
        from = i + 1;
        // Beneath a name that was looked for, everything is shown: else it would seem to be empty.
        lay(open, all || keys[i]!.toLowerCase().includes(wanted));
      }
    }
    put(branch, keys, from, keys.length);
  };

  lay(above, wanted === '');
  return new Rows(runs, rows);
}

function shown(branch: Branch, wanted: string): readonly string[] {
  if (branch.path === '') return branch.keys;
  return branch.keys.filter((key) => {
    if (key.toLowerCase().includes(wanted)) return true;
    const open = branch.open.get(key);
    return open !== undefined && shown(open, wanted).length > 0;
  });
}

