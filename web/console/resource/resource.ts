import { signal } from '@preact/signals';
import type { Change } from 'halfping';
import { changedParts } from '../lib/changes';
import { Flashes } from '../lib/flash';
import type { Path } from '../lib/paths';
import type { Api } from '../state/connection';
import { perFrame } from '../state/frame';
import { problemOf, type Problem } from '../state/problem';
import { History } from './history';

export interface View {
  /** Levels of objects; undefined for all of them. */
  depth: number | undefined;
  /** Updates a second at most; undefined for every one that the connection can take. */
  rate: number | undefined;
}

/** Enough for one thing and its parts, little enough for a root with a great deal in it. */
export const VIEW_DEFAULT: View = { depth: 2, rate: 20 };

/** The selected resource: its live value and what happened to it lately. */
export class Resource {
  readonly history = new History();
  readonly flashes = new Flashes();
  /** Goes up, at most once a frame, when there is something new to draw. */
  readonly beat = signal(0);
  readonly problem = signal<Problem | undefined>(undefined);
  known = false;
  value: unknown;
  rev: string | undefined;
  /** When the last change was, by this page's clock. */
  changedAt: number | undefined;
  #drawn: unknown;
  #stop: (() => void) | undefined;
  #closed = false;
  readonly #draw = perFrame(() => {
    if (this.#closed) return;
    if (this.#drawn !== undefined) this.flashes.mark(changedParts(this.#drawn, this.value), performance.now());
    this.#drawn = this.value;
    this.beat.value++;
  });

  constructor(
    private readonly api: Api,
    readonly path: Path,
  ) {}

  watch({ depth, rate }: View): void {
    this.#stop?.();
    this.#drawn = undefined;
    const shape = { ...(depth === undefined ? {} : { depth }), ...(rate === undefined ? {} : { rate }) };
    this.#stop = this.api.on(this.path, (value, change) => this.#accept(value, change), {
      ...shape,
      onError: (error) => (this.problem.value = problemOf(error)),
    });
  }

  #accept(value: unknown, change: Change): void {
    const now = Date.now();
    // A first state says when it was made, by the server's clock; a change that is watched happens now.
    this.changedAt = this.known ? now : Math.min(now, change.t);
    this.known = true;
    this.value = value;
    this.rev = change.rev;
    this.history.add(change, now);
    if (this.problem.peek()) this.problem.value = undefined;
    this.#draw();
  }

  close(): void {
    this.#closed = true;
    this.#stop?.();
  }
}
