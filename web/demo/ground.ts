/** What is beneath the moving things: the made-up city's streets, or for the rest of the world a graticule. */

import type { Colours } from './colours';
import type { Projection, View } from './projection';

export interface Streets {
  readonly names: readonly string[];
  readonly latitudes: readonly number[];
  readonly longitudes: readonly number[];
}

const STREET_M = 22;
const FONT = '500 11px system-ui, sans-serif';

export function drawGround(g: CanvasRenderingContext2D, view: View, projection: Projection, colours: Colours, streets: Streets | undefined): void {
  g.fillStyle = colours.ground;
  g.fillRect(0, 0, view.width, view.height);
  g.font = FONT;
  g.textBaseline = 'middle';
  if (streets) drawCity(g, view, projection, colours, streets);
  else drawGraticule(g, view, projection, colours);
}

function drawCity(g: CanvasRenderingContext2D, view: View, projection: Projection, colours: Colours, streets: Streets): void {
  const { west, north } = projection.bounds;
  const xs = streets.longitudes.map((lon) => projection.metres(north, lon)[0]);
  const ys = streets.latitudes.map((lat) => projection.metres(lat, west)[1]);
  const half = STREET_M / 2;
  // One row and column of blocks more on each side: a city has no edge.
  const around = (lines: number[]) => {
    const step = lines[1]! - lines[0]!;
    return [lines[0]! - step, ...lines, lines.at(-1)! + step];
  };
  const [columns, rows] = [around(xs), around(ys)];
  for (let c = 0; c + 1 < columns.length; c++) {
    for (let r = 0; r + 1 < rows.length; r++) {
      const isOuter = c === 0 || r === 0 || c + 2 === columns.length || r + 2 === rows.length;
      const [x, y] = [columns[c]! + half, Math.min(rows[r]!, rows[r + 1]!) + half];
      const [w, h] = [columns[c + 1]! - columns[c]! - STREET_M, Math.abs(rows[r + 1]! - rows[r]!) - STREET_M];
      const chance = hash(c, r);
      g.globalAlpha = isOuter ? 0.45 : 1;
      g.fillStyle = chance < 0.07 ? colours.park : chance > 0.985 ? colours.water : colours.block;
      g.beginPath();
      g.roundRect(view.x(x), view.y(y), w * view.scale, h * view.scale, Math.min(14 * view.scale, 10));
      g.fill();
    }
  }
  g.globalAlpha = 1;
  // Names where there is room for them.
  const apart = Math.abs(ys[1]! - ys[0]!) * view.scale;
  if (apart < 16) return;
  g.fillStyle = colours.ink;
  g.globalAlpha = 0.55;
  g.textAlign = 'left';
  const left = Math.max(6, view.x(xs[0]! - 150));
  streets.names.forEach((name, n) => g.fillText(name, left, view.y(ys[n] ?? 0)));
  g.textAlign = 'center';
  const top = Math.max(12, view.y(Math.min(...ys) - 60));
  xs.forEach((x, n) => n % 2 === 0 && g.fillText(String(n + 1), view.x(x), top));
  g.globalAlpha = 1;
}

function drawGraticule(g: CanvasRenderingContext2D, view: View, projection: Projection, colours: Colours): void {
  const [north, west] = projection.degrees(view.left, view.top);
  const [south, east] = projection.degrees(view.left + view.width / view.scale, view.top + view.height / view.scale);
  const step = nice(Math.max(north - south, east - west) / 6);
  const digits = step < 0.1 ? 2 : step < 1 ? 1 : 0;
  g.lineWidth = 1;
  g.strokeStyle = colours.line;
  g.fillStyle = colours.ink;
  g.beginPath();
  const label = (degrees: number, signs: string) => `${Math.abs(degrees).toFixed(digits)}° ${signs[degrees < 0 ? 1 : 0]}`;
  const texts: [string, number, number][] = [];
  for (let lat = Math.ceil(south / step) * step; lat < north; lat += step) {
    const y = Math.round(view.y(projection.metres(lat, west)[1])) + 0.5;
    g.moveTo(0, y);
    g.lineTo(view.width, y);
    texts.push([label(lat, 'NS'), 8, y - 8]);
  }
  for (let lon = Math.ceil(west / step) * step; lon < east; lon += step) {
    const x = Math.round(view.x(projection.metres(north, lon)[0])) + 0.5;
    g.moveTo(x, 0);
    g.lineTo(x, view.height);
    texts.push([label(lon, 'EW'), x + 5, 12]);
  }
  g.stroke();
  g.textAlign = 'left';
  g.globalAlpha = 0.6;
  for (const text of texts) g.fillText(...text);
  g.globalAlpha = 1;
}

/** 1, 2 or 5 times a power of ten, not above `most`. */
export function nice(most: number): number {
  const power = 10 ** Math.floor(Math.log10(most));
  return [5, 2, 1].map((n) => n * power).find((step) => step <= most) ?? power;
}

/** A number in 0..1 that looks like chance and is always the same. */
function hash(a: number, b: number): number {
  const n = Math.sin(a * 127.1 + b * 311.7) * 43758.5453;
  return n - Math.floor(n);
}
