import { NAMES, type Query } from '../lib/query';
import type { Problem } from '../state/problem';

/** The mistake in a view, as the server tells it. */
export interface QueryMistake {
  field: keyof Query;
  message: string;
  at: { place: string; offset: number } | undefined;
}

const NAMED = new RegExp(`'(${NAMES.join('|')})'(?:, column (\\d+): (.*))?`, 's');

/** The mistake that a problem is about: that of one of the texts, or none of theirs. */
export function mistakeIn(query: Query, problem: Problem | undefined): QueryMistake | undefined {
  if (!problem) return undefined;
  const { type, detail, hint } = problem;
  const [, named, column, fault] = NAMED.exec(detail) ?? [];
  // Text where a number belongs is no view, and no command either.
  if (type !== 'bad-view' && named !== 'limit') return undefined;
  const field = (named ?? 'where') as keyof Query;
  const message = `${fault ?? detail}${hint ? `. ${hint[0]!.toUpperCase()}${hint.slice(1)}` : ''}`;
  // Columns count characters, from one.
  const offset = [...query[field]].slice(0, Number(column) - 1).join('').length;
  return { field, message, at: column ? { place: `${field}, column ${column}`, offset } : undefined };
}
