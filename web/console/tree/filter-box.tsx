import { useEffect, useRef } from 'preact/hooks';
import { count } from '../lib/format';
import type { Tree } from './tree';

/** Finds names among what is open; `/` goes there from anywhere but a text field. */
export function FilterBox({ tree }: { tree: Tree }) {
  const input = useRef<HTMLInputElement>(null);
  const rows = tree.rows.value;

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target instanceof HTMLElement && event.target.closest('input, textarea, select')) return;
      event.preventDefault();
      input.current?.focus();
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, []);

  const toTree = () => document.querySelector<HTMLElement>('[role=tree]')?.focus();
  return (
    <div class="filter">
      <input
        ref={input}
        type="search"
        placeholder="Filter by name"
        title="Finds names in what is open ( / )"
        aria-label="Filter the open rows by name"
        aria-keyshortcuts="/"
        spellcheck={false}
        autocomplete="off"
        value={tree.filter.value}
        onInput={(event) => tree.setFilter(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === 'Escape') {
            tree.setFilter('');
            toTree();
          } else if (event.key === 'ArrowDown' || event.key === 'Enter') {
            event.preventDefault();
            toTree();
          }
        }}
      />
      <span class="dim number" aria-live={tree.filter.value ? 'polite' : 'off'}>
        {/* The root always stays. */}
        {tree.filter.value && rows.total === 1 ? 'nothing matches' : `${count(rows.total)} ${rows.total === 1 ? 'row' : 'rows'}`}
        {rows.total > rows.length && `, ${count(rows.length)} shown: filter to see others`}
      </span>
      <button type="button" onClick={() => tree.collapseAll()} title="Close everything but the root">
        Collapse
      </button>
    </div>
  );
}
