import { nameOf, parent, ROOT, type Path } from '../lib/paths';
import type { Row, Rows } from '../lib/rows';
import type { ListHandle } from '../ui/virtual-list';
import type { Tree } from './tree';

/** The row that keys act on: by name, since rows come and go around it. */
export interface Cursor {
  above: Path;
  key: string;
}

export function cursorAt(row: Row): Cursor {
  return { above: row.branch.path, key: row.key };
}

interface Context {
  tree: Tree;
  rows: Rows;
  /** -1 when the cursor's row is not there. */
  at: number;
  list: ListHandle | null;
  canOpen: (row: Row) => boolean;
  moveTo: (index: number) => void;
  select: (row: Row) => void;
}

/** The keys of ARIA's tree pattern. Answers whether the key meant something. */
export function onTreeKey(key: string, { tree, rows, at, list, canOpen, moveTo, select }: Context): boolean {
  const row = rows.at(at);
  const last = rows.length - 1;
  const go = (index: number) => moveTo(Math.max(0, Math.min(last, index)));
  switch (key) {
    case 'ArrowDown':
      go(at + 1);
      return true;
    case 'ArrowUp':
      go(at - 1);
      return true;
    case 'Home':
      go(0);
      return true;
    case 'End':
      go(last);
      return true;
    case 'PageDown':
      go(at + (list?.page() ?? 10));
      return true;
    case 'PageUp':
      go(at - (list?.page() ?? 10));
      return true;
    case 'Enter':
    case ' ':
      if (row) select(row);
      return true;
    case 'ArrowRight':
      if (!row || !canOpen(row)) return true;
      if (!tree.isExpanded(row.path)) tree.toggle(row.path, true);
      else if (rows.at(at + 1)?.branch.path === row.path) go(at + 1);
      return true;
    case 'ArrowLeft': {
      if (!row) return true;
      if (canOpen(row) && tree.isExpanded(row.path)) {
        tree.toggle(row.path, false);
        return true;
      }
      if (row.branch.path !== '') go(rows.indexOf(row.branch.path === ROOT ? '' : parent(row.branch.path), nameOf(row.branch.path)));
      return true;
    }
    default:
      return false;
  }
}
