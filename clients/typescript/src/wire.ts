/** The two ways to a server: one WebSocket, or a stream of events and requests of plain HTTP. */

import type { Problem } from './errors.js';
import type { Answer, Command } from './protocol.js';

/** Of a stream that is alive something is heard every 15 s (PROTOCOL E4). */
const STREAM_SILENCE_MS_MAX = 40_000;

/** A connection. */
export interface Wire {
  send(commands: readonly Command[]): void;
  /** Ends it. Nothing is heard of it any more. */
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
    drop: () => {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(1000);
    },
  };
}

export interface Http {
  readonly fetch: typeof fetch;
  readonly root: URL;
  readonly token: () => Promise<string | undefined>;
}

export function openEvents(http: Http, token: string | undefined, listener: Listener): Wire {
  const abort = new AbortController();
  const { signal } = abort;
  let over = false;
  const lost: Listener['lost'] = (loss) => {
    if (!over) listener.lost(loss);
    over = true;
  };
  const run = async (commands: readonly Command[]) => {
    const response = await http.fetch(new URL('_streams', http.root), {
      method: 'POST',
      body: JSON.stringify(commands),
      headers: { 'content-type': 'application/json', accept: 'text/event-stream', ...bearer(token) },
      cache: 'no-store',
      signal,
    });
    if (!response.ok || !response.body || !/^text\/event-stream/.test(response.headers.get('content-type') ?? '')) {
      return lost({ problem: await problemOf(response), retryAfter: Number(response.headers.get('retry-after')) * 1000 || 0 });
    }
    let retry = 0;
    let silence: ReturnType<typeof setTimeout> | undefined;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => {
        lost({});
        abort.abort();
      }, STREAM_SILENCE_MS_MAX);
    };
    signal.addEventListener('abort', () => clearTimeout(silence));
    heard();
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    let rest = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done || over) break;
      heard();
      const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        if (over) break;
        if (line.startsWith('data:')) listener.message(line.slice(5).trim());
        else if (line.startsWith('retry:')) retry = Number(line.slice(6));
      }
    }
    clearTimeout(silence);
    lost({ retryAfter: retry });
  };
  queueMicrotask(() => over || listener.opened());
  return {
    send: (commands) => void run(commands).catch(() => lost({})),
    drop: () => {
      over = true;
      abort.abort();
    },
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
  const url = new URL(`.${command[name]}`, http.root);
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
  });
  const rev = response.headers.get('etag')?.replace(/^(W\/)?"|"$/g, '');
  const head = { ref: 0, status: response.status, ...(rev ? { rev } : {}) };
  if (!response.ok) return { ...(await problemOf(response)), ...head };
  const location = response.headers.get('location');
  const path = location === null ? undefined : `/${new URL(location, http.root).pathname.slice(http.root.pathname.length)}`;
  return { ...head, ...(path ? { path } : {}), ...(name === 'get' ? { value: await response.json() } : {}) };
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
  const detail = `${response.url} answered ${response.status} ${response.headers.get('content-type') ?? ''}, which is not Halfping's: ${text.slice(0, 80)}`;
  return { type: 'bad-answer', status: response.status, detail };
}
