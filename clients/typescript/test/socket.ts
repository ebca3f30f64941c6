/** A WebSocket of which a test holds the other end. */
import { vi } from 'vitest';
import { type Api, connect, type Options } from '../src/index.js';

export class FakeSocket {
  static all: FakeSocket[] = [];
  onopen: ((event: unknown) => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason?: string }) => void) | null = null;
  onerror: ((event: unknown) => void) | null = null;
  readonly messages: string[] = [];
  closed: number | undefined;

  constructor(
    readonly url: string,
    readonly protocol: string,
  ) {
    FakeSocket.all.push(this);
  }

  /** The server has taken it. */
  async open(): Promise<void> {
    this.onopen?.({});
    await settled();
  }

  send(text: string): void {
    this.messages.push(text);
  }

  close(code?: number): void {
    this.closed = code;
  }

  /** All commands so far, without those that only keep the connection going. */
  get commands(): any[] {
    return this.messages.flatMap((text) => JSON.parse(text)).filter((command) => !('credit' in command || 'ack' in command));
  }

  say(...messages: unknown[]): void {
    for (const message of messages) this.onmessage?.({ data: JSON.stringify(message) });
  }

  /** Accepts everything that was asked for and is not answered yet, with this state of each path. */
  serve(state: Record<string, unknown>, rev = 'e.1', t = 5): void {
    const set: unknown[] = [];
    for (const { watch, path, ref } of this.commands) {
      if (watch === undefined || this.#served.has(ref)) continue;
      this.#served.add(ref);
      this.say({ ref, status: 200 });
      for (const [id, at] of Array.isArray(watch) ? watch : [[watch, path]]) {
        this.ids.set(at, id);
        set.push(at in state ? [id, 'snapshot', state[at]] : [id, 'gone']);
      }
    }
    this.say({ rev, t, set, synced: true });
  }

  readonly ids = new Map<string, number>();
  readonly #served = new Set<number>();
}

/** Waits until everything that is due now has been done. */
export const settled = () => (vi.isFakeTimers() ? vi.advanceTimersByTimeAsync(0) : new Promise((resolve) => setTimeout(resolve)));

export async function open(options: Options = {}): Promise<{ api: Api; socket: () => FakeSocket }> {
  FakeSocket.all = [];
  const api = connect('http://server.test/', { WebSocket: FakeSocket, transport: 'websocket', ...options });
  return { api, socket: () => FakeSocket.all.at(-1)! };
}
