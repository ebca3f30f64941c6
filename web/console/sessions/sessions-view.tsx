import { useSignal } from '@preact/signals';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { count } from '../lib/format';
import { Absent } from '../server/absent';
import { useFollowed } from '../server/follow';
import { OWN, type OwnLink, type OwnSession } from '../server/own';
import { api } from '../state/connection';
import { now } from '../state/clock';
import { VirtualList } from '../ui/virtual-list';
import { sorted, TRACKS, type Order } from './columns';
import { OpenSessions } from './links';
import { SessionRates, type SessionRow } from './rates';
import { HeadRow, LinkRow, NoteRow, Row } from './rows';

const ROW_PX = 28;

type Item = { row: SessionRow } | { session: string; link: [string, OwnLink] } | { session: string; note: string };

export function SessionsView() {
  const followed = useFollowed<Record<string, OwnSession>>(`${OWN}/sessions`, 2).value;
  const order = useSignal<Order>({ column: 'bytes', down: true });
  const rates = useRef(new SessionRates());
  const opened = useMemo(() => new OpenSessions(api), []);
  useEffect(() => () => opened.close(), [opened]);

  const sessions = followed.state === 'here' ? followed.value : undefined;
  const t = followed.state === 'here' ? followed.t : 0;
  const rows = useMemo(() => (sessions ? rates.current.update(sessions, t) : []), [sessions, t]);
  const ordered = useMemo(() => sorted(rows, order.value), [rows, order.value]);
  const beat = opened.beat.value;
  const items = useMemo(() => itemsOf(ordered, opened), [ordered, opened, beat]);

  if (followed.state !== 'here') return <Absent followed={followed} />;
  const time = now.value;
  const behind = rows.filter(({ session }) => session.behind).length;
  return (
    <div class="sessions">
      <p class="note dim number">
        {count(rows.length)} {rows.length === 1 ? 'session' : 'sessions'}, {count(behind)} behind
      </p>
      <div class="grid" role="table" aria-label="Sessions" aria-rowcount={items.length + 1} style={{ '--tracks': TRACKS }}>
        <div class="grid-body">
          <HeadRow order={order.value} onOrder={(next) => (order.value = next)} />
          <VirtualList
            class="grid-rows"
            role="rowgroup"
            tabIndex={0}
            count={items.length}
            rowHeight={ROW_PX}
            row={(index) => {
              const item = items[index]!;
              if ('row' in item) {
                return <Row key={item.row.id} index={index} row={item.row} now={time} open={opened.has(item.row.id)} onToggle={() => opened.toggle(item.row.id)} />;
              }
              if ('link' in item) return <LinkRow key={`${item.session}/${item.link[0]}`} index={index} id={item.link[0]} link={item.link[1]} />;
              return <NoteRow key={`${item.session} note`} index={index} text={item.note} />;
            }}
          />
        </div>
      </div>
    </div>
  );
}

function itemsOf(rows: readonly SessionRow[], opened: OpenSessions): Item[] {
  const items: Item[] = [];
  for (const row of rows) {
    items.push({ row });
    if (!opened.has(row.id)) continue;
    const links = opened.links(row.id);
    if (!links) items.push({ session: row.id, note: 'Waiting for its links' });
    else {
      for (const link of links) items.push({ session: row.id, link });
      const more = (row.session.links_total ?? 0) - links.length;
      if (more > 0 || links.length === 0) items.push({ session: row.id, note: more > 0 ? `and ${count(more)} more links that the server does not list` : 'No links' });
    }
  }
  return items;
}
