import { signal } from '@preact/signals';

/** For ages that are shown in tenths of seconds. Stands still while nobody can see it. */
export const now = signal(Date.now());

const TICK_MS = 200;

setInterval(() => {
  if (!document.hidden) now.value = Date.now();
}, TICK_MS);
