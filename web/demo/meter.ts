/** The cost of the page and the age of what it shows; and both if it polled. */

export const SAMPLE_MS = 250;
/** Points of a sparkline. */
const POINTS = 120;
/** The answer to a `GET` has a head as well, and its request. */
const HEADS_BYTES = 400;
/** Time between two polls that are tried for their size. */
const POLL_TRIED_EVERY_MS = 20_000;

export interface Totals {
  readonly at: number;
  readonly updates: number;
  readonly bytes: number;
}

export class Meter {
  /** Rates are over so long. */
  window_ms = 3000;
  updates_per_s = 0;
  bytes_per_s = 0;
  /** From commit to this page, of the changes of the last few seconds. */
  delay_ms: number | undefined;
  /** The age of what is shown, on average over the same time. */
  shown_ms: number | undefined;
  /** The bytes of one poll; undefined until one was tried. */
  poll_bytes: number | undefined;
  readonly ages: number[] = [];
  readonly bytes: number[] = [];
  #samples: Totals[] = [];
  #delays: { at: number; ms: number }[] = [];
  #late: { at: number; ms: number }[] = [];
  /** By how much the server's clock is ahead of ours, as far as it shows. */
  #ahead = 0;
  #polledAt = -Infinity;
  #polledCount = 0;

  /** The time by the server's clock, as far as is known. */
  now(): number {
    return performance.timeOrigin + performance.now() + this.#ahead;
  }

  /** A change has come that was committed at `t`. */
  came(t: number): void {
    const at = performance.now();
    let ms = this.now() - t;
    // The clocks tell whole milliseconds, and nothing comes before it happened.
    if (ms < -1) {
      this.#ahead -= ms;
      ms = 0;
    }
    const last = this.#delays.at(-1);
    // One for each commit is enough.
    if (last && at - last.at < 20) return;
    this.#delays.push({ at, ms: Math.max(0, ms) });
  }

  /** `late_ms`: how old what is shown is besides, on average: held back by the rate, or since the page was last in step. */
  sample(totals: Totals, age_ms: number, late_ms: number): void {
    const since = totals.at - this.window_ms;
    this.#samples.push(totals);
    while (this.#samples.length > 2 && this.#samples[1]!.at <= since) this.#samples.shift();
    const first = this.#samples[0]!;
    const seconds = Math.max(totals.at - first.at, 1) / 1000;
    this.updates_per_s = (totals.updates - first.updates) / seconds;
    this.bytes_per_s = (totals.bytes - first.bytes) / seconds;
    this.#delays = this.#delays.filter(({ at }) => at > since);
    const delays = this.#delays.map(({ ms }) => ms).sort((a, b) => a - b);
    this.delay_ms = delays[delays.length >> 1];
    this.#late = this.#late.filter(({ at }) => at > since);
    this.#late.push({ at: totals.at, ms: late_ms });
    this.shown_ms = this.delay_ms === undefined ? undefined : this.delay_ms + this.#late.reduce((sum, { ms }) => sum + ms, 0) / this.#late.length;
    const push = (points: number[], value: number) => {
      if (points.push(value) > POINTS) points.shift();
    };
    push(this.ages, age_ms);
    push(this.bytes, this.bytes_per_s);
  }

  /**
   * Tries what one poll of whom a token is for weighs, unless that is known well enough. `count` is how many things it has. Of nothing there is nothing to compare, and
   * browsers log the 404 as an error.
   */
  async poll(url: URL, count: number, token: string | undefined): Promise<void> {
    if (count === 0) {
      [this.poll_bytes, this.#polledCount] = [undefined, 0];
      return;
    }
    const now = performance.now();
    const isOther = Math.abs(count - this.#polledCount) > 0.05 * this.#polledCount;
    if (now - this.#polledAt < (isOther ? 1000 : POLL_TRIED_EVERY_MS)) return;
    [this.#polledAt, this.#polledCount] = [now, count];
    try {
      const response = await fetch(url, { cache: 'no-store', headers: { accept: 'application/json', ...(token && { authorization: `Bearer ${token}` }) } });
      if (response.ok) this.poll_bytes = (await response.arrayBuffer()).byteLength + HEADS_BYTES;
    } catch {
      // The server is away; what was known stays.
    }
  }
}
