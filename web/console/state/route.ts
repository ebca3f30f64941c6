import { signal } from '@preact/signals';
import { canonical, ROOT, type Path } from '../lib/paths';

export type View = 'tree' | 'server' | 'sessions';

export interface Route {
  view: View;
  /** What is selected in the tree; kept while another view is open. */
  path: Path;
}

/** `#/a/b` is a resource; `#server` and `#sessions` cannot be one, for want of the slash. */
export function readHash(hash: string, before: Path): Route {
  const text = hash.replace(/^#/, '');
  if (text === 'server' || text === 'sessions') return { view: text, path: before };
  return { view: 'tree', path: text.startsWith('/') ? canonical(text) : ROOT };
}

export const route = signal<Route>(readHash(location.hash, ROOT));

addEventListener('hashchange', () => {
  const next = readHash(location.hash, route.peek().path);
  const { view, path } = route.peek();
  if (next.view !== view || next.path !== path) route.value = next;
});

export function hrefOf(path: Path): string {
  return `#${path}`;
}

export function select(path: Path): void {
  if (route.peek().view === 'tree' && route.peek().path === path) return;
  location.hash = hrefOf(path);
}
