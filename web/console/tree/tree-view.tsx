import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { isObject } from '../lib/json';
import { hasUrl, nameOf, parent, ROOT, type Path } from '../lib/paths';
import type { Row } from '../lib/rows';
import { VirtualList, type ListHandle } from '../ui/virtual-list';
import { cursorAt, onTreeKey, type Cursor } from './cursor';
import { TreeNode } from './node';
import type { Tree } from './tree';
import { TreeRow } from './tree-row';

export const TREE_ROW_PX = 26;

interface Props {
  tree: Tree;
  selected: Path;
  onSelect: (path: Path) => void;
}

const cursorOf = (path: Path): Cursor => ({ above: path === ROOT ? '' : parent(path), key: nameOf(path) });

export function TreeView({ tree, selected, onSelect }: Props) {
  const list = useRef<ListHandle>(null);
  const cursor = useSignal<Cursor>(cursorOf(selected));
  const rows = tree.rows.value;
  tree.beat.value;
  const at = rows.indexOf(cursor.value.above, cursor.value.key);
  const now = performance.now();

  // A deep link, or back and forward: its row comes into view as soon as it is there.
  const sought = useRef<Path | undefined>(undefined);
  useEffect(() => {
    cursor.value = cursorOf(selected);
    sought.current = selected;
  }, [selected]);
  useEffect(() => {
    if (sought.current === undefined || at < 0) return;
    sought.current = undefined;
    list.current?.reveal(at);
  });

  const moveTo = (index: number) => {
    const row = rows.at(index);
    if (!row) return;
    cursor.value = cursorAt(row);
    list.current?.reveal(index);
  };
  const select = (row: Row) => {
    cursor.value = cursorAt(row);
    onSelect(row.path);
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const used = onTreeKey(event.key, {
      tree,
      rows,
      at,
      list: list.current,
      canOpen: (row) => isReachable(row) && isObject(valueOf(row)),
      moveTo,
      select,
    });
    if (used) event.preventDefault();
  };

  return (
    <VirtualList
      class="tree"
      role="tree"
      aria-label="Resources"
      tabIndex={0}
      aria-activedescendant={at >= 0 ? `row-${at}` : undefined}
      count={rows.length}
      rowHeight={TREE_ROW_PX}
      handle={list}
      onKeyDown={onKeyDown}
      row={(index) => {
        const row = rows.at(index)!;
        const node = row.branch.open.get(row.key);
        const open = node instanceof TreeNode ? node : undefined;
        return (
          <TreeRow
            key={`${row.branch.path}\u0000${row.key}`}
            id={`row-${index}`}
            row={row}
            value={valueOf(row)}
            expanded={tree.isExpanded(row.path)}
            members={open?.known ? open.keys.length : undefined}
            problem={open?.problem?.detail}
            selected={row.path === selected}
            active={index === at}
            flash={row.branch instanceof TreeNode ? row.branch.flashes.className(row.key, now) : ''}
            onToggle={() => tree.toggle(row.path)}
            onSelect={() => select(row)}
          />
        );
      }}
    />
  );
}

function isReachable(row: Row): boolean {
  return row.branch.path === '' || hasUrl(row.key);
}

/** The root is always an object (PROTOCOL P1). */
function valueOf(row: Row): unknown {
  return row.branch instanceof TreeNode ? row.branch.value?.[row.key] : {};
}
