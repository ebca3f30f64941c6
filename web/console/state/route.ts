import { signal } from '@preact/signals';
import { canonical, ROOT, type Path } from '../lib/paths';
import { ALL, isSame, readSearch, searchOf, type Query } from '../lib/query';

export type View = 'tree' | 'server' | 'sessions';

export interface Route {
  view: View;
  /** The path that is selected in the tree; kept while another view is open. */
  path: Path;
  /** The part of it that is shown. */
  query: Query;
}

/** `#/a/b` is a resource, `#/a/b?where=…` a part of it; `#server` and `#sessions` cannot be one, for want of the slash. */
export function readHash(hash: string, before: Omit<Route, 'view'>): Route {
  const text = hash.replace(/^#/, '');
  if (text === 'server' || text === 'sessions') return { ...before, view: text };
  const end = text.indexOf('?');
  const [path, query] = end < 0 ? [text, ALL] : [text.slice(0, end), readSearch(text.slice(end))];
  return path.startsWith('/') ? { view: 'tree', path: canonical(path), query } : { view: 'tree', path: ROOT, query: ALL };
}

export const route = signal<Route>(readHash(location.hash, { path: ROOT, query: ALL }));

function follow(): void {
  const before = route.peek();
  const next = readHash(location.hash, before);
  if (next.view !== before.view || next.path !== before.path || !isSame(next.query, before.query)) route.value = next;
}

addEventListener('hashchange', follow);

/** Goes there at once. The event comes later, when somebody may have typed on. */
function go(href: string): void {
  location.hash = href;
  follow();
}

export function hrefOf(path: Path, query: Query = ALL): string {
  return `#${path}${searchOf(query)}`;
}

export function select(path: Path): void {
  if (route.peek().view === 'tree' && route.peek().path === path) return;
  go(hrefOf(path));
}

/** Asks for another part of what is selected. */
export function ask(query: Query): void {
  go(hrefOf(route.peek().path, query));
}
