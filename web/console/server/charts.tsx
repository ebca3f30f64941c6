import { useMemo } from 'preact/hooks';
import { bytes, duration, rate } from '../lib/format';
import { Chart, type Series } from '../ui/chart';
import type { Own } from './own';
import type { Pick, ServerSeries } from './series';

interface Spec {
  name: string;
  lines: readonly (Series & { pick: Pick })[];
  format: (value: number) => string;
}

const SPECS: readonly Spec[] = [
  {
    name: 'Commits a second',
    format: rate,
    lines: [{ name: 'commits', color: '--chart-1', pick: (own) => own.rates?.commits }],
  },
  {
    name: 'Frames a second',
    format: rate,
    lines: [
      { name: 'sent', color: '--chart-1', pick: (own) => own.rates?.frames },
      { name: 'shared', color: '--chart-2', pick: (own) => own.rates?.frames_shared },
      { name: 'conflated', color: '--chart-3', pick: (own) => own.rates?.conflated },
    ],
  },
  {
    name: 'Bytes a second',
    format: bytes,
    lines: [
      { name: 'in', color: '--chart-2', pick: (own) => own.rates?.bytes_in },
      { name: 'out', color: '--chart-1', pick: (own) => own.rates?.bytes_out },
    ],
  },
  {
    name: 'Age of what is sent',
    format: duration,
    lines: [
      { name: 'p50', color: '--chart-1', pick: (own) => own.age_ms?.p50 },
      { name: 'p99', color: '--chart-3', pick: (own) => own.age_ms?.p99 },
    ],
  },
];

export function ServerCharts({ series, sample }: { series: ServerSeries; sample: Own }) {
  return (
    <div class="charts">
      {SPECS.map((spec) => (
        <ServerChart key={spec.name} spec={spec} series={series} sample={sample} />
      ))}
    </div>
  );
}

function ServerChart({ spec, series, sample }: { spec: Spec; series: ServerSeries; sample: Own }) {
  const data = useMemo(() => series.data(spec.lines.map(({ pick }) => pick)), [series, spec, sample]);
  return <Chart name={spec.name} series={spec.lines} data={data} format={spec.format} height={150} fromZero group="server" />;
}
