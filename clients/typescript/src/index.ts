/**
 * Event listeners for remote state: the client of Halfping.
 *
 * ```ts
 * const api = connect('https://example.org/live');
 * const stop = api.on('/orders/42', (order) => render(order));
 * await api.put('/orders/42/status', 'shipped');
 * ```
 *
 * @module
 */

export { Api, connect } from './api.js';
export type { Options, Patch, WriteOptions, Written } from './api.js';
export type { Change } from './change.js';
export { HalfpingError } from './errors.js';
export type { ErrorType, Problem } from './errors.js';
export { Live } from './live.js';
export type { Phase, Transport } from './terms.js';
export { path } from './paths.js';
export type { At, Name, PathOf, Shown } from './paths.js';
export type { Identity, ReadOptions, Shape } from './protocol.js';
export type { Handler, Status, WatchOptions } from './reader.js';
export { sorted } from './sorted.js';
export type { Json, Operation } from './value.js';
export type { WebSocketConstructor, WebSocketLike } from './wire.js';
