/** The ground beneath the moving things: the made-up city's streets, or for the rest of the world a graticule. */

import type { Colours } from './colours';
import type { Projection, View } from './projection';

export interface Streets {
  readonly names: readonly string[];
  readonly latitudes: readonly number[];
  readonly longitudes: readonly number[];
}

const STREET_M = 22;
const FONT_PX = 11;

export function drawGround(g: CanvasRenderingContext2D, view: View, projection: Projection, colours: Colours, streets: Streets | undefined): void {
  g.fillStyle = colours.ground;
  g.fillRect(0, 0, view.width, view.height);
  g.font = `500 ${FONT_PX * view.size}px system-ui, sans-serif`;
  g.textBaseline = 'middle';
  if (streets) drawCity(g, view, projection, colours, streets);
  else drawGraticule(g, view, projection, colours);
}

function drawCity(g: CanvasRenderingContext2D, view: View, projection: Projection, colours: Colours, streets: Streets): void {
  const { west, north } = projection.bounds;
  const xs = streets.longitudes.map((lon) => projection.metres(north, lon)[0]);
  const ys = streets.latitudes.map((lat) => projection.metres(lat, west)[1]);
  const half = STREET_M / 2;
  const [blockX, blockY] = [xs[1]! - xs[0]!, Math.abs(ys[1]! - ys[0]!)];
  const [x0, y0] = [xs[0]!, Math.min(...ys)];
  // The city goes on for as far as one can see; vehicles drive in its middle only.
  const range = (from: number, size: number, origin: number, step: number): [number, number] => [
    Math.floor((from - origin) / step),
    Math.ceil((from + size / view.scale - origin) / step),
  ];
  const [west0, east0] = range(view.left, view.width, x0, blockX);
  const [north0, south0] = range(view.top, view.height, y0, blockY);
  for (let c = west0; c < east0; c++) {
    for (let r = north0; r < south0; r++) {
      const isOuter = c < 0 || r < 0 || c >= xs.length - 1 || r >= ys.length - 1;
      const chance = hash(c, r);
      g.globalAlpha = isOuter ? 0.4 : 1;
      g.fillStyle = chance < 0.07 ? colours.park : chance > 0.985 ? colours.water : colours.block;
      g.beginPath();
      const [x, y] = [view.x(x0 + c * blockX + half), view.y(y0 + r * blockY + half)];
      g.roundRect(x, y, (blockX - STREET_M) * view.scale, (blockY - STREET_M) * view.scale, Math.min(14 * view.scale, 10));
      g.fill();
    }
  }
  g.globalAlpha = 1;
  // Names where there is room for them.
  if (blockY * view.scale < 16 * view.size) return;
  g.fillStyle = colours.ink;
  g.globalAlpha = 0.55;
  g.textAlign = 'left';
  const left = Math.max(6, view.x(x0) - 66 * view.size);
  streets.names.forEach((name, n) => g.fillText(name, left, view.y(ys[n] ?? 0)));
  g.textAlign = 'center';
  const top = Math.max(12, view.y(y0) - 22 * view.size);
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
    texts.push([label(lat, 'NS'), 8, y - 8 * view.size]);
  }
  for (let lon = Math.ceil(west / step) * step; lon < east; lon += step) {
    const x = Math.round(view.x(projection.metres(north, lon)[0])) + 0.5;
    g.moveTo(x, 0);
    g.lineTo(x, view.height);
    texts.push([label(lon, 'EW'), x + 5, 12 * view.size]);
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
