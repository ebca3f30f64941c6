/** The map's plane: metres east and south of its north-west corner; and the part of it that is on screen. */

export interface Bounds {
  readonly south: number;
  readonly west: number;
  readonly north: number;
  readonly east: number;
}

const METRES_PER_DEGREE = 111_320;

export class Projection {
  readonly #perDegreeEast: number;

  constructor(readonly bounds: Bounds) {
    const middle = ((bounds.south + bounds.north) / 2) * (Math.PI / 180);
    this.#perDegreeEast = METRES_PER_DEGREE * Math.cos(middle);
  }

  metres(lat: number, lon: number): [x: number, y: number] {
    return [(lon - this.bounds.west) * this.#perDegreeEast, (this.bounds.north - lat) * METRES_PER_DEGREE];
  }

  degrees(x: number, y: number): [lat: number, lon: number] {
    return [this.bounds.north - y / METRES_PER_DEGREE, this.bounds.west + x / this.#perDegreeEast];
  }

  get width(): number {
    return (this.bounds.east - this.bounds.west) * this.#perDegreeEast;
  }

  get height(): number {
    return (this.bounds.north - this.bounds.south) * METRES_PER_DEGREE;
  }
}

/** The part that is on screen, in CSS pixels. */
export class View {
  scale = 1;
  left = 0;
  top = 0;
  width = 1;
  height = 1;
  /** By how much everything is larger on a large screen. */
  size = 1;
  /** True if somebody has moved it. */
  moved = false;
  #least = 0;

  fit(projection: Projection): void {
    const [w, h] = [Math.max(projection.width, 100), Math.max(projection.height, 100)];
    // Room for names and legends around it, where there is room at all.
    const margin = this.width < 600 ? 14 : 72 * this.size;
    this.scale = Math.max(Math.min((this.width - 2 * margin) / w, (this.height - 2 * margin) / h), 1e-6);
    this.#least = this.scale / 2;
    this.left = (w - this.width / this.scale) / 2;
    this.top = (h - this.height / this.scale) / 2;
    this.moved = false;
  }

  x(x: number): number {
    return (x - this.left) * this.scale;
  }

  y(y: number): number {
    return (y - this.top) * this.scale;
  }

  /** About a point on screen. */
  zoom(by: number, x: number, y: number): void {
    const scale = Math.min(Math.max(this.scale * by, this.#least), this.#least * 128);
    this.left += x / this.scale - x / scale;
    this.top += y / this.scale - y / scale;
    this.scale = scale;
    this.moved = true;
  }

  pan(dx: number, dy: number): void {
    this.left -= dx / this.scale;
    this.top -= dy / this.scale;
    this.moved = true;
  }
}
