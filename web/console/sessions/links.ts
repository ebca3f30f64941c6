import { signal } from '@preact/signals';
import { join } from '../lib/paths';
import { OWN, type OwnLink } from '../server/own';
import type { Api } from '../state/connection';

interface Opened {
  stop: () => void;
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
      opened.stop();
      this.#opened.delete(id);
    } else {
      const path = `${join(`${OWN}/sessions`, id)}/links`;
      const accept = (links: Record<string, OwnLink>) => {
        made.links = Object.entries(links);
        this.beat.value++;
      };
      const made: Opened = {
        links: undefined,
        stop: this.api.on(path, (value) => accept((value ?? {}) as Record<string, OwnLink>), { depth: 2, onError: () => accept({}) }),
      };
      this.#opened.set(id, made);
    }
    this.beat.value++;
  }

  close(): void {
    for (const { stop } of this.#opened.values()) stop();
    this.#opened.clear();
  }
}
