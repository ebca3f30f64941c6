import { HalfpingError } from 'halfping';

/** An error, as it is shown. */
export interface Problem {
  type?: string | undefined;
  title: string;
  detail: string;
  hint?: string | undefined;
  rev?: string | undefined;
}

export function problemOf(error: unknown): Problem {
  if (error instanceof HalfpingError) {
    const { type, status, detail, hint, rev } = error;
    return { type, title: status ? `${status} ${type}` : type, detail: detail || error.message, hint, rev };
  }
  return { title: 'Error', detail: error instanceof Error ? error.message : String(error) };
}

export function isNotFound(error: unknown): boolean {
  return error instanceof HalfpingError && (error.status === 404 || error.type === 'reserved-path');
}
