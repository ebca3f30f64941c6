import { computed, signal } from '@preact/signals';
import { connect, type HalfpingError, type Status } from 'halfping';
import { clock } from '../lib/format';
import { now } from './clock';
import { credential, root } from './token';

export { root };
export const api = connect(root, { token: () => credential(true) });
export type Api = typeof api;

export const status = signal<Status>(api.status);
api.onStatus((next) => {
  status.value = { ...next };
});

/** The refusal of everything. */
export const denied = signal<HalfpingError | undefined>(undefined);

// A link to next to nothing, so that whether all is in step is known also where nothing else is watched.
api.on('/', () => (denied.value = undefined), { depth: 0, onError: (error) => (denied.value = error) });

/** Shorter than this is a frame on its way, not somebody behind. */
const BEHIND_MS = 500;

export interface Shown {
  tone: 'good' | 'busy' | 'bad';
  /** The same for as long as nothing happens: what is read out. */
  word: string;
  text: string;
}

export const shown = computed<Shown>(() => {
  const { state, error } = status.value;
  // Of the API itself: it goes on without a call, and this is a copy.
  const { inStepAt } = api.status;
  switch (state) {
    case 'live':
    case 'idle': {
      now.value;
      const age = api.age();
      if (state === 'live' && !status.value.synced && age > BEHIND_MS) {
        return { tone: 'busy', word: 'behind', text: Number.isFinite(age) ? `behind ${(age / 1000).toFixed(1)} s` : 'catching up' };
      }
      return one('good', state === 'idle' ? 'idle' : 'in step');
    }
    case 'opening':
      return one('busy', 'connecting');
    case 'waiting':
      return { tone: 'bad', word: 'offline', text: `offline${since(inStepAt)}` };
    case 'off':
      return { tone: 'busy', word: 'disconnected', text: `disconnected${since(inStepAt)}` };
    case 'refused':
      return one('bad', `refused${error ? `: ${error.detail}` : ''}`);
    default:
      return one('bad', 'closed');
  }
});

function one(tone: Shown['tone'], text: string): Shown {
  return { tone, word: text, text };
}

function since(inStepAt: number | undefined): string {
  return inStepAt ? ` since ${clock(inStepAt)}` : '';
}
