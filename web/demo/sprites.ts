/** Arrows in all colours and directions, drawn once: to copy one costs little. */

import { SPEEDS, type Colours } from './colours';

const DIRECTIONS = 48;

export class Sprites {
  readonly #atlas = document.createElement('canvas');
  readonly #cell: number;

  /** `size`: of an arrow, in CSS pixels; `ratio`: device pixels to one of these. */
  constructor(
    readonly size: number,
    readonly ratio: number,
    colours: Colours,
  ) {
    this.#cell = Math.ceil(size * 1.5 * ratio);
    this.#atlas.width = this.#cell * DIRECTIONS;
    this.#atlas.height = this.#cell * SPEEDS;
    const g = this.#atlas.getContext('2d')!;
    const unit = (size * ratio) / 2;
    for (let colour = 0; colour < SPEEDS; colour++) {
      for (let direction = 0; direction < DIRECTIONS; direction++) {
        g.setTransform(1, 0, 0, 1, (direction + 0.5) * this.#cell, (colour + 0.5) * this.#cell);
        g.rotate((direction / DIRECTIONS) * 2 * Math.PI);
        g.scale(unit, unit);
        g.beginPath();
        g.moveTo(0, -1);
        g.lineTo(0.72, 0.85);
        g.lineTo(0, 0.45);
        g.lineTo(-0.72, 0.85);
        g.closePath();
        g.lineJoin = 'round';
        g.lineWidth = 0.34;
        g.strokeStyle = colours.edge;
        g.stroke();
        g.fillStyle = colours.speeds[colour]!;
        g.fill();
      }
    }
  }

  /** `g` is in device pixels. */
  draw(g: CanvasRenderingContext2D, colour: number, heading: number, x: number, y: number): void {
    const direction = ((Math.round((heading / 360) * DIRECTIONS) % DIRECTIONS) + DIRECTIONS) % DIRECTIONS;
    const cell = this.#cell;
    g.drawImage(this.#atlas, direction * cell, colour * cell, cell, cell, Math.round(x * this.ratio - cell / 2), Math.round(y * this.ratio - cell / 2), cell, cell);
  }
}
