/** The map's colours, from the style sheet: they follow the reader's light or dark. */

/** From standing to fast. */
export const SPEEDS = 6;

export interface Colours {
  readonly ground: string;
  readonly block: string;
  readonly park: string;
  readonly water: string;
  readonly line: string;
  readonly ink: string;
  readonly accent: string;
  readonly edge: string;
  readonly speeds: readonly string[];
}

export function colours(): Colours {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string) => style.getPropertyValue(`--map-${name}`).trim();
  return {
    ground: of('ground'),
    block: of('block'),
    park: of('park'),
    water: of('water'),
    line: of('line'),
    ink: of('ink'),
    accent: of('accent'),
    edge: of('edge'),
    speeds: Array.from({ length: SPEEDS }, (_, n) => of(`speed-${n}`)),
  };
}

/** The colour of a speed, when `slow` has the second and `fast` the last; the first is for what stands. */
export function colourOf(speed: number, slow: number, fast: number): number {
  if (!(speed > 0)) return 0;
  const part = fast > slow ? (speed - slow) / (fast - slow) : 0.5;
  return 1 + Math.min(SPEEDS - 2, Math.max(0, Math.floor(part * (SPEEDS - 1))));
}
