/**
 * Arrows in all colours and directions, drawn once, and from then on copied pixel by pixel into a picture of the whole map. For thousands of
 * small things that costs a tenth of what `drawImage` does where no graphics processor helps.
 */

import { SPEEDS, type Colours } from './colours';

const DIRECTIONS = 48;
/** Pixels are read as numbers whose highest byte is how opaque they are: so it is on every machine that browsers run on. */
const OPAQUE = 0xff;

export class Sprites {
  readonly #cell: number;
  readonly #pixels: Uint32Array;

  /** `size`: of an arrow, in CSS pixels; `ratio`: pixels of the picture to one of these. */
  constructor(
    readonly size: number,
    readonly ratio: number,
    colours: Colours,
  ) {
    const cell = (this.#cell = Math.ceil(size * 1.5 * ratio));
    const atlas = new OffscreenCanvas(cell, cell * DIRECTIONS * SPEEDS);
    const g = atlas.getContext('2d', { willReadFrequently: true })!;
    const unit = (size * ratio) / 2;
    for (let colour = 0; colour < SPEEDS; colour++) {
      for (let direction = 0; direction < DIRECTIONS; direction++) {
        g.setTransform(1, 0, 0, 1, cell / 2, (colour * DIRECTIONS + direction + 0.5) * cell);
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
    this.#pixels = new Uint32Array(g.getImageData(0, 0, atlas.width, atlas.height).data.buffer);
  }

  /** Into a picture of `width` by `height`; `x` and `y` are the arrow's middle, in CSS pixels. */
  copy(into: Uint32Array, width: number, height: number, colour: number, heading: number, x: number, y: number): void {
    const direction = ((Math.round((heading / 360) * DIRECTIONS) % DIRECTIONS) + DIRECTIONS) % DIRECTIONS;
    const [cell, pixels] = [this.#cell, this.#pixels];
    const left = Math.round(x * this.ratio - cell / 2);
    const top = Math.round(y * this.ratio - cell / 2);
    if (left < 0 || top < 0 || left + cell > width || top + cell > height) return;
    let from = (colour * DIRECTIONS + direction) * cell * cell;
    for (let row = 0; row < cell; row++) {
      let to = (top + row) * width + left;
      for (let column = 0; column < cell; column++, to++, from++) {
        const pixel = pixels[from]!;
        const alpha = pixel >>> 24;
        // A thing that is half there gives way only to one that is more there.
        if (alpha === OPAQUE || alpha > into[to]! >>> 24) into[to] = pixel;
      }
    }
  }
}
