/** The fastest of the things that move, live: a view, which the server keeps. Beside these few nothing is sent for it. */

import { signal } from '@preact/signals';
import { type Api, type Shape, sorted } from 'halfping';
import type { Unit } from './place';

const SHOWN = 10;
/** As often as an eye follows. */
const RATE = 2;
/** Members by which people call a thing. */
const LABELS = ['route', 'callsign'];

export interface Row {
  readonly id: string;
  /** What people call it, such as `route 26`. */
  readonly label: string;
  readonly speed: number;
}

/** They, and the view that they are, as the part of a URL behind the path. */
export const fastest = signal<{ readonly rows: readonly Row[]; readonly search: string } | undefined>(undefined);

let stop = () => {};
let asked = '';

/** Follows the fastest of a collection, `like` one of which a value is. `rate`: less often than usual. */
export function follow(api: Api, collection: string, { member }: Unit, like: unknown, rate = RATE): void {
  if (member === undefined) return;
  const label = LABELS.find((name) => typeof (like as Record<string, unknown>)[name] === 'string');
  const view: Shape<false> = { order: `-${member}`, limit: SHOWN, ...(label && { select: label }) };
  const search = Object.entries(view).map(([name, text]) => `${name}=${text}`).join('&');
  if (asked === `${search} ${rate}`) return;
  asked = `${search} ${rate}`;
  const before = stop;
  stop = api.on(
    collection as '/',
    (members) => {
      const rows = sorted(members, view.order).flatMap(([id, value]) =>
        typeof value?.[member] === 'number' ? [{ id, label: label && value[label] ? `${label} ${value[label]}` : '', speed: value[member] as number }] : [],
      );
      fastest.value = { rows, search };
    },
    // Where it is refused, there is none to show.
    { ...view, rate, onError: () => (fastest.value = undefined) },
  );
  before();
}

/** Ends that. */
export function unfollow(): void {
  stop();
  [stop, asked, fastest.value] = [() => {}, '', undefined];
}
