/** Numbers for people. Everything here has a fixed number of digits where it stands in a column. */

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

export function count(value: number): string {
  return whole.format(value);
}

/** A rate: small ones with a decimal. */
export function rate(value: number): string {
  return value !== 0 && value < 100 ? value.toFixed(1) : whole.format(value);
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

export function bytes(value: number): string {
  let unit = 0;
  let amount = value;
  while (amount >= 1000 && unit < UNITS.length - 1) {
    amount /= 1000;
    unit++;
  }
  return `${(unit === 0 && Number.isInteger(amount)) || amount >= 100 ? amount.toFixed(0) : amount.toFixed(1)} ${UNITS[unit]}`;
}

export function duration(ms: number): string {
  if (!Number.isFinite(ms)) return 'never';
  if (ms < 1000) return `${ms < 10 && !Number.isInteger(ms) ? ms.toFixed(1) : Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.floor((ms % 60_000) / 1000)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Time that has passed: tenths while it is fresh. */
export function ago(ms: number): string {
  return `${ms < 60_000 ? `${(Math.max(0, ms) / 1000).toFixed(1)} s` : duration(ms)} ago`;
}

const two = (value: number) => String(value).padStart(2, '0');

export function clock(ms: number): string {
  const time = new Date(ms);
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}

export function clockMs(ms: number): string {
  return `${clock(ms)}.${String(new Date(ms).getMilliseconds()).padStart(3, '0')}`;
}

export function percent(part: number): string {
  return `${(part * 100).toFixed(part > 0 && part < 0.1 ? 1 : 0)} %`;
}
