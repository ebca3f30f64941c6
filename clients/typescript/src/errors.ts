/** Errors, for people and for programs. */

/** A server's problem document (RFC 9457, PROTOCOL X1). */
export interface Problem {
  readonly type?: string;
  readonly title?: string;
  readonly status?: number;
  readonly detail?: string;
  readonly hint?: string | undefined;
  readonly rev?: string;
  readonly [member: string]: unknown;
}

/** Names of problems: those of PROTOCOL section 7, and the client's own, which come first. */
export type ErrorType =
  /** Not sent: there was no connection in time. */
  | 'offline'
  /** Sent, and the connection broke before the answer: it may have happened or not. */
  | 'unsure'
  /** The API was closed, here. */
  | 'closed'
  /** The server ended the connection, and said why. */
  | 'ended'
  /** The answer cannot be understood: not a Halfping server, or a proxy's own page. */
  | 'bad-answer'
  /** An option, or the URL, with which nothing could ever work. */
  | 'bad-option'
  | 'bad-path'
  | 'bad-json'
  | 'duplicate-member'
  | 'bad-body'
  | 'bad-patch'
  | 'bad-parameter'
  | 'bad-header'
  | 'bad-command'
  | 'bad-view'
  | 'unknown-command'
  | 'unauthorized'
  | 'token-expired'
  | 'revoked'
  | 'forbidden'
  | 'reserved-path'
  | 'forbidden-origin'
  | 'not-found'
  | 'method-not-allowed'
  | 'not-an-object'
  | 'patch-failed'
  | 'precondition-failed'
  | 'body-too-large'
  | 'too-deep'
  | 'too-many-members'
  | 'key-too-long'
  | 'value-too-large'
  | 'path-too-deep'
  | 'path-too-long'
  | 'number-out-of-range'
  | 'write-rate'
  | 'command-rate'
  | 'too-many-links'
  | 'too-many-views'
  | 'too-many-tickets'
  | 'tree-full'
  | 'storage-full'
  | 'storage-failed'
  | 'draining'
  | 'too-many-connections'
  | 'unknown-parameter'
  | 'not-a-stream'
  | 'unknown-link'
  | 'read-only'
  | 'not-open'
  | 'identity-unavailable'
  | 'not-acceptable'
  | 'body-timeout'
  | 'link-in-use'
  | 'unsupported-media-type'
  | 'misdirected-request'
  | 'websocket-version'
  | 'unsupported-transfer-coding'
  | 'buffers-full'
  | 'internal'
  | (string & {});

/** Every error of this library. `type` says which. */
export class HalfpingError extends Error {
  override readonly name = 'HalfpingError';

  /** Stable: compare this. */
  declare readonly type: ErrorType;
  /** The event that went wrong, and its place. */
  declare readonly detail: string;
  /** The document that says so, as it came if it was the server's. */
  declare readonly problem: Problem;
  /** The status that HTTP would have; 0 for errors of the client's own. */
  declare readonly status: number;
  /** The remedy. */
  declare readonly hint: string | undefined;
  /** The resource's present cursor, as a failed `ifMatch` tells it. */
  declare readonly rev: string | undefined;

  constructor(type: ErrorType, detail: string, problem: Problem = {}) {
    const { status = 0, rev } = problem;
    // The server speaks of a header, or of a command; here it is an option.
    const hint = problem.hint?.replace(/send \S+ (\*|null)/, 'say { ifMatch: null }');
    super(hint ? `${detail} (${hint})` : detail);
    this.type = type;
    this.detail = detail;
    this.problem = problem;
    this.status = status;
    this.hint = hint;
    this.rev = rev;
  }

  /** @internal */
  static of(problem: Problem): HalfpingError {
    const type = String(problem.type ?? 'bad-answer').replace('urn:halfping:problem:', '');
    return new HalfpingError(type, problem.detail ?? problem.title ?? type, problem);
  }
}
