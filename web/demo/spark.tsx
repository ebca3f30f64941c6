/** A line of the last half minute. */

const [W, H] = [240, 36];

interface Props {
  readonly points: readonly number[];
  /** The name of what the line shows. */
  readonly label: string;
  /** A level to compare with. */
  readonly level?: number | undefined;
  /** The least that the height stands for. */
  readonly least: number;
}

export function Spark({ points, label, level, least }: Props) {
  const most = Math.max(least, level ?? 0, ...points) * 1.08;
  const y = (value: number) => (H - 1 - (value / most) * (H - 3)).toFixed(1);
  const step = W / 119;
  const x = (n: number) => (W - (points.length - 1 - n) * step).toFixed(1);
  const line = points.map((value, n) => `${x(n)},${y(value)}`).join(' ');
  return (
    <svg class="spark" viewBox={`0 0 ${W} ${H}`} preserveAspectRatio="none" role="img" aria-label={label}>
      {level !== undefined && <line class="level" x1="0" x2={W} y1={y(level)} y2={y(level)} />}
      {points.length > 1 && <polygon class="area" points={`${x(0)},${H} ${line} ${W},${H}`} />}
      <polyline points={line} />
    </svg>
  );
}
