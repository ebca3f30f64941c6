import { useSignal } from '@preact/signals';
import { useEffect, useMemo } from 'preact/hooks';
import { hasAddress, type Path } from '../lib/paths';
import { isSame, type Query } from '../lib/query';
import { api } from '../state/connection';
import { ask } from '../state/route';
import { ProblemBox } from '../ui/problem';
import { Tabs } from '../ui/tabs';
import { CopyAs } from './copy-as';
import { Crumbs } from './crumbs';
import { Facts } from './facts';
import { HistoryView } from './history-view';
import { current } from './current';
import { mistakeIn } from './query';
import { QueryBox } from './query-box';
import { Resource, VIEW_DEFAULT, type View } from './resource';
import { Unaddressed } from './unaddressed';
import { ValueView } from './value-view';
import { ViewControls } from './view-controls';
import { WriteBox } from './write-box';

const TABS = [
  { id: 'history', name: 'History' },
  { id: 'write', name: 'Write' },
  { id: 'copy', name: 'Copy as' },
];

interface Props {
  path: Path;
  query: Query;
  onBack: () => void;
}

export function Panel(props: Props) {
  return hasAddress(props.path) ? <ResourcePanel {...props} /> : <Unaddressed {...props} />;
}

function ResourcePanel({ path, query, onBack }: Props) {
  const view = useSignal<View>(VIEW_DEFAULT);
  const tab = useSignal('history');
  const resource = useMemo(() => new Resource(api, path), [path]);
  useEffect(() => {
    current.value = resource;
    return () => resource.close();
  }, [resource]);
  const watch = () => resource.watch(view.value, query);
  useEffect(watch, [resource, view.value, ...Object.values(query)]);
  const problem = resource.problem.value;

  return (
    <section class="panel" aria-label={`Resource ${path}`}>
      <div class="panel-head">
        <button type="button" class="back" onClick={onBack}>
          ← Tree
        </button>
        <Crumbs path={path} />
        <ViewControls view={view.value} onChange={(next) => (view.value = next)} />
      </div>
      <Facts resource={resource} />
      {/* Asked for again, it may be granted now. */}
      <QueryBox key={path} resource={resource} query={query} onAsk={(next) => (isSame(next, query) ? watch() : ask(next))} />
      {!problem && <ValueView resource={resource} depth={view.value.depth} />}
      {problem && !mistakeIn(query, problem) && <ProblemBox problem={problem} />}
      <Tabs label="About the resource" tabs={TABS} open={tab.value} onOpen={(id) => (tab.value = id)}>
        {tab.value === 'history' && <HistoryView resource={resource} />}
        {tab.value === 'write' && <WriteBox key={path} path={path} />}
        {tab.value === 'copy' && <CopyAs resource={resource} query={query} depth={view.value.depth} />}
      </Tabs>
    </section>
  );
}
