/** Time that a change is shown. The animation in the style sheet takes as long. */
export const FLASH_MS = 900;

interface Flash {
  at: number;
  /** The number of the change of this one: an animation starts again only when its name changes. */
  turn: number;
}

/** The things that changed a moment ago, by name. */
export class Flashes {
  #flashes = new Map<string, Flash>();

  mark(keys: Iterable<string>, now: number): void {
    this.#forget(now);
    for (const key of keys) {
      const turn = (this.#flashes.get(key)?.turn ?? 0) + 1;
      // Deleted first, so that the map stays in the order of time and forgetting can stop early.
      this.#flashes.delete(key);
      this.#flashes.set(key, { at: now, turn });
    }
  }

  /** The class that shows it, or nothing. Two of them take turns. */
  className(key: string, now: number): string {
    const flash = this.#flashes.get(key);
    if (!flash || now - flash.at > FLASH_MS) return '';
    return flash.turn % 2 ? 'flash-a' : 'flash-b';
  }

  get size(): number {
    return this.#flashes.size;
  }

  clear(): void {
    this.#flashes.clear();
  }

  #forget(now: number): void {
    for (const [key, flash] of this.#flashes) {
      if (now - flash.at <= FLASH_MS) return;
      this.#flashes.delete(key);
    }
  }
}
