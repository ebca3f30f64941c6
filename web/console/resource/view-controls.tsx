import type { View } from './resource';

const DEPTHS: readonly (number | undefined)[] = [1, 2, 3, 5, undefined];
const RATES: readonly View['rate'][] = ['auto', 1, 5, 20, 60, undefined];

interface Props {
  view: View;
  onChange: (view: View) => void;
}

const parse = (text: string) => (text === 'all' ? undefined : Number(text));

/** The shape of the panel's link: the same `depth` and `rate` that any reader can ask for. */
export function ViewControls({ view, onChange }: Props) {
  return (
    <div class="view-controls">
      <label title="Levels of objects below the resource that are read">
        depth{' '}
        <select value={String(view.depth ?? 'all')} onChange={(event) => onChange({ ...view, depth: parse(event.currentTarget.value) })}>
          {DEPTHS.map((depth) => (
            <option key={String(depth)} value={String(depth ?? 'all')}>
              {depth ?? 'all'}
            </option>
          ))}
        </select>
      </label>
      <label title="Updates a second at most; what is in between is merged. Auto: 20, and 4 for large values">
        rate{' '}
        <select value={String(view.rate ?? 'all')} onChange={(event) => onChange({ ...view, rate: event.currentTarget.value === 'auto' ? 'auto' : parse(event.currentTarget.value) })}>
          {RATES.map((rate) => (
            <option key={String(rate)} value={String(rate ?? 'all')}>
              {rate === undefined ? 'all' : rate === 'auto' ? rate : `${rate}/s`}
            </option>
          ))}
        </select>
      </label>
    </div>
  );
}
