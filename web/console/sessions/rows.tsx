import { canonical } from '../lib/paths';
import { NAMES, readView } from '../lib/query';
import type { OwnLink } from '../server/own';
import { hrefOf } from '../state/route';
import { COLUMNS, type Order } from './columns';
import type { SessionRow } from './rates';

export function HeadRow({ order, onOrder }: { order: Order; onOrder: (order: Order) => void }) {
  return (
    <div class="grid-row head" role="row" aria-rowindex={1}>
      <span role="columnheader">
        <span class="off-screen">Open</span>
      </span>
      {COLUMNS.map(({ id, name, title, numeric }) => {
        const on = order.column === id;
        return (
          <span key={id} role="columnheader" class={numeric ? 'number' : ''} aria-sort={on ? (order.down ? 'descending' : 'ascending') : undefined}>
            <button type="button" title={title} onClick={() => onOrder({ column: id, down: on ? !order.down : numeric })}>
              {on && numeric && <Arrow down={order.down} />}
              {name}
              {on && !numeric && <Arrow down={order.down} />}
            </button>
          </span>
        );
      })}
    </div>
  );
}

/** On the side that leaves the name above its column's edge. */
function Arrow({ down }: { down: boolean }) {
  return (
    <span class="sort" aria-hidden="true">
      {down ? '▾' : '▴'}
    </span>
  );
}

interface RowProps {
  index: number;
  row: SessionRow;
  now: number;
  open: boolean;
  onToggle: () => void;
}

export function Row({ index, row, now, open, onToggle }: RowProps) {
  return (
    <div class={`grid-row ${row.session.behind ? 'behind' : ''}`} role="row" aria-rowindex={index + 2}>
      <span role="cell">
        <button type="button" class={`caret ${open ? 'down' : 'right'}`} aria-expanded={open} aria-label={`Links of session ${row.id}`} onClick={onToggle} />
      </span>
      {COLUMNS.map(({ id, numeric, text }) => {
        const shown = text(row, now);
        return (
          <span key={id} role="cell" class={numeric ? 'number' : id === 'transport' ? '' : 'mono'} title={numeric ? undefined : shown}>
            {shown}
          </span>
        );
      })}
    </div>
  );
}

export function LinkRow({ index, id, link }: { index: number; id: string; link: OwnLink }) {
  const query = readView(link.view);
  const shape = [
    ...NAMES.map((name) => query[name] && `${name} ${query[name]}`),
    /^count(&|$)/.test(link.view ?? '') && 'count',
    link.depth !== undefined && `depth ${link.depth}`,
    link.rate !== undefined && `rate ${link.rate}/s`,
    link.priority !== undefined && link.priority !== 0 && `priority ${link.priority}`,
  ].filter(Boolean);
  return (
    <div class="grid-row sub" role="row" aria-rowindex={index + 2}>
      <span role="cell" class="sub-cell">
        <span class="dim number">{id}</span>
        {link.path === undefined ? '' : <a href={hrefOf(canonical(link.path), query)}>{link.path}</a>}
        <span class="dim shape" title={shape.join(', ')}>
          {shape.join(', ')}
        </span>
        {link.behind && <span class="warn">behind</span>}
      </span>
    </div>
  );
}

export function NoteRow({ index, text }: { index: number; text: string }) {
  return (
    <div class="grid-row sub" role="row" aria-rowindex={index + 2}>
      <span role="cell" class="sub-cell dim">
        {text}
      </span>
    </div>
  );
}
