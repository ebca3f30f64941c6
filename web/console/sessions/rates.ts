import type { OwnSession } from '../server/own';

export interface SessionRow {
  id: string;
  session: OwnSession;
  framesRate: number;
  bytesRate: number;
  /** Updates that were merged into a later frame, of all; undefined before the first. */
  conflation: number | undefined;
}

interface Seen {
  frames: number;
  bytes: number;
  at: number;
  framesRate: number;
  bytesRate: number;
}

/** Shorter pauses than this say nothing about a rate: two frames of one sample. */
const SAMPLE_MS = 500;

/**
 * Rates of each session from what its totals grew by. The server tells them too, but one level deeper, beside up to a thousand links of each
 * session: that is not read for a table.
 */
export class SessionRates {
  #seen = new Map<string, Seen>();

  /** `now` in ms; called with every sample. */
  update(sessions: Record<string, OwnSession>, now: number): SessionRow[] {
    const seen = new Map<string, Seen>();
    const rows: SessionRow[] = [];
    for (const [id, session] of Object.entries(sessions)) {
      const next = this.#follow(id, session, now);
      seen.set(id, next);
      const { frames = 0, conflated = 0 } = session;
      rows.push({
        id,
        session,
        framesRate: session.rates?.frames ?? next.framesRate,
        bytesRate: session.rates?.bytes ?? next.bytesRate,
        conflation: frames + conflated > 0 ? conflated / (frames + conflated) : undefined,
      });
    }
    this.#seen = seen;
    return rows;
  }

  #follow(id: string, { frames = 0, bytes = 0 }: OwnSession, now: number): Seen {
    const before = this.#seen.get(id);
    if (!before) return { frames, bytes, at: now, framesRate: 0, bytesRate: 0 };
    const passed = now - before.at;
    if (passed < SAMPLE_MS) return before;
    const perSecond = (grown: number) => Math.max(0, grown / (passed / 1000));
    return { frames, bytes, at: now, framesRate: perSecond(frames - before.frames), bytesRate: perSecond(bytes - before.bytes) };
  }
}
