import { Ring } from '../lib/ring';
import type { ChartData } from '../ui/chart';
import type { Own } from './own';

/** Samples of the server that are remembered: five minutes at one a second. */
export const SERVER_SAMPLES = 300;

/** A pause longer than this between samples is drawn as a gap. */
const GAP_MS = 5_000;

export interface Sample {
  /** ms since 1970, by the server's clock. */
  at: number;
  own: Own | undefined;
}

export type Pick = (own: Own) => number | null | undefined;

/** Kept while the page lives, so that going to another view and back loses nothing. */
export class ServerSeries {
  readonly #ring = new Ring<Sample>(SERVER_SAMPLES);

  add(own: Own): void {
    const at = own.now ?? Date.now();
    const last = this.#ring.newest()?.at;
    if (last !== undefined && at <= last) {
      // A clock that was set back: begin anew rather than draw a line to the left.
      if (at === last) return;
      this.#ring.clear();
    } else if (last !== undefined && at - last > GAP_MS) {
      this.#ring.push({ at: last + 1, own: undefined });
    }
    this.#ring.push({ at, own });
  }

  data(picks: readonly Pick[]): ChartData {
    const times: number[] = [];
    const lines: (number | null)[][] = picks.map(() => []);
    for (const { at, own } of this.#ring) {
      times.push(at / 1000);
      picks.forEach((pick, i) => lines[i]!.push((own && pick(own)) ?? null));
    }
    return [times, ...lines];
  }
}
