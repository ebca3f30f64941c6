import { curl } from './curl';
import { javascript } from './javascript';
import { python } from './python';
import { rust } from './rust';
import type { Snippet } from './target';

export const snippets: readonly Snippet[] = [...curl, ...javascript, ...rust, ...python];
export type { Snippet, Target } from './target';
