import { bytes, count, duration, percent, rate } from '../lib/format';
import type { SessionRow } from './rates';

export interface Column {
  id: string;
  name: string;
  title?: string;
  numeric: boolean;
  /** Width of its track in the grid. */
  track: string;
  sortBy: (row: SessionRow) => number | string;
  text: (row: SessionRow, now: number) => string;
}

export const COLUMNS: readonly Column[] = [
  { id: 'id', name: 'Session', numeric: false, track: 'minmax(90px, 1fr)', sortBy: ({ id }) => id, text: ({ id }) => id },
  {
    id: 'transport',
    name: 'Transport',
    numeric: false,
    track: '90px',
    sortBy: ({ session }) => session.transport ?? '',
    text: ({ session }) => session.transport ?? '',
  },
  {
    id: 'remote',
    name: 'Remote',
    numeric: false,
    track: 'minmax(130px, 1fr)',
    sortBy: ({ session }) => session.remote ?? '',
    text: ({ session }) => session.remote ?? '–',
  },
  {
    id: 'since',
    name: 'Open for',
    numeric: true,
    track: '100px',
    sortBy: ({ session }) => -(session.since ?? 0),
    text: ({ session }, now) => (session.since === undefined ? '' : duration(Math.max(0, now - session.since))),
  },
  {
    id: 'links',
    name: 'Links',
    numeric: true,
    track: '64px',
    sortBy: ({ session }) => session.links_total ?? 0,
    text: ({ session }) => count(session.links_total ?? 0),
  },
  {
    id: 'age',
    name: 'Age',
    title: 'How old the oldest change is that it was not sent yet',
    numeric: true,
    track: '96px',
    sortBy: ({ session }) => session.age_ms ?? 0,
    text: ({ session }) => (session.behind ? duration(session.age_ms ?? 0) : 'in step'),
  },
  { id: 'frames', name: 'Frames/s', numeric: true, track: '82px', sortBy: (row) => row.framesRate, text: (row) => rate(row.framesRate) },
  {
    id: 'conflation',
    name: 'Conflated',
    title: 'Updates that were merged into a later frame, of all',
    numeric: true,
    track: '86px',
    sortBy: (row) => row.conflation ?? -1,
    text: (row) => (row.conflation === undefined ? '–' : percent(row.conflation)),
  },
  { id: 'rate', name: 'Bytes/s', numeric: true, track: '82px', sortBy: (row) => row.bytesRate, text: (row) => bytes(row.bytesRate) },
  { id: 'bytes', name: 'Bytes', numeric: true, track: '82px', sortBy: ({ session }) => session.bytes ?? 0, text: ({ session }) => bytes(session.bytes ?? 0) },
];

export const TRACKS = `28px ${COLUMNS.map(({ track }) => track).join(' ')}`;

export interface Order {
  column: string;
  down: boolean;
}

/** Equal ones stay in the order of their names, so that rows do not dance. */
export function sorted(rows: readonly SessionRow[], { column, down }: Order): SessionRow[] {
  const by = COLUMNS.find(({ id }) => id === column)?.sortBy ?? (({ id }: SessionRow) => id);
  const compare = (a: number | string, b: number | string) => (typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b), 'en', { numeric: true }));
  return [...rows].sort((a, b) => (down ? compare(by(b), by(a)) : compare(by(a), by(b))) || a.id.localeCompare(b.id, 'en', { numeric: true }));
}
