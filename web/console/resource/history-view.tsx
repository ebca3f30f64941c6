import { bytes, clockMs, count } from '../lib/format';
import { APPROXIMATE } from '../lib/shown';
import { VirtualList } from '../ui/virtual-list';
import { HISTORY_CHANGES } from './history';
import { HistoryChart } from './history-chart';
import type { Resource } from './resource';

const ENTRY_PX = 22;

/** The changes that arrived, newest first. */
export function HistoryView({ resource }: { resource: Resource }) {
  resource.beat.value;
  const { ring } = resource.history;
  const samples = resource.history.samples();
  return (
    <div class="history">
      {samples && <HistoryChart samples={samples} />}
      <VirtualList
        class="entries code"
        role="group"
        aria-label="History, newest first"
        tabIndex={0}
        count={ring.length}
        rowHeight={ENTRY_PX}
        row={(index) => {
          const entry = ring.at(ring.length - 1 - index)!;
          return (
            <div class="entry" key={entry.number}>
              <span class="number dim">{clockMs(entry.at)}</span>
              <span class={`kind ${entry.kind}`}>{entry.kind}</span>
              <span class="number size">{entry.kind === 'gone' ? '' : bytes(entry.bytes)}</span>
              <span class="body" title={entry.approximate ? `${entry.text}\n${APPROXIMATE}` : entry.text}>
                {entry.text}
              </span>
            </div>
          );
        }}
      />
      <p class="note dim number">
        {count(ring.pushed)} {ring.pushed === 1 ? 'change' : 'changes'} seen
        {ring.pushed > HISTORY_CHANGES ? `, the last ${HISTORY_CHANGES} are kept` : ''}
      </p>
    </div>
  );
}
