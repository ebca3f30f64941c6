/** The newest `capacity` entries. Never grows beyond, however fast things change. */
export class Ring<T> {
  #slots: (T | undefined)[] = [];
  #next = 0;
  #pushed = 0;

  constructor(readonly capacity: number) {}

  push(entry: T): void {
    this.#slots[this.#next] = entry;
    this.#next = (this.#next + 1) % this.capacity;
    this.#pushed++;
  }

  get length(): number {
    return this.#slots.length;
  }

  /** The number that were ever pushed, also those that are forgotten. */
  get pushed(): number {
    return this.#pushed;
  }

  /** 0 is the oldest. */
  at(index: number): T | undefined {
    if (index < 0 || index >= this.length) return undefined;
    const start = this.length < this.capacity ? 0 : this.#next;
    return this.#slots[(start + index) % this.capacity];
  }

  newest(): T | undefined {
    return this.at(this.length - 1);
  }

  clear(): void {
    this.#slots = [];
    this.#next = 0;
    this.#pushed = 0;
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let i = 0; i < this.length; i++) yield this.at(i)!;
  }
}
