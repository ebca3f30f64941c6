/** The two ways to a server: one WebSocket, or a stream of events and requests of plain HTTP. */

import type { Problem } from './errors.js';
import { answerMs, PACKED_LENGTH_MAX, type Event } from './terms.js';
import type { Answer, Command } from './protocol.js';

/** Of a stream that is alive something is heard every 15 s (PROTOCOL E4). */
const STREAM_SILENCE_MS_MAX = 40_000;
/** Time that a WebSocket may take to open, until a plain request asks what is there: some servers of pages take one and never answer. */
const SOCKET_MS_MAX = 5_000;
/** Time that it may take to read something by a plain request: all of it, also where much comes slowly. */
const READ_MS_MAX = 30_000;

/** A connection. */
export interface Wire {
  send(commands: readonly Command[]): void;
  /** Ends it. What is heard of it after that means nothing. */
  drop(): void;
}

/** Is told what becomes of a connection. */
export type Listener = (event: Extract<Event, { type: 'opened' | 'message' | 'lost' }>) => void;

export const problemOf = (error: unknown): Problem => {
  const { message, hint } = error as Error & Problem;
  return { type: 'offline', detail: message, hint };
};

/** Calls it later, if the process is still there: this is no reason for it to stay. */
export const later = (call: () => unknown, ms: number): unknown => (setTimeout(call, ms) as { unref?(): void }).unref?.();

/** The token is there or not; in the second case it is not the way that is to blame. */
const opening = (token: Promise<string | undefined>, listener: Listener): unknown =>
  token.then(
    (token) => listener({ type: 'opened', token }),
    (error) => listener({ type: 'lost', problem: problemOf(error), retryAfter: 0 }),
  );

/** The part of a WebSocket that this library needs: the browser's, Node's, and that of the package `ws` have it. */
export interface WebSocketLike {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}
export type WebSocketConstructor = new (url: string, protocol: string) => WebSocketLike;

/**
 * Opens a WebSocket. `listener` has to ignore what it is told after a `drop`. `isOnly`: no other way is tried, which would say why this one is refused; a browser does
 * not tell.
 */
export function openSocket(Socket: WebSocketConstructor, http: Http, listener: Listener, isOnly: boolean): Wire {
  const socket = new Socket(http.root.href.replace('http', 'ws'), 'halfping.v1');
  const lose = async ({ code, reason }: { readonly code?: number; readonly reason?: string }) => {
    const problem = reason ? { type: 'ended', detail: reason } : isOnly ? await refusal(http).catch(problemOf) : undefined;
    if (code || (isOnly && problem)) listener({ type: 'lost', code, problem });
  };
  later(() => lose({}), SOCKET_MS_MAX);
  const opened = new Promise<void>((resolve) => {
    socket.onopen = () => {
      isOnly = false;
      http.letIn = true;
      resolve();
    };
  });
  opening(Promise.all([http.token(), opened]).then(([token]) => token), listener);
  socket.onmessage = ({ data }) => listener({ type: 'message', text: data });
  socket.onclose = lose;
  socket.onerror = () => {}; // a close follows, and says more
  return {
    send: (commands) => {
      // As few messages as can be.
      let texts = '';
      for (const command of commands) {
        const text = JSON.stringify(command);
        if (texts && texts.length + text.length > PACKED_LENGTH_MAX) {
          socket.send(`[${texts}]`);
          texts = '';
        }
        texts += (texts && ',') + text;
      }
      socket.send(`[${texts}]`);
    },
    drop: () => {
      isOnly = false;
      socket.close(1000);
    },
  };
}

/** The reason why the server lets nobody in, if it does not. */
async function refusal(http: Http): Promise<Problem | undefined> {
  const response = await ask(http, undefined, '_health', { signal: AbortSignal.timeout(READ_MS_MAX) });
  const document = await documentOf(response);
  // That of its health has no type.
  return document.type ? { hint: response.status === 404 ? ELSEWHERE : undefined, ...document } : undefined;
}

export interface Http {
  readonly fetch: typeof fetch;
  readonly root: URL;
  readonly token: () => Promise<string | undefined>;
  /** The server has answered before: it lets in this page. */
  letIn?: boolean;
}

