/**
 * This tab's network: a WebSocket like the browser's own, which counts what goes through it, can be frozen as a network that stalls is,
 * and cut as one that breaks.
 */

import type { WebSocketConstructor, WebSocketLike } from 'halfping';

/** The outcome of a freeze or a cut. */
export interface Report {
  /** From the moment that the network was there again (or gone, for a cut) until everything shown was the newest state. */
  ms_to_step: number;
  /** Its cost: bytes and messages of the server's until then. */
  bytes: number;
  messages: number;
  /** And what the page had to say for it. */
  bytes_sent: number;
  /** Went on from what the page had, and was not sent everything anew. */
  resumed: boolean;
  /** For how long nothing came. */
  away_ms: number;
  /** The number of updates that happened on the server meanwhile; undefined when nobody could tell. */
  updates: number | undefined;
}

interface Episode extends Omit<Report, 'ms_to_step'> {
  since: number;
  snapshots: number;
  /** Only what arrived after this moment can say that all is in step. */
  heardAfter: number;
  done(report: Report): void;
}

/** A frame's own bytes on the wire; the page masks what it sends. */
const frame = (bytes: number, masked: boolean) => bytes + (bytes < 126 ? 2 : bytes < 65536 ? 4 : 10) + (masked ? 4 : 0);
const encoder = new TextEncoder();
const sizeOf = (text: string) => encoder.encode(text).length;

export class Network {
  bytesIn = 0;
  bytesOut = 0;
  messagesIn = 0;
  /** Time at which it froze, or undefined. */
  frozenAt: number | undefined;
  /** Time at which the oldest message came that is being held back. */
  heldSince: number | undefined;
  readonly Socket: WebSocketConstructor;
  #gate: Gate | undefined;
  #episode: Episode | undefined;
  #heldIn: (() => void)[] = [];
  #heldOut: (() => void)[] = [];
  #heldBytes = 0;

  /** `credit`: the bytes that the server sends at most without a word from the page. */
  constructor(readonly credit: number) {
    const network = this;
    this.Socket = class extends Gate {
      constructor(url: string, protocol: string) {
        super(network, url, protocol);
        network.#gate = this;
      }
    };
  }

  get busy(): boolean {
    return this.frozenAt !== undefined || this.#episode !== undefined;
  }

  /** Holds everything back for some time, in both directions, and then lets it go. */
  async freeze(ms: number, count: () => Promise<number | undefined>): Promise<Report> {
    this.frozenAt = performance.now();
    const before = count();
    await new Promise((resolve) => setTimeout(resolve, ms));
    const after = count();
    const [was, is] = await Promise.all([before, after]);
    return new Promise((done) => {
      const now = performance.now();
      const away_ms = now - this.frozenAt!;
      // With less on its way than half of what it may, the server has never stopped: the last of it is the newest there is.
      const heardAfter = this.#heldBytes < this.credit / 2 ? 0 : now;
      const updates = was === undefined || is === undefined ? undefined : is - was;
      this.#episode = { since: now, heardAfter, away_ms, updates, bytes: 0, messages: 0, bytes_sent: 0, snapshots: 0, resumed: true, done };
      this.#thaw();
    });
  }

  #thaw(): void {
    const [out, into] = [this.#heldOut, this.#heldIn];
    [this.#heldOut, this.#heldIn, this.#heldBytes] = [[], [], 0];
    this.frozenAt = this.heldSince = undefined;
    for (const go of out) go();
    into.forEach((go, n) => {
      this.#last = n === into.length - 1;
      go();
    });
    this.#last = true;
  }
  /** True if nothing newer waits behind what is being delivered. */
  #last = true;

  /** Takes the connection away beneath the client, as a network does. */
  cut(count: () => Promise<number | undefined>): Promise<Report> {
    const before = count();
    return new Promise((resolve) => {
      const now = performance.now();
      const done = async (report: Report) => {
        const [was, is] = await Promise.all([before, count()]);
        resolve({ ...report, updates: was === undefined || is === undefined ? undefined : is - was });
      };
      this.#episode = {
        since: now,
        heardAfter: now,
        away_ms: 0,
        updates: undefined,
        bytes: 0,
        messages: 0,
        bytes_sent: 0,
        snapshots: 0,
        resumed: false,
        done: (report) => void done(report),
      };
      this.#gate?.cut();
    });
  }

  /** @internal */
  opened(gate: Gate): void {
    this.#hold(this.#heldIn, () => {
      if (this.#episode && !this.#episode.resumed) this.#episode.away_ms = performance.now() - this.#episode.since;
      gate.onopen?.({});
    });
  }

  /** @internal */
  closed(gate: Gate, code: number): void {
    this.#hold(this.#heldIn, () => gate.onclose?.({ code }));
  }

  /** @internal */
  received(gate: Gate, text: string): void {
    const [came, bytes] = [performance.now(), frame(sizeOf(text), false)];
    if (this.frozenAt !== undefined) {
      this.heldSince ??= came;
      this.#heldBytes += bytes;
    }
    this.#hold(this.#heldIn, () => {
      this.bytesIn += bytes;
      this.messagesIn++;
      gate.onmessage?.({ data: text });
      if (this.#episode) this.#follow(this.#episode, text, bytes, came);
    });
  }

  /** @internal */
  sent(text: string, go: () => void): void {
    this.#hold(this.#heldOut, () => {
      const bytes = frame(sizeOf(text), true);
      this.bytesOut += bytes;
      if (this.#episode) {
        this.#episode.bytes_sent += bytes;
        if (text.includes('"since":')) this.#episode.resumed = true;
      }
      go();
    });
  }

  #hold(line: (() => void)[], go: () => void): void {
    if (this.frozenAt === undefined) go();
    else line.push(go);
  }

  #follow(episode: Episode, text: string, bytes: number, came: number): void {
    episode.bytes += bytes;
    episode.messages++;
    const message = JSON.parse(text) as { synced?: boolean; set?: [number, string][] };
    episode.snapshots += message.set?.filter(([, kind]) => kind === 'snapshot').length ?? 0;
    if (!message.synced || !this.#last || came < episode.heardAfter) return;
    this.#episode = undefined;
    const { away_ms, updates, messages, bytes_sent, resumed } = episode;
    const ms_to_step = performance.now() - episode.since;
    episode.done({ ms_to_step, bytes: episode.bytes, messages, bytes_sent, resumed, away_ms, updates });
  }
}

class Gate implements WebSocketLike {
  onopen: ((event: any) => void) | null = null;
  onmessage: ((event: any) => void) | null = null;
  onclose: ((event: any) => void) | null = null;
  onerror: ((event: any) => void) | null = null;
  readonly #socket: WebSocket;
  readonly #network: Network;

  constructor(network: Network, url: string, protocol: string) {
    this.#network = network;
    this.#socket = new WebSocket(url, protocol);
    this.#socket.onopen = () => network.opened(this);
    this.#socket.onmessage = ({ data }) => network.received(this, String(data));
    this.#socket.onclose = ({ code }) => network.closed(this, code);
  }

  send(text: string): void {
    this.#network.sent(text, () => {
      if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(text);
    });
  }

  close(code?: number): void {
    this.#socket.close(code);
  }

  cut(): void {
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    // The code by which a browser tells of a connection that broke.
    this.#network.closed(this, 1006);
  }
}
