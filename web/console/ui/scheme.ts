const dark = matchMedia('(prefers-color-scheme: dark)');

/** Calls back when the page turns dark or light. */
export function onScheme(handler: () => void): () => void {
  dark.addEventListener('change', handler);
  return () => dark.removeEventListener('change', handler);
}