/** The same; its one message is the body of a request. */
export function openEvents(http: Http, listener: Listener): Wire {
  let token: string | undefined;
  const abort = new AbortController();
  let silence: ReturnType<typeof setTimeout> | undefined;
  const run = async (commands: readonly Command[]) => {
    const response = await ask(http, token, '_streams', {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: STREAM },
      body: JSON.stringify(commands),
      signal: abort.signal,
    });
    if (!response.headers.get('content-type')?.startsWith(STREAM)) {
      const problem = await documentOf(response);
      // Not the root of an API: it is a resource, or (P9) could be one.
      const isFinal = response.status === 201 || problem.type === 'urn:halfping:problem:reserved-path';
      const retryAfter = Number(response.headers.get('retry-after')) * 1000 || 0;
      return listener({ type: 'lost', problem, retryAfter, isFinal });
    }
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let retryAfter = 0;
    let rest = '';
    for (;;) {
      silence = setTimeout(() => abort.abort(), STREAM_SILENCE_MS_MAX);
      const { done, value } = await reader.read();
      clearTimeout(silence);
      if (done) break;
      const lines = (rest + value).split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        if (line.startsWith('data:')) {
          retryAfter = 0; // what is said at the start is meant for an EventSource, what is said last for us (E5)
          listener({ type: 'message', text: line.slice(5) });
        } else if (line.startsWith('retry:')) retryAfter = Number(line.slice(6)) || 0;
      }
    }
    listener({ type: 'lost', retryAfter });
  };
  opening(http.token().then((given) => (token = given)), listener);
  return {
    send: (commands) =>
      void run(commands).catch((error) => {
        clearTimeout(silence);
        listener({ type: 'lost', problem: problemOf(error) });
      }),
    drop: () => abort.abort(),
  };
}

const STREAM = 'text/event-stream';
const ELSEWHERE = 'the API is elsewhere: connect() takes the URL of its root';
/** Commands that are a `PATCH`, and the types of their bodies. */
const PATCHES: { readonly [command: string]: string } = { merge: 'application/merge-patch+json', patch: 'application/json-patch+json' };

/** A command, as a request of plain HTTP. Rejects when no answer came. */
export async function request(http: Http, token: string | undefined, command: Command): Promise<Answer> {
  const name = Object.keys(command)[0]!;
  const type = PATCHES[name];
  const { [name]: at, value, if: condition, ...shape } = command as { readonly [member: string]: any };
  // A name may have these, and a URL would take them for something else, or leave them out.
  const url = `.${at.replace(/[\0- ?#\\]/g, encodeURIComponent)}?${new URLSearchParams(shape)}`.replace(/\?$/, '');
  const body = JSON.stringify(value) as string | undefined;
  const response = await ask(http, token, url, {
    method: type ? 'PATCH' : name.toUpperCase(),
    headers: {
      ...(body && { 'content-type': type ?? 'application/json' }),
      ...(condition === null && { 'if-none-match': '*' }),
      ...(condition != null && { 'if-match': condition === '*' ? condition : `"${condition}"` }),
    },
    ...(body && { body }),
    signal: AbortSignal.timeout(name === 'get' ? READ_MS_MAX : answerMs(body?.length ?? 0)),
  });
  const rev = response.headers.get('etag')?.replace(/^(W\/)?"|"$/g, '');
  // A success without a cursor is somebody else's: a page to log in, or what a proxy has in place of what is missing.
  const status = response.ok && !rev ? 502 : response.status;
  const head = { status, rev } as Answer;
  if (status >= 400) return { ...(await documentOf(response)), ...head };
  // Whatever a proxy has made of what stands before it: the last name is the new one.
  const created = response.headers.get('location')?.split('/').pop();
  return { ...head, ...(created && { path: `${at.replace(/\/$/, '')}/${created}` }), ...(name === 'get' && { value: await response.json() }) };
}

async function ask(http: Http, token: string | undefined, url: string, { headers, ...init }: RequestInit): Promise<Response> {
  const all = { ...headers, ...(token !== undefined && { authorization: `Bearer ${token}` }) };
  const { fetch, root } = http;
  try {
    const response = await fetch(new URL(url, root), { ...init, headers: all, cache: 'no-store' });
    http.letIn = true;
    return response;
  } catch (error) {
    const origin = globalThis.location?.origin;
    throw {
      message: `no readable answer from ${root} (${(error as Error).message})`,
      // A browser does not tell a page of another origin that it was refused.
      hint: !http.letIn && origin && origin !== root.origin
        ? `no Halfping server, or it needs under [cors]: origins = ["${origin === 'null' ? 'any' : origin}"]; in Rust: Options { cors }`
        : undefined,
    };
  }
}

/** The document in which a server speaks of itself (PROTOCOL X1, O1a). */
async function documentOf(response: Response): Promise<Problem> {
  const { status, url, ok } = response;
  const document = (await response.json().catch(() => undefined)) as Problem | undefined;
  if (document?.type || document?.['storage']) return document;
  const hint = ok || status === 404 ? ELSEWHERE : status === 403 ? 'a proxy may allow only reading' : undefined;
  return { type: 'bad-answer', status, detail: `${url} answered ${status}, not as Halfping does`, hint };
}
