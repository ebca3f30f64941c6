import { HalfpingError, type Problem } from 'halfping';
import type { Path } from '../lib/paths';
import { credential, root } from './token';

const ANSWER_MS_MAX = 30_000;

export interface Reply {
  status: number;
  rev: string;
  text: string;
  location: string | undefined;
}

/**
 * A plain request, for text that has to stay as it is: the client makes values of what it reads and writes, and a number can lose digits by that
 * (PROTOCOL V1).
 */
export async function request(method: string, path: Path, headers: Record<string, string> = {}, body?: string): Promise<Reply> {
  const url = root + path.slice(1);
  const shown = headers['authorization'] ? undefined : await credential();
  const own = { accept: 'application/json', ...(shown !== undefined && { authorization: `Bearer ${shown}` }) };
  const { response, text } = await answer(url, { method, headers: { ...own, ...headers }, body: body ?? null });
  const rev = response.headers.get('etag')?.replace(/^(W\/)?"|"$/g, '');
  // A success without a cursor is somebody else's, such as a proxy's.
  if (!response.ok || !rev) throw refusal(response, text, rev);
  return { status: response.status, rev, text, location: response.headers.get('location') ?? undefined };
}

async function answer(url: string, init: RequestInit): Promise<{ response: Response; text: string }> {
  try {
    const response = await fetch(url, { ...init, cache: 'no-store', signal: AbortSignal.timeout(ANSWER_MS_MAX) });
    return { response, text: await response.text() };
  } catch (error) {
    const why = (error as Error).message;
    if (init.method === 'GET') throw new HalfpingError('offline', `no answer from ${url}: ${why}`);
    throw new HalfpingError('unsure', `no answer from ${url}, so it may have happened or not: ${why}`);
  }
}

/** The problem document (RFC 9457, PROTOCOL X1), if it is one. */
function refusal({ status, url }: Response, text: string, rev: string | undefined): HalfpingError {
  const problem = documentOf(text) ?? { type: 'bad-answer', detail: `${url} answered ${status}, and not as Halfping does` };
  const type = problem.type!.replace('urn:halfping:problem:', '');
  return new HalfpingError(type, problem.detail ?? problem.title ?? type, { ...problem, status, ...(rev && { rev }) });
}

function documentOf(text: string): Problem | undefined {
  try {
    const document = JSON.parse(text) as Problem | null;
    return typeof document?.type === 'string' ? document : undefined;
  } catch {
    return undefined;
  }
}
