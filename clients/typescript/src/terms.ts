/** Terms of the machine and of those around it: its times and lengths, its events, and its actions. */

import type { Problem } from './errors.js';
import type { Answer, Command } from './protocol.js';

/** Time that a connection may take until the server's first word, and any answer to a probe. */
export const OPEN_MS_MAX = 10_000;
/** The same where only calls wait. */
export const CALLS_OPEN_MS_MAX = 8_000;
/** After so much silence the server is asked whether it is still there. It pings too, but a page is not told of pings. */
export const SILENCE_MS = 20_000;
/** Time that a connection is kept that nobody needs. */
export const LINGER_MS = 5_000;
/** The same where it keeps a process from ending. */
export const LINGER_MS_IN_PROCESS = 250;
/** The first pause after a loss; each further one may be twice as long. Half of each is chance. */
export const PAUSE_MS_MIN = 250;
export const PAUSE_MS_MAX = 10_000;
/** Over how long the clients of a server that stops spread their return. */
export const SPREAD_MS = 5_000;
/** Time that the event stream is preferred after WebSockets did not get through. */
export const BLOCKED_MS = 600_000;
/** Attempts in a row that have to fail, of a transport that got through before, until the other is tried. */
export const ATTEMPTS_BEFORE_OTHER = 4;
/** The longest wait that a server may ask for. */
export const RETRY_AFTER_MS_MAX = 300_000;
/** A connection that lived so long is taken for a good one: after its loss the pauses begin anew. */
export const STABLE_MS = 3_000;
/** UTF-16 units of what is sent as one message although it is several commands, or opens several links. Longer ones are one call each. */
export const PACKED_LENGTH_MAX = 16_384;
/** UTF-16 units of one message, in UTF-8 three bytes each at most: a server takes 4 MiB (`message_bytes`) unless told. */
export const MESSAGE_LENGTH_MAX = 1 << 20;
/** Time that a call may go unanswered while nothing is heard at all: then the connection is taken for dead. */
export const ANSWER_MS_MAX = 8_000;
/** UTF-16 units of a call that even a slow network takes in a millisecond. */
export const UNITS_PER_MS = 25;
/** The same for one of a length: whole milliseconds. */
export const answerMs = (length: number): number => ANSWER_MS_MAX + Math.ceil(length / UNITS_PER_MS);

/** The part of a token's lifetime after which another is asked for. */
export const RENEWED_AT = 0.8;
/** The least time between two tokens that are both taken. */
export const RENEWED_MS_MIN = 1_000;

export const CLOSED = 'closed here';

export type Phase =
  /** Nothing is needed. */
  | 'idle'
  /** On the way: no word from the server yet. */
  | 'opening'
  | 'live'
  /** The connection is gone; another try will follow. */
  | 'waiting'
  /** Switched off by the application. */
  | 'off'
  /** The server's last word was that coming back makes no sense. */
  | 'refused'
  | 'closed';

export type Transport = 'websocket' | 'events';

/** A resource that is watched. */
export interface Link {
  readonly id: number;
  readonly path: string;
  /** Its shape, as JSON. */
  readonly kind: string;
  /** Its state, as of the last whole change. */
  value?: unknown;
  /** True if there is a state yet. That may be that nothing is there. */
  known: boolean;
  rev?: string | undefined;
  t: number;
  /** The cursor speaks for it: it may be resumed. */
  covered: boolean;
  /** The server has ended it for want of rights, and it is being asked for again. */
  again?: boolean;
  /** The value that is being built of a change that comes in parts. */
  parts?: { value: unknown } | undefined;
}

export const newLink = (id: number, path: string, kind: string): Link => ({
  id,
  path,
  kind,
  known: false,
  t: 0,
  covered: false,
});

/** A command with an answer. */
export interface Call {
  readonly command: Command;
  /** True if it changes anything, so that it may not be done twice. */
  readonly writes: boolean;
  /** UTF-16 units of the command as text. */
  readonly length: number;
  /** It has waited for as long as it may: if it has to be sent again, it is not. */
  late?: boolean;
}

/** One change of a link, as it came. */
export interface Told {
  readonly previous: unknown;
  readonly value: unknown;
  readonly kind: 'snapshot' | 'merge' | 'patch' | 'gone';
  readonly body: unknown;
  readonly rev: string;
  readonly t: number;
  readonly synced: boolean;
}

export type Event =
  | { readonly type: 'watch'; readonly link: Link }
  | { readonly type: 'unwatch'; readonly link: Link }
  | { readonly type: 'call'; readonly call: Call }
  /** A call has waited long enough for a connection. */
  | { readonly type: 'expire'; readonly call: Call }
  /** All that is wanted for now has been said. */
  | { readonly type: 'flush' }
  | { readonly type: 'opened'; readonly token: string | undefined }
  | { readonly type: 'message'; readonly text: string }
  | { readonly type: 'lost'; readonly code?: number | undefined; readonly retryAfter?: number | undefined; readonly problem?: Problem | undefined; readonly isFinal?: boolean }
  | { readonly type: 'timer' }
  /** Something happened that makes a look worth while: the network came back, the page is shown. */
  | { readonly type: 'nudge' }
  /** Another token is there. */
  | { readonly type: 'renew' }
  | { readonly type: 'disconnect' }
  | { readonly type: 'reconnect' }
  | { readonly type: 'close' };

export type Action =
  | { readonly do: 'connect'; readonly transport: Transport }
  | { readonly do: 'send'; readonly commands: readonly Command[] }
  /** Of this connection nothing more is to be heard. */
  | { readonly do: 'drop' }
  /** There is one timer: this replaces it. */
  | { readonly do: 'timer'; readonly ms: number | undefined }
  /** After this time, or at once, another token is asked for. */
  | { readonly do: 'renew'; readonly ms: number }
  | { readonly do: 'told'; readonly link: Link; readonly told: Told }
  | { readonly do: 'failed'; readonly link: Link; readonly problem: Problem }
  /** Over HTTP, since this transport cannot carry it. */
  | { readonly do: 'request'; readonly call: Call }
  | { readonly do: 'answered'; readonly call: Call; readonly answer: Answer }
  | { readonly do: 'broken'; readonly call: Call; readonly why: 'offline' | 'unsure' | 'closed' };

export interface Settings {
  /** The transports that there are, the preferred one first. */
  readonly transports: readonly Transport[];
  /** Bytes of state that may be on their way (L10); 0 for any number. */
  readonly credit: number;
  /** Time that a connection is kept that nobody needs. */
  readonly linger: number;
  /** The token can be asked for again. */
  readonly renews?: boolean;
  /** A number in 0..1. */
  readonly random: () => number;
}
