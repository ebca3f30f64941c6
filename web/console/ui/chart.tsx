import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { clock } from '../lib/format';
import { onScheme } from './scheme';

export interface Series {
  name: string;
  /** A custom property of the style sheet. */
  color: string;
  /** Holds its value until the next sample. */
  stepped?: boolean;
}

export type ChartData = [number[], ...(number | null)[][]];

interface Props {
  name: string;
  series: readonly Series[];
  data: ChartData;
  format: (value: number) => string;
  height: number;
  /** Rates are read against nothing, a measured value against its own range. */
  fromZero?: boolean;
  /** Charts with the same group show the same moment under the pointer. */
  group?: string;
}

/** A line chart over time, with a legend that tells the newest values, or those under the pointer. */
export function Chart({ name, series, data, format, height, fromZero = false, group }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(data);
  const [hovered, setHovered] = useState<number | null>(null);
  latest.current = data;

  useLayoutEffect(() => {
    const element = box.current!;
    const build = () => {
      plot.current?.destroy();
      const options = optionsOf(series, format, element.clientWidth || 300, height, fromZero, group, (index) => setHovered(index));
      plot.current = new uPlot(options, latest.current as uPlot.AlignedData, element);
    };
    build();
    const observer = new ResizeObserver(() => {
      if (element.clientWidth > 0) plot.current?.setSize({ width: element.clientWidth, height });
    });
    observer.observe(element);
    // A canvas does not follow the style sheet.
    const stop = onScheme(build);
    return () => {
      stop();
      observer.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [series, format, height, fromZero, group]);

  useEffect(() => plot.current?.setData(data as uPlot.AlignedData), [data]);

  // A line has two ends.
  const isEmpty = data.slice(1).every((values) => values.filter((value) => value !== null).length < 2);
  const at = hovered !== null && hovered < data[0].length ? hovered : data[0].length - 1;
  return (
    <figure class="chart">
      <figcaption>
        <span class="chart-name">{name}</span>
        {series.map(({ name: label, color }, i) => {
          const value = data[i + 1]?.[at];
          return (
            <span class="legend" key={label}>
              <span class="swatch" style={{ background: `var(${color})` }} aria-hidden="true" />
              {label} <span class="number">{value === null || value === undefined ? '–' : format(value)}</span>
            </span>
          );
        })}
      </figcaption>
      {isEmpty && <p class="plot-empty dim">Nothing to show yet: it is drawn from now on.</p>}
      <div ref={box} class="plot" style={{ height: `${height}px` }} aria-hidden="true" />
    </figure>
  );
}

function optionsOf(
  series: readonly Series[],
  format: (value: number) => string,
  width: number,
  height: number,
  fromZero: boolean,
  group: string | undefined,
  onHover: (index: number | null) => void,
): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const color = (name: string) => style.getPropertyValue(name).trim();
  const axis = { stroke: color('--dim'), grid: { stroke: color('--line'), width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
  return {
    width,
    height,
    padding: [6, 18, 0, 0],
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { size: 6 }, ...(group ? { sync: { key: group } } : {}) },
    // Time is labelled by the second, and one of them has to be there.
    scales: { x: { range: (_, low, high) => [Math.min(low, high - SECONDS_MIN), high] }, y: { range: (_, low, high) => rangeOf(low, high, fromZero) } },
    axes: [
      { ...axis, size: 22, space: 76, incrs: WHOLE_SECONDS, values: (_, ticks) => distinct(ticks.map((at) => clock(at * 1000))) },
      { ...axis, size: (_, labels) => widthOf(labels ?? []), space: 28, values: (_, ticks) => distinct(ticks.map(format)) },
    ],
    series: [
      {},
      ...series.map(({ name, color: property, stepped }) => ({
        label: name,
        stroke: color(property),
        width: 1.5,
        points: { show: false },
        ...(stepped ? { paths: uPlot.paths.stepped!({ align: 1 }) } : {}),
      })),
    ],
    hooks: { setCursor: [(chart) => onHover(chart.cursor.idx ?? null)] },
  };
}

/** Between labels of time, which tell whole seconds. */
const WHOLE_SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400];

const SECONDS_MIN = 2;

/** Of labels that are the same, rounded as they are, the first. */
function distinct(labels: string[]): (string | null)[] {
  return labels.map((label, i) => (label === labels[i - 1] ? null : label));
}

/** Of the axis, for its longest label. */
function widthOf(labels: readonly (string | null)[]): number {
  const longest = Math.max(0, ...labels.map((label) => label?.length ?? 0));
  return Math.min(140, Math.max(56, longest * 6.5 + 12));
}

/** A flat line stands in the middle of something, not on a scale of nothing. */
function rangeOf(low: number | null, high: number | null, fromZero: boolean): [number, number] {
  if (low === null || high === null) return [0, 1];
  if (fromZero) return [0, Math.max(high * 1.05, 1)];
  const room = low === high ? Math.abs(low) * 0.1 || 1 : (high - low) * 0.05;
  return [low - room, high + room];
}
