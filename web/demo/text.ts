/** Numbers for people. */

const whole = new Intl.NumberFormat('en');

export const count = (n: number): string => whole.format(Math.round(n));

export function bytes(n: number): string {
  if (n < 1000) return `${Math.round(n)} B`;
  return n < 1e6 ? `${(n / 1e3).toFixed(n < 1e4 ? 1 : 0)} KB` : `${(n / 1e6).toFixed(n < 1e7 ? 2 : 1)} MB`;
}

export function duration(ms: number): string {
  if (!Number.isFinite(ms)) return '–';
  if (ms < 1000) return `${count(ms)} ms`;
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

export const distance = (m: number): string => (m < 1000 ? `${m} m` : `${m / 1000} km`);
