import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { ROOT } from './lib/paths';
import { isAll } from './lib/query';
import { Panel } from './resource/panel';
import { ServerView } from './server/server-view';
import { SessionsView } from './sessions/sessions-view';
import { route, select } from './state/route';
import { FilterBox } from './tree/filter-box';
import type { Tree } from './tree/tree';
import { TreeView } from './tree/tree-view';
import { Header } from './ui/header';
import { Looking } from './ui/login';
import { StatusHint } from './ui/status';

export function App({ tree }: { tree: Tree }) {
  const { view, path } = route.value;
  useEffect(() => tree.show(view === 'tree'), [view]);
  useEffect(() => tree.reveal(path), [path]);
  useEffect(() => {
    // The title in the list of tabs and in the history of the browser.
    document.title = `${view === 'tree' ? path : view} – Halfping console`;
  }, [view, path]);
  return (
    <>
      <Header />
      <StatusHint />
      <Looking />
      {view === 'tree' && <Browser tree={tree} />}
      {view === 'server' && (
        <main class="page" tabIndex={0}>
          <ServerView />
        </main>
      )}
      {view === 'sessions' && (
        <main class="page">
          <SessionsView />
        </main>
      )}
    </>
  );
}

/** The tree beside the selected resource; on a narrow screen one of the two. */
function Browser({ tree }: { tree: Tree }) {
  const { path, query } = route.value;
  // Whoever comes by a link to a resource wants to see that.
  const front = useSignal<'tree' | 'resource'>(path === ROOT && isAll(query) ? 'tree' : 'resource');
  const before = useRef(path);
  useEffect(() => {
    if (before.current !== path) front.value = 'resource';
    before.current = path;
  }, [path]);
  const turnTo = (next: 'tree' | 'resource') => {
    front.value = next;
    // While both are in sight, the way back is hidden and takes no focus.
    requestAnimationFrame(() => document.querySelector<HTMLElement>(next === 'tree' ? '[role=tree]' : 'button.back')?.focus());
  };
  return (
    <main class={`browser front-${front.value}`}>
      <section class="side" aria-label="Tree">
        <FilterBox tree={tree} />
        <TreeView
          tree={tree}
          selected={path}
          onSelect={(next) => {
            turnTo('resource');
            select(next);
          }}
        />
      </section>
      <Panel path={path} query={query} onBack={() => turnTo('tree')} />
    </main>
  );
}
