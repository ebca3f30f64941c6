/** The two ways to a server: one WebSocket, or a stream of events and requests of plain HTTP. */

import type { Problem } from './errors.js';
import type { Answer, Command } from './protocol.js';

/** Of a stream that is alive something is heard every 15 s (PROTOCOL E4). */
const STREAM_SILENCE_MS_MAX = 40_000;
/** How long a plain request may take until its answer. */
const ANSWER_MS_MAX = 30_000;

/** A connection. */
export interface Wire {
  send(commands: readonly Command[]): void;
  /** Ends it. What is heard of it after that means nothing. */
  drop(): void;
}

/** Who wants to know what becomes of a connection. */
export interface Listener {
  opened(): void;
  message(text: string): void;
  lost(loss: { code?: number; retryAfter?: number; problem?: Problem }): void;
}

/** What this library needs of a WebSocket: the browser's, Node's, and that of the package `ws` have it. */
export interface WebSocketLike {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}
export type WebSocketConstructor = new (url: string, protocol: string) => WebSocketLike;

/** What `listener` is told after a `drop` it has to ignore. */
export function openSocket(Socket: WebSocketConstructor, root: URL, listener: Listener): Wire {
  const url = new URL(root);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const socket = new Socket(url.href, 'halfping.v1');
  socket.onopen = () => listener.opened();
  socket.onmessage = ({ data }) => listener.message(String(data));
  socket.onclose = ({ code }) => listener.lost({ code });
  socket.onerror = () => {}; // a close follows, and says more
  return {
    send: (commands) => socket.send(JSON.stringify(commands.length === 1 ? commands[0] : commands)),
    drop: () => socket.close(1000),
  };
}

export interface Http {
  readonly fetch: typeof fetch;
  readonly root: URL;
  readonly token: () => Promise<string | undefined>;
}

/** The same; its one message is the body of a request. */
export function openEvents(http: Http, token: string | undefined, listener: Listener): Wire {
  const abort = new AbortController();
  const { signal } = abort;
  let silence: ReturnType<typeof setTimeout> | undefined;
  const run = async (commands: readonly Command[]) => {
    const response = await http.fetch(new URL('_streams', http.root), {
      method: 'POST',
      body: JSON.stringify(commands),
      headers: { 'content-type': 'application/json', accept: 'text/event-stream', ...bearer(token) },
      cache: 'no-store',
      signal,
    });
    if (!response.ok || !response.body || !/^text\/event-stream/.test(response.headers.get('content-type') ?? '')) {
      return listener.lost({ problem: await problemOf(response), retryAfter: Number(response.headers.get('retry-after')) * 1000 || 0 });
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
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
          listener.message(line.slice(5).trim());
        } else if (line.startsWith('retry:')) retryAfter = Number(line.slice(6));
      }
    }
    listener.lost({ retryAfter });
  };
  queueMicrotask(() => listener.opened());
  return {
    send: (commands) =>
      void run(commands).catch(() => {
        clearTimeout(silence);
        listener.lost({ problem: { type: 'offline', detail: `nothing answers at ${http.root}` } });
      }),
    drop: () => abort.abort(),
  };
}

const METHODS: { readonly [command: string]: readonly [method: string, type?: string] } = {
  get: ['GET'],
  put: ['PUT', 'application/json'],
  merge: ['PATCH', 'application/merge-patch+json'],
  patch: ['PATCH', 'application/json-patch+json'],
  delete: ['DELETE'],
  post: ['POST', 'application/json'],
};

/** A command, as a request of plain HTTP. Rejects when no answer came. */
export async function request(http: Http, command: Command): Promise<Answer> {
  const name = Object.keys(METHODS).find((name) => name in command)!;
  const [method, type] = METHODS[name]!;
  const { value, if: condition, depth } = command;
  const at = command[name] as string;
  // A name may have these, and a URL would take them for something else.
  const url = new URL(`.${at.replace(/[?#]/g, encodeURIComponent)}`, http.root);
  if (depth !== undefined) url.searchParams.set('depth', String(depth));
  const response = await http.fetch(url, {
    method,
    headers: {
      accept: 'application/json',
      ...(type ? { 'content-type': type } : {}),
      ...(condition === null ? { 'if-none-match': '*' } : {}),
      ...(typeof condition === 'string' ? { 'if-match': condition === '*' ? '*' : `"${condition}"` } : {}),
      ...bearer(await http.token()),
    },
    ...(type ? { body: JSON.stringify(value) } : {}),
    cache: 'no-store',
    signal: AbortSignal.timeout(ANSWER_MS_MAX),
  });
  const rev = response.headers.get('etag')?.replace(/^(W\/)?"|"$/g, '');
  const head = { ref: 0, status: response.status, ...(rev ? { rev } : {}) };
  if (!response.ok) return { ...(await problemOf(response)), ...head };
  // Whatever a proxy has made of what stands before it: the last name is the new one.
  const created = /[^/]+$/.exec(response.headers.get('location') ?? '');
  const path = created ? { path: `${at.replace(/\/$/, '')}/${created[0]}` } : {};
  return { ...head, ...path, ...(name === 'get' ? { value: await response.json() } : {}) };
}

const bearer = (token: string | undefined) => (token === undefined ? {} : { authorization: `Bearer ${token}` });

async function problemOf(response: Response): Promise<Problem> {
  const text = await response.text().catch(() => '');
  try {
    const document = JSON.parse(text) as Problem;
    if (typeof document.type === 'string') return document;
  } catch {
    // Not ours.
  }
  const detail = `${response.url} answered ${response.status}, and not as Halfping does: ${text.slice(0, 80)}`;
  return { type: 'bad-answer', status: response.status, detail };
}
