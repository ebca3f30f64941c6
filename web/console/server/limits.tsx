import { bytes, count, duration, percent } from '../lib/format';
import type { Own } from './own';

/** The part of each limit that is in use, where the server tells. The others hold for one request, connection or object each. */
const USED: Record<string, (own: Own) => number | undefined> = {
  connections: (own) => own.counts?.connections,
  tree_bytes: (own) => own.tree?.bytes,
  tombstones: (own) => own.tree?.tombstones,
};

/** From here on somebody should know. */
const HIGH = 0.8;

export function Limits({ own }: { own: Own }) {
  const limits = Object.entries(own.limits ?? {});
  if (limits.length === 0) return null;
  // Those that fill up first.
  limits.sort(([a], [b]) => Number(b in USED) - Number(a in USED));
  return (
    <section class="card wide">
      <h2>Limits</h2>
      <table class="limits">
        <thead>
          <tr>
            <th scope="col">Setting</th>
            <th scope="col" class="number">
              At most
            </th>
            <th scope="col" class="number">
              Now
            </th>
            <th scope="col">Used</th>
          </tr>
        </thead>
        <tbody>
          {limits.map(([name, max]) => (
            <LimitRow key={name} name={name} max={max} used={USED[name]?.(own)} />
          ))}
        </tbody>
      </table>
    </section>
  );
}

function LimitRow({ name, max, used }: { name: string; max: number; used: number | undefined }) {
  const part = used === undefined || !max ? undefined : used / max;
  return (
    <tr>
      <th scope="row" class="mono">
        {name}
      </th>
      <td class="number">{amount(name, max)}</td>
      <td class="number">{used === undefined ? '' : amount(name, used)}</td>
      <td>
        {part !== undefined && (
          <span class="usage">
            <meter class={part >= HIGH ? 'high' : ''} min={0} max={1} value={part} aria-label={`${name} in use`} />
            <span class="number">{percent(part)}</span>
          </span>
        )}
      </td>
    </tr>
  );
}

/** Settings tell their unit by their names. */
function amount(name: string, value: number): string {
  if (name.endsWith('_bytes')) return bytes(value);
  if (name.endsWith('_ms')) return duration(value);
  if (name.endsWith('_seconds')) return duration(value * 1000);
  return count(value);
}
