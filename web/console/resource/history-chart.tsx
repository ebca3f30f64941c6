import { now } from '../state/clock';
import { Chart, type Series } from '../ui/chart';

const SERIES: readonly Series[] = [{ name: 'value', color: '--chart-1', stepped: true }];

function format(value: number): string {
  const size = Math.abs(value);
  // Beyond that, digits would be made up, or there would be no room for them.
  const isPlain = size === 0 || (size >= 1e-6 && size < 1e15);
  return value.toLocaleString('en', isPlain ? { maximumSignificantDigits: 15 } : { notation: 'scientific', maximumSignificantDigits: 6 });
}

/** A number over time. Drawn in steps, and up to now: it stays what it is until it changes. */
export function HistoryChart({ samples: [times, values] }: { samples: [number[], (number | null)[]] }) {
  const end = Math.max(now.value / 1000, times.at(-1) ?? 0);
  return <Chart name="Value" series={SERIES} data={[[...times, end], [...values, values.at(-1) ?? null]]} format={format} height={120} />;
}
