/**
 * The map. Four layers: the ground, two of trails, and what moves. Only the last is drawn for each frame; a trail grows when its entity tells
 * something, and fades as a whole, layer by layer.
 */

import { colours, SPEEDS, type Colours } from './colours';
import type { Entity, Fleet } from './fleet';
import { drawGround, nice, type Streets } from './ground';
import { View, type Projection } from './projection';
import { Sprites } from './sprites';

/** Time that a layer of trails takes to fade. */
const FADE_MS = 12_000;
/** The distance from an entity within which a pointer is on it. */
const NEAR_PX = 18;
/** Pixels of the layer that is drawn for each frame: on a very large screen they are larger. */
const PIXELS_MAX = 4_000_000;
/** Between what is selected, with its name, and what may not lie over it. */
const CLEAR_PX = 30;
const NAME_PX = 110;
const PAN_KEYS: Readonly<Record<string, readonly [dx: number, dy: number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

const layer = () => {
  const canvas = document.createElement('canvas');
  canvas.setAttribute('aria-hidden', 'true');
  return canvas;
};

export class LiveMap {
  readonly view = new View();
  fps = 0;
  selected: string | undefined;
  hovered: string | undefined;
  readonly #ground = layer();
  readonly #trails = [layer(), layer()] as [HTMLCanvasElement, HTMLCanvasElement];
  readonly #movers = layer();
  #ratio = 1;
  #colours: Colours = colours();
  #sprites: Sprites | undefined;
  /** Of the layer of movers: its pixels to one of CSS, and what is copied to it. */
  #moversRatio = 1;
  #picture: ImageData | undefined;
  #pixels = new Uint32Array();
  #fadeBegan = 0;
  #faded = 0;
  #stale = true;
  #frames = 0;
  #counted = performance.now();
  #lastDrawn = 0;

  constructor(
    readonly host: HTMLElement,
    readonly fleet: Fleet,
    readonly projection: Projection,
    readonly streets: Streets | undefined,
    readonly onSelect: (id: string | undefined) => void,
    readonly onHover: (entity: Entity | undefined, x: number, y: number) => void,
    readonly onView: () => void,
  ) {
    host.prepend(this.#ground, ...this.#trails, this.#movers);
    new ResizeObserver(() => this.#resize()).observe(host);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#restyle());
    this.#listen();
    this.#resize();
    requestAnimationFrame((now) => this.#frame(now));
  }

  /** An entity has told where it is. */
  trace(entity: Entity, from: { x: number; y: number } | undefined): void {
    if (!from || this.fleet.still || this.#stale) return;
    const g = this.#trails[0].getContext('2d')!;
    g.strokeStyle = this.#colours.speeds[this.fleet.colour(entity)]!;
    g.beginPath();
    g.moveTo(this.view.x(from.x), this.view.y(from.y));
    g.lineTo(this.view.x(entity.x), this.view.y(entity.y));
    g.stroke();
  }

  select(id: string | undefined): void {
    this.selected = id;
    this.onSelect(id);
  }

  /** Moves the view where a box lies over what is selected; one that `isNew`, also to where it can be seen at all. */
  uncover(box: DOMRect, isNew: boolean): void {
    const place = this.placeOf(this.selected);
    if (!place) return;
    const { left, top, right, bottom } = this.host.getBoundingClientRect();
    const [x, y] = [place.x + left, place.y + top];
    const isSeen = x > left && x < right && y > top && y < bottom;
    const isCovered = x > box.left - NAME_PX && x < box.right && y > box.top - CLEAR_PX && y < box.bottom + CLEAR_PX;
    if (isSeen ? !isCovered : !isNew) return;
    const end = box.left > left && box.left < right && box.top < bottom ? box.left : right;
    this.view.pan((left + end) / 2 - x, isSeen ? 0 : (top + bottom) / 2 - y);
    this.#viewed();
  }

  /** The place at which an entity is drawn, in pixels of the map. */
  placeOf(id: string | undefined): { x: number; y: number } | undefined {
    const entity = id === undefined ? undefined : this.fleet.entities.get(id);
    if (!entity || entity.at === 0) return undefined;
    const at = this.fleet.shown(entity, performance.now());
    return { x: this.view.x(at.x), y: this.view.y(at.y) };
  }

  /** Clears the trails that are drawn. */
  forget(): void {
    this.#stale = true;
  }

  reset(): void {
    this.view.fit(this.projection);
    this.#viewed();
  }

  zoom(by: number, x = this.view.width / 2, y = this.view.height / 2): void {
    this.view.zoom(by, x, y);
    this.#viewed();
  }

  /** The longest round distance that fits into so many pixels. */
  scaleBar(most: number): { metres: number; width: number } {
    const metres = nice(most / this.view.scale);
    return { metres, width: metres * this.view.scale };
  }

  #viewed(): void {
    this.#stale = true;
    this.onView();
  }

  #resize(): void {
    const { clientWidth, clientHeight } = this.host;
    if (clientWidth === 0 || clientHeight === 0) return;
    this.#ratio = Math.min(devicePixelRatio || 1, 2);
    this.#moversRatio = Math.min(this.#ratio, Math.sqrt(PIXELS_MAX / (clientWidth * clientHeight)));
    for (const canvas of [this.#ground, ...this.#trails, this.#movers]) {
      const ratio = canvas === this.#movers ? this.#moversRatio : this.#ratio;
      canvas.width = Math.round(clientWidth * ratio);
      canvas.height = Math.round(clientHeight * ratio);
    }
    this.#picture = new ImageData(this.#movers.width, this.#movers.height);
    this.#pixels = new Uint32Array(this.#picture.data.buffer);
    [this.view.width, this.view.height] = [clientWidth, clientHeight];
    this.view.size = Math.min(Math.max(Math.min(clientWidth, clientHeight * 1.6) / 1300, 1), 2.2);
    if (!this.view.moved) this.view.fit(this.projection);
    this.#sprites = undefined;
    this.#viewed();
  }

  #restyle(): void {
    this.#colours = colours();
    this.#sprites = undefined;
    this.#stale = true;
  }

  /** Everything but what moves. */
  #redraw(): void {
    this.#stale = false;
    const ground = this.#ground.getContext('2d', { alpha: false })!;
    ground.setTransform(this.#ratio, 0, 0, this.#ratio, 0, 0);
    drawGround(ground, this.view, this.projection, this.#colours, this.streets);
    for (const canvas of this.#trails) this.#clearTrails(canvas);
    if (this.fleet.still) return;
    const g = this.#trails[0].getContext('2d')!;
    for (let colour = 0; colour < SPEEDS; colour++) {
      g.strokeStyle = this.#colours.speeds[colour]!;
      g.beginPath();
      for (const entity of this.fleet.entities.values()) {
        if (this.fleet.colour(entity) !== colour) continue;
        const { trail } = entity;
        for (let n = 0; n + 1 < trail.length; n += 2) {
          const [x, y] = [this.view.x(trail[n]!), this.view.y(trail[n + 1]!)];
          if (n === 0) g.moveTo(x, y);
          else g.lineTo(x, y);
        }
      }
      g.stroke();
    }
  }

  #clearTrails(canvas: HTMLCanvasElement): void {
    const g = canvas.getContext('2d')!;
    g.setTransform(1, 0, 0, 1, 0, 0);
    g.clearRect(0, 0, canvas.width, canvas.height);
    g.setTransform(this.#ratio, 0, 0, this.#ratio, 0, 0);
    g.globalAlpha = 0.55;
    g.lineWidth = 1.5 * this.view.size;
    g.lineCap = 'round';
  }

  /** The layer that grows takes the place of the one that has faded. */
  #fade(now: number): void {
    this.#faded = now;
    const passed = (now - this.#fadeBegan) / FADE_MS;
    if (passed >= 1) {
      this.#fadeBegan = now;
      this.#trails.reverse();
      this.#clearTrails(this.#trails[0]);
      this.#trails[0].style.opacity = '1';
    }
    this.#trails[1].style.opacity = Math.max(0, 1 - passed).toFixed(2);
  }

  #frame(now: number): void {
    requestAnimationFrame((next) => this.#frame(next));
    this.#frames++;
    if (now - this.#counted >= 1000) {
      this.fps = (this.#frames * 1000) / (now - this.#counted);
      [this.#frames, this.#counted] = [0, now];
    }
    // Nothing glides: a few times a second is enough.
    if (this.fleet.still && now - this.#lastDrawn < 200 && !this.#stale) return;
    this.#lastDrawn = now;
    if (this.#stale) this.#redraw();
    if (now - this.#faded > 120) this.#fade(now);
    this.#draw(performance.now());
  }

  #draw(now: number): void {
    const { view, fleet } = this;
    // Smaller where they are many, or the map is.
    const room = Math.sqrt((view.width * view.height) / Math.max(fleet.entities.size, 1));
    const size = Math.round(Math.min(Math.max(room / 4, 7), 14 * view.size));
    if (this.#sprites?.size !== size) this.#sprites = new Sprites(size, this.#moversRatio, this.#colours);
    const [sprites, picture, pixels] = [this.#sprites, this.#picture, this.#pixels];
    if (!picture) return;
    pixels.fill(0);
    for (const entity of fleet.entities.values()) {
      if (entity.at === 0) continue;
      const at = fleet.shown(entity, now);
      const [x, y] = [view.x(at.x), view.y(at.y)];
      sprites.copy(pixels, picture.width, picture.height, fleet.colour(entity), entity.heading, x, y);
    }
    const g = this.#movers.getContext('2d', { willReadFrequently: true })!;
    g.putImageData(picture, 0, 0);
    this.#mark(g, this.hovered, now, false);
    this.#mark(g, this.selected, now, true);
  }

  #mark(g: CanvasRenderingContext2D, id: string | undefined, now: number, isSelected: boolean): void {
    const entity = id === undefined ? undefined : this.fleet.entities.get(id);
    if (!entity || entity.at === 0) return;
    const at = this.fleet.shown(entity, now);
    const [x, y] = [this.view.x(at.x), this.view.y(at.y)];
    const { size } = this.view;
    g.save();
    g.scale(this.#moversRatio, this.#moversRatio);
    g.translate(x, y);
    g.scale(size, size);
    g.strokeStyle = isSelected ? this.#colours.accent : this.#colours.ink;
    g.lineWidth = isSelected ? 2.5 : 1.5;
    g.beginPath();
    g.arc(0, 0, isSelected ? 14 : 12, 0, 2 * Math.PI);
    g.stroke();
    if (isSelected) {
      g.font = '600 12px system-ui, sans-serif';
      g.textBaseline = 'middle';
      g.lineWidth = 4;
      g.lineJoin = 'round';
      g.strokeStyle = this.#colours.ground;
      g.strokeText(entity.id, 19, 0);
      g.fillStyle = this.#colours.ink;
      g.fillText(entity.id, 19, 0);
    }
    g.restore();
  }

  /** The nearest entity, if any is near enough; with a direction, the nearest that way. */
  #nearest(x: number, y: number, within: number, towards?: readonly [number, number], not?: string): Entity | undefined {
    let best: Entity | undefined;
    let least = within;
    const now = performance.now();
    for (const entity of this.fleet.entities.values()) {
      if (entity.at === 0 || entity.id === not) continue;
      const at = this.fleet.shown(entity, now);
      const [dx, dy] = [this.view.x(at.x) - x, this.view.y(at.y) - y];
      let far = Math.hypot(dx, dy);
      if (towards) {
        const along = dx * towards[0] + dy * towards[1];
        if (along <= 1) continue;
        far += 3 * Math.abs(dx * towards[1] - dy * towards[0]);
      }
      if (far < least) [best, least] = [entity, far];
    }
    return best;
  }

  #listen(): void {
    const { host } = this;
    let drag: { x: number; y: number; far: number } | undefined;
    const at = (event: MouseEvent): [number, number] => {
      const box = host.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    const isMap = (event: Event) => event.target instanceof HTMLCanvasElement;
    host.addEventListener('pointerdown', (event) => {
      if (!isMap(event) || event.button !== 0) return;
      drag = { x: event.clientX, y: event.clientY, far: 0 };
      host.setPointerCapture(event.pointerId);
    });
    host.addEventListener('pointermove', (event) => {
      if (drag) {
        const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
        drag = { x: event.clientX, y: event.clientY, far: drag.far + Math.abs(dx) + Math.abs(dy) };
        if (drag.far > 4) {
          this.view.pan(dx, dy);
          this.#viewed();
        }
        return;
      }
      const [x, y] = at(event);
      const found = isMap(event) ? this.#nearest(x, y, NEAR_PX) : undefined;
      this.hovered = found?.id;
      this.onHover(found, x, y);
    });
    const leave = () => {
      this.hovered = undefined;
      this.onHover(undefined, 0, 0);
    };
    host.addEventListener('pointerleave', leave);
    host.addEventListener('pointerup', (event) => {
      if (!drag) return;
      const clicked = drag.far <= 4;
      drag = undefined;
      if (!clicked) return;
      const [x, y] = at(event);
      this.select(this.#nearest(x, y, NEAR_PX)?.id);
    });
    host.addEventListener('pointercancel', () => (drag = undefined));
    host.addEventListener(
      'wheel',
      (event) => {
        event.preventDefault();
        this.zoom(1.0015 ** -event.deltaY, ...at(event));
      },
      { passive: false },
    );
    host.addEventListener('keydown', (event) => this.#key(event));
  }

  #key(event: KeyboardEvent): void {
    if (event.target !== this.host || event.ctrlKey || event.metaKey || event.altKey) return;
    const towards = PAN_KEYS[event.key];
    if (towards) {
      const selected = this.selected === undefined ? undefined : this.fleet.entities.get(this.selected);
      const from = selected && { ...this.fleet.shown(selected, performance.now()) };
      const [x, y] = from ? [this.view.x(from.x), this.view.y(from.y)] : [this.view.width / 2, this.view.height / 2];
      const found = this.#nearest(x, y, Infinity, from && towards, selected?.id);
      if (found) this.select(found.id);
    } else if (event.key === 'Escape') this.select(undefined);
    else if (event.key === '+' || event.key === '=') this.zoom(1.4);
    else if (event.key === '-') this.zoom(1 / 1.4);
    else if (event.key === '0') this.reset();
    else return;
    event.preventDefault();
  }
}
