import { current } from './resource/current';
import { route } from './state/route';
import { status } from './state/connection';
import { who } from './state/identity';
import type { Tree } from './tree/tree';

/** The answers that tests ask of the page. */
export interface Probe {
  state(): {
    view: string;
    path: string;
    expanded: string[];
    rows: number;
    /** Links of the tree: one of each open node. */
    links: number;
    status: { state: string; synced: boolean; transport: string | undefined };
    /** Who the server says that one is. */
    who: string | undefined;
    history: number;
    value: unknown;
  };
}

declare global {
  interface Window {
    halfpingConsole?: Probe;
  }
}

export function probe(tree: Tree): Probe {
  return {
    state: () => {
      const { state, synced, transport } = status.peek();
      const resource = current.peek();
      return {
        view: route.peek().view,
        path: route.peek().path,
        expanded: [...tree.expanded],
        rows: tree.rows.peek().length,
        links: tree.links,
        status: { state, synced, transport },
        who: who.peek()?.sub,
        history: resource?.history.ring.length ?? 0,
        value: resource?.value,
      };
    },
  };
}
