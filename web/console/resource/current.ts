import { signal } from '@preact/signals';
import type { Resource } from './resource';

/** The resource in the panel, for `window.halfpingConsole`. */
export const current = signal<Resource | undefined>(undefined);
