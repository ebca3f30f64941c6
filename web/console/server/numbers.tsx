import { bytes, count, duration, percent, rate } from '../lib/format';
import type { Counters, Own } from './own';

type Entry = [name: string, text: string | undefined];

const num = (value: number | undefined) => (value === undefined ? undefined : count(value));
const size = (value: number | undefined) => (value === undefined ? undefined : bytes(value));

/** The server's build and contents in numbers, beside the charts of what it does. */
export function ServerNumbers({ own }: { own: Own }) {
  const { storage, counts, tree } = own;
  const up = own.now !== undefined && own.started !== undefined ? duration(own.now - own.started) : undefined;
  return (
    <div class="cards">
      <Card
        title="Server"
        entries={[
          ['status', own.status],
          ['version', own.version],
          ['up', up],
          ['epoch', own.epoch],
          ['revision', num(own.revision)],
          ['memory', size(own.memory_bytes)],
        ]}
      />
      <Card title="Storage" entries={Object.entries(storage ?? {}).map(([name, value]): Entry => [name.replaceAll('_', ' '), shown(name, value)])} bad={storage?.status === 'failed'} />
      <Card
        title="Holds"
        entries={[
          ['connections', num(counts?.connections)],
          ['sessions', num(counts?.sessions)],
          ['links', num(counts?.links)],
          ['places watched', num(counts?.places)],
          ['bytes of the tree', size(tree?.bytes)],
          ['names', num(tree?.names)],
          ['tombstones', num(tree?.tombstones)],
        ]}
      />
      <Totals totals={own.totals ?? {}} rates={own.rates ?? {}} />
    </div>
  );
}

function shown(name: string, value: unknown): string {
  if (typeof value === 'number') return name.endsWith('bytes') ? bytes(value) : count(value);
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function Card({ title, entries, bad }: { title: string; entries: readonly Entry[]; bad?: boolean }) {
  return (
    <section class={`card ${bad ? 'bad' : ''}`}>
      <h2>{title}</h2>
      <dl>
        {entries.map(
          ([name, text]) =>
            text !== undefined && (
              <div key={name}>
                <dt>{name}</dt>
                <dd class="number">{text}</dd>
              </div>
            ),
        )}
      </dl>
    </section>
  );
}

const COUNTERS: readonly (keyof Counters)[] = ['requests', 'commands', 'commits', 'frames', 'frames_shared', 'conflated', 'bytes_in', 'bytes_out'];

function Totals({ totals, rates }: { totals: Counters; rates: Counters }) {
  const made = (totals.frames ?? 0) + (totals.conflated ?? 0);
  return (
    <section class="card">
      <h2>Totals</h2>
      <table>
        <thead>
          <tr>
            <th scope="col">
              <span class="off-screen">What</span>
            </th>
            <th scope="col" class="number">
              since start
            </th>
            <th scope="col" class="number">
              per second
            </th>
          </tr>
        </thead>
        <tbody>
          {COUNTERS.map((name) => {
            const inBytes = name.startsWith('bytes');
            const [total, now] = [totals[name], rates[name]];
            return (
              total !== undefined && (
                <tr key={name}>
                  <th scope="row">{name.replaceAll('_', ' ')}</th>
                  <td class="number">{inBytes ? bytes(total) : count(total)}</td>
                  <td class="number">{now === undefined ? '' : inBytes ? bytes(now) : rate(now)}</td>
                </tr>
              )
            );
          })}
        </tbody>
      </table>
      {made > 0 && <p class="note dim">{percent((totals.conflated ?? 0) / made)} of all updates were merged into a later frame.</p>}
    </section>
  );
}
