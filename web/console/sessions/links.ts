import { signal } from '@preact/signals';
import type { Live } from 'halfping';
import { join } from '../lib/paths';
import { OWN, type OwnLink } from '../server/own';
import type { Api } from '../state/connection';

interface Opened {
  live: Live;
  links: [id: string, link: OwnLink][] | undefined;
}

/** The links of the sessions whose rows are open: read only for those. */
export class OpenSessions {
  readonly beat = signal(0);
  #opened = new Map<string, Opened>();

  constructor(private readonly api: Api) {}

  has(id: string): boolean {
    return this.#opened.has(id);
  }

  /** Undefined while they are on their way. */
  links(id: string): [string, OwnLink][] | undefined {
    return this.#opened.get(id)?.links;
  }

  toggle(id: string): void {
    const opened = this.#opened.get(id);
    if (opened) {
      opened.live.close();
      this.#opened.delete(id);
    } else {
      const live = this.api.live(`${join(`${OWN}/sessions`, id)}/links`, { depth: 2 });
      const made: Opened = { live, links: undefined };
      this.#opened.set(id, made);
      live.on((value) => {
        made.links = Object.entries((value ?? {}) as Record<string, OwnLink>);
        this.beat.value++;
      });
      live.ready.catch(() => {
        made.links = [];
        this.beat.value++;
      });
    }
    this.beat.value++;
  }

  close(): void {
    for (const { live } of this.#opened.values()) live.close();
    this.#opened.clear();
  }
}
