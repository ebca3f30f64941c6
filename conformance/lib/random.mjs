// Random choices that one printed seed repeats (mulberry32).

/** The seed of this run: `SEED` from the environment, or a new one. */
export const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32)) >>> 0;

/** A source of choices; equal seeds make equal choices. */
export function randomness(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    /** A whole number from `low` to `high`, both included. */
    between: (low, high) => low + Math.floor(next() * (high - low + 1)),
    chance: (probability) => next() < probability,
    pick: (list) => list[Math.floor(next() * list.length)],
  };
}
