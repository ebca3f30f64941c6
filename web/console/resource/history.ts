import { Ring } from '../lib/ring';
import { preview, type Preview } from '../lib/json';

/** So many changes of the selected resource are remembered. */
export const HISTORY_CHANGES = 200;

/** The part of each that is kept: its text, cut, so that two hundred large snapshots are not kept alive. */
const BODY_CHARS = 300;

export interface Entry extends Preview {
  number: number;
  /** Time at which it arrived here, ms since 1970. */
  at: number;
  kind: string;
  bytes: number;
  /** The whole value, where that is a number: what the chart shows. */
  sample: number | undefined;
}

const utf8 = new TextEncoder();

export class History {
  readonly ring = new Ring<Entry>(HISTORY_CHANGES);

  /** Answers with the bytes of the change. */
  add(change: { kind: string; body: unknown; value: unknown }, at: number): number {
    const json = change.body === undefined ? '' : JSON.stringify(change.body);
    const bytes = utf8.encode(json).length;
    this.ring.push({
      number: this.ring.pushed,
      at,
      kind: change.kind,
      ...(change.body === undefined ? { text: '', approximate: false } : preview(change.body, BODY_CHARS)),
      bytes,
      sample: typeof change.value === 'number' ? change.value : undefined,
    });
    return bytes;
  }

  /** Times in seconds and values, as charts want them; what was not a number is a gap. */
  samples(): [number[], (number | null)[]] | undefined {
    const times: number[] = [];
    const values: (number | null)[] = [];
    let numbers = 0;
    for (const entry of this.ring) {
      times.push(entry.at / 1000);
      values.push(entry.sample ?? null);
      if (entry.sample !== undefined) numbers++;
    }
    return numbers > 0 ? [times, values] : undefined;
  }
}
