/**
 * Takes the server's part of a conversation file beneath the library (conformance/conversations/README.md): what the file says that the
 * application asks, the library is asked; what it says that the client says, the library has to say; what the server says is said to it.
 */
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { vi } from 'vitest';
// @ts-expect-error: it has no types
import { Fault, Names, parse, pattern } from '../../../../conformance/lib/conversation.mjs';
import { type Api, connect, type HalfpingError, type Live } from '../../src/index.js';
import { applied } from '../../src/value.js';
import { difference, World } from './world.js';

const NAME = '\u0000name';
const MORE = '\u0000more';
/** Commands that a client may bring in whenever it likes. */
const ASIDES = ['credit', 'ack', 'auth'];

interface Step {
  at: number;
  line: string;
  speaker: string;
  word: string;
  rest: string;
  more: string[];
}

/** The client's words on one connection, and the answers to them. */
interface Connection {
  readonly said: any[];
  readonly closed: number | undefined;
  opened(): void;
  say(message: unknown): void;
  /** It breaks, or is closed with a code. */
  end(code?: number): void;
}

const connections: Connection[] = [];
const isSaid = (command: object) => !ASIDES.some((aside) => aside in command);

/** A socket that the player holds the other end of. */
class Socket implements Connection {
  onopen: ((event: unknown) => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  onerror: ((event: unknown) => void) | null = null;
  readonly said: any[] = [];
  closed: number | undefined;

  constructor(
    readonly url: string,
    readonly protocol: string,
  ) {
    if (url !== 'ws://server.test/') throw new Error(`it connects to ${url}`);
    if (protocol !== 'halfping.v1') throw new Error(`it offers ${protocol}`);
    connections.push(this);
  }

  send(text: string): void {
    this.said.push(...[JSON.parse(text)].flat().filter(isSaid));
  }

  close(code = 1005): void {
    this.closed = code;
  }

  opened = () => this.onopen?.({});
  say = (message: unknown) => this.onmessage?.({ data: JSON.stringify(message) });
  end = (code = 1006) => void (this.closed === undefined && this.onclose?.({ code }));
}

/** The same of a session that is heard only once. */
class Stream implements Connection {
  readonly said: any[];
  closed: number | undefined;
  #sink!: ReadableStreamDefaultController<Uint8Array>;
  readonly body = new ReadableStream<Uint8Array>({ start: (sink) => void (this.#sink = sink) });

  constructor(url: string, { method, body, signal, headers }: RequestInit) {
    if (method !== 'POST' || url !== 'http://server.test/_streams') throw new Error(`it asks for ${method} ${url}`);
    if (new Headers(headers).get('content-type') !== 'application/json') throw new Error('its body has no type');
    this.said = (JSON.parse(String(body)) as object[]).filter(isSaid);
    signal?.addEventListener('abort', () => (this.closed = 1000));
    connections.push(this);
  }

  static fetch = async (url: unknown, init: RequestInit = {}) => {
    const { body } = new Stream(String(url), init);
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  };

  opened = () => this.#write('retry: 700\n:\n');
  say = (message: any) => this.#write(`data: ${JSON.stringify(message)}\n${message.synced ? `id: ${message.rev}\n` : ''}\n`);
  end = () => void (this.closed === undefined && this.#sink.close());
  #write = (text: string) => void (this.closed === undefined && this.#sink.enqueue(new TextEncoder().encode(text)));
}

/** The number of times that an optional step comes. */
export type Variant = 0 | 1 | 2;

export class Player {
  readonly #steps: Step[];
  readonly #names = new Names();
  readonly #world = new World();
  readonly #variant: Variant;
  #api!: Api;
  #socket: Connection | undefined;
  #sockets = 0;
  /** By the name or number that the file gives a link. */
  readonly #lives = new Map<string, Live>();
  /** By the library's number: what the link shows, and what it was last sent. */
  readonly #links = new Map<number, { path: string; depth?: number; sent: unknown }>();
  readonly #problems: HalfpingError[] = [];
  /** Wishes of the application that the client did not yet have to say. */
  #asked: string[] = [];

  constructor(file: string, variant: Variant) {
    this.#steps = parse(file).steps;
    this.#variant = variant;
  }

  async play(): Promise<void> {
    vi.useFakeTimers();
    connections.length = 0;
    const isStream = this.#steps.some(({ word, rest }) => word === 'open' && rest.startsWith('events'));
    const token = /^auth "(.*)"$/.exec(this.#steps.find(({ word, rest }) => word === 'do' && rest.startsWith('auth'))?.rest ?? '')?.[1];
    if (token !== undefined) ASIDES.splice(ASIDES.indexOf('auth'), 1);
    this.#api = connect('http://server.test/', {
      WebSocket: Socket,
      fetch: Stream.fetch as typeof fetch,
      transport: isStream ? 'events' : 'websocket',
      token,
      onError: (error) => this.#problems.push(error as HalfpingError),
    });
    try {
      for (const [index, step] of this.#steps.entries()) {
        if (step.speaker !== 'client' && step.word !== 'write') continue;
        try {
          await this.#step(step, index);
          // Wishes that stand together are said in one breath.
          if (step.word !== 'do' || this.#steps[index + 1]?.word !== 'do') await vi.advanceTimersByTimeAsync(0);
        } catch (error) {
          throw new Error(`line ${step.at}: ${step.line.slice(0, 200)}\n${(error as Error).message}`);
        }
      }
      this.#nothingMore();
    } finally {
      this.#api.close();
      if (token !== undefined) ASIDES.push('auth');
      vi.useRealTimers();
    }
  }

  async #step(step: Step, index: number): Promise<void> {
    switch (step.word) {
      case 'write':
        return this.#write(step);
      case 'open':
        return this.#open(step, index);
      case 'do':
        return this.#do(step.rest, step);
      case '>':
        return this.#heard(step);
      case '<':
        return this.#say(step);
      case '<?':
        if (this.#comes(index)) await this.#say(step);
        return;
      case '<*':
        // Before it is quiet everything has come.
        for (let time = this.#steps[index + 1]?.word === 'quiet' ? -1 : 0; time < this.#variant; time++) await this.#say(step);
        return;
      case 'cut':
        this.#socket!.end();
        return;
      case 'passes':
        await vi.advanceTimersByTimeAsync(parseInt(step.rest, 10));
        return;
      case 'quiet':
        await vi.advanceTimersByTimeAsync(50);
        return this.#nothingMore();
      case 'mirror':
        return this.#mirror(step);
      case 'told':
        return this.#told(step.rest);
      case 'drain':
      case 'until':
      case 'there':
        return; // the server's own affairs
      default:
        throw new Error(`a client's player does not know \`${step.word}\``);
    }
  }

  /** Of several that may come one after the other, one has to. */
  #comes(index: number): boolean {
    const isMaybe = (at: number) => this.#steps[at]?.word === '<?';
    if (!isMaybe(index - 1) && !isMaybe(index + 1)) return this.#variant > 0;
    return this.#variant === 2 || (this.#variant === 0 ? !isMaybe(index + 1) : !isMaybe(index - 1));
  }

  #write(step: Step): void {
    const [, bound, method, path, body] = /^(?:(\$\w+) )?([A-Z]+) (\S+)(?: (.*))?$/.exec(step.rest)!;
    this.#world.write(method!, path!, body === undefined ? undefined : JSON.parse(body));
    if (bound) this.#names.set(bound, this.#world.rev);
  }

  /** A library connects when it is asked for something: that may stand after this in the file, which does not tell why a connection is made. */
  async #open(step: Step, index: number): Promise<void> {
    const [, target = '/'] = step.rest.split(' ');
    const url = new URL(target, 'ws://server.test');
    const isFirst = this.#sockets === 0;
    if (url.searchParams.has('watch') && isFirst) {
      const said = (name: string) => url.searchParams.get(name);
      const shape = ['rate', 'depth', 'delta', 'priority', 'limit', 'count'].flatMap((name) => (said(name) === null ? [] : `${name}=${said(name)}`));
      shape.push(...['where', 'select', 'order'].flatMap((name) => (said(name) === null ? [] : `${name}=${JSON.stringify(said(name))}`)));
      this.#do(['watch', '0', url.pathname, ...shape].join(' '), step);
      this.#asked = [];
    } else if (isFirst) {
      const first = this.#steps.slice(index).find((one) => one.speaker === 'client' && (one.word === '>' || one.word === 'do'));
      if (first?.word === 'do') this.#early(first);
      else if (first) this.#ask(first);
    }
    // A client that comes back may take its time.
    for (let ms = 0; ms < 20_000 && connections.length === this.#sockets; ms += 50) await vi.advanceTimersByTimeAsync(50);
    if (connections.length === this.#sockets) throw new Error('the client does not connect');
    this.#socket = connections.at(-1)!;
    this.#sockets = connections.length;
    this.#socket.opened();
    if (!url.searchParams.has('watch')) return;
    // What stands in the file's query has to be in the first command.
    await vi.advanceTimersByTimeAsync(0);
    const since = url.searchParams.get('since');
    const command = this.#next('a watch');
    const expected = since === null ? undefined : this.#names.fillPlain(since, step);
    if (command.since !== expected) throw new Error(`it resumes from ${command.since}, not from ${expected}`);
    this.#opened(command.watch, '0', command);
    this.#emit({ ref: command.ref, status: 200 });
  }

  /** The application's wishes that stand together, all at once: so a library may say them in one message. */
  #early(first: Step): void {
    const from = this.#steps.indexOf(first);
    for (const step of this.#steps.slice(from)) {
      if (step.word !== 'do') break;
      this.#do(step.rest, step);
      step.word = 'until'; // done
    }
  }

  #do(text: string, step: Step): void {
    const [what, ...words] = text.split(' ');
    this.#asked.push(text);
    if (what === 'auth') return; // it is the API's from the start
    if (what === 'close') return this.#api.close();
    if (what === 'unwatch') {
      const live = this.#lives.get(words[0]!)!;
      this.#lives.delete(words[0]!);
      return live.close();
    }
    if (what === 'watch') {
      const [id, path] = words as [string, string];
      const options = text.matchAll(/ (\w+)=("(?:[^"\\]|\\.)*"(?= |$)|\S+)/g);
      // Of views, the files have the text itself.
      const isText = (name: string, value: string) => /where|select|order/.test(name) && !value.startsWith('"');
      const shape = Object.fromEntries(Array.from(options, ([, name, value]) => [name!, isText(name!, value!) ? value : JSON.parse(value!)]));
      this.#lives.set(id, this.#api.live(path, { ...shape, onError: (error) => this.#problems.push(error) }));
      return;
    }
    const condition = / if=(\S+)$/.exec(text)?.[1];
    const body = text.slice(what!.length + words[0]!.length + 2).replace(/ if=\S+$/, '');
    this.#call(what!, words[0]!, body === '' ? undefined : JSON.parse(body), condition === undefined ? {} : { ifMatch: condition === 'null' ? null : this.#names.fillPlain(condition, step) });
  }

  #call(what: string, path: string, value: unknown, options: object): void {
    const api = this.#api as any;
    const done: Promise<unknown> = what === 'get' ? api.get(path, value ?? {}) : what === 'delete' ? api.delete(path, options) : api[what](path, value, options);
    done.catch((error: HalfpingError) => this.#problems.push(error));
  }

  /** Makes the application ask for what the client is to say, where the file does not say that it does. */
  #ask(step: Step): void {
    const commands = [pattern(step.rest, step)].flat();
    for (const command of commands) {
      if ('watch' in command) {
        const { watch, path, since, ref, ...shape } = command;
        for (const [id, at] of Array.isArray(watch) ? watch : [[watch, path]]) {
          const options = Object.entries(shape).map(([name, value]) => ` ${name}=${JSON.stringify(value)}`);
          this.#do(`watch ${nameOf(id)} ${at}${options.join('')}`, step);
        }
      } else if ('unwatch' in command) {
        for (const id of [command.unwatch].flat()) this.#do(`unwatch ${nameOf(id)}`, step);
      } else {
        const what = Object.keys(command).find((name) => ['get', 'put', 'merge', 'patch', 'delete', 'post'].includes(name))!;
        const condition = command.if === undefined ? {} : { ifMatch: isName(command.if) ? this.#names.get(command.if[NAME]) : command.if };
        const { [what]: at, value, if: _, ref, ...shape } = command;
        this.#call(what, at, what === 'get' ? shape : value, condition);
      }
    }
    (step as { asked?: boolean }).asked = true;
    this.#asked.push(step.line);
  }

  async #heard(step: Step): Promise<void> {
    if (step.rest.startsWith('close')) {
      const code = Number(step.rest.slice(6) || 1005);
      if (this.#socket!.closed !== code) throw new Error(`it closed with ${this.#socket!.closed}`);
      return;
    }
    if (step.rest.startsWith('pong')) return; // every WebSocket does that by itself
    if (this.#asked.length === 0 && this.#socket!.said.length === 0) {
      this.#ask(step);
    }
    this.#asked = [];
    await vi.advanceTimersByTimeAsync(0);
    for (const expected of [pattern(step.rest, step)].flat()) {
      const { ref, ...wanted } = expected;
      const items = 'watch' in wanted && Array.isArray(wanted.watch) ? wanted.watch.map(([watch, path]: [unknown, string]) => ({ ...wanted, watch, path })) : 'unwatch' in wanted ? [wanted.unwatch].flat().map((unwatch: unknown) => ({ unwatch })) : [wanted];
      for (const item of items) {
        const said = this.#next(step.rest);
        if (ref && said.ref !== undefined) this.#names.set(nameOf(ref), said.ref);
        this.#compare(item, said, step);
        if (!ref && said.ref !== undefined) this.#emit({ ref: said.ref, status: 200 });
      }
    }
  }

  /** The next of what the client said; a list of links comes one by one. */
  #next(what: string): any {
    const { said } = this.#socket!;
    const command = said.shift();
    if (!command) throw new Error(`the client says nothing, and should say ${what}`);
    if (!Array.isArray(command.watch)) return command;
    const [[watch, path], ...rest] = command.watch;
    if (rest.length > 0) said.unshift({ ...command, watch: rest });
    return { ...command, watch, path };
  }

  #compare(wanted: any, said: any, step: Step): void {
    if ('watch' in wanted) {
      this.#opened(said.watch, nameOf(wanted.watch), said);
      const { watch: _, ...options } = said;
      const { watch: __, priority, ...expected } = wanted;
      delete options.ref;
      const filled = { ...expected, ...(priority ? { priority } : {}), ...(expected.since === undefined ? {} : { since: isName(expected.since) ? this.#names.get(expected.since[NAME]) : expected.since }) };
      same(options, filled);
    } else if ('unwatch' in wanted) {
      same(said.unwatch, this.#names.get(nameOf(wanted.unwatch)) ?? this.#ids.get(nameOf(wanted.unwatch)));
    } else {
      const { ref: _, ...command } = said;
      const difference = this.#names.compare(wanted, command);
      if (difference) throw new Error(`${difference}; it said ${JSON.stringify(said)}`);
      this.#effect(command, step);
    }
  }

  readonly #ids = new Map<string, number>();

  #opened(id: number, name: string, { path, depth }: any): void {
    if (name.startsWith('$')) this.#names.set(name, id);
    this.#ids.set(name, id);
    this.#links.set(id, { path, depth, sent: this.#links.get(id)?.sent });
  }

  #effect(command: any, step: Step): void {
    // Whether it succeeds stands in the answer.
    const answer = this.#steps.slice(this.#steps.indexOf(step)).find((one) => one.word === '<');
    if (/"status":4/.test(answer?.rest ?? '')) return;
    const what = ['put', 'merge', 'patch', 'delete', 'post'].find((name) => name in command);
    if (what && !isDeepStrictEqual(this.#world.at(command[what]), command.value)) this.#world.write(what.toUpperCase(), command[what], command.value);
  }

  async #say(step: Step): Promise<void> {
    if (step.rest === 'end') return this.#socket!.end();
    if (/^(opened|ping|pong|refused)/.test(step.rest)) return;
    const close = /^close (\d+)/.exec(step.rest)?.[1];
    if (close !== undefined) {
      this.#socket!.end(Number(close));
      return;
    }
    const wanted = pattern(step.rest, step);
    const ref = wanted.ref && this.#names.get(nameOf(wanted.ref));
    if (wanted.ref && ref === undefined) return; // the client did not ask for an answer
    this.#emit(this.#filled(wanted, step));
    await vi.advanceTimersByTimeAsync(0);
  }

  /** The file's message with a value for everything that it leaves open. */
  #filled(wanted: any, step: Step): any {
    const message = this.#plain(wanted, step);
    if ('ref' in wanted) return { ...message, status: message.status };
    if (!('rev' in wanted)) return message;
    if (message.t === '*') message.t = Date.now();
    message.set &&= wanted.set.filter((one: any) => !(MORE in one)).map((entry: any) => this.#entry(entry));
    return message;
  }

  #entry([wantedId, wantedKind, wantedBody, more]: any[]): any[] {
    const id: number = isName(wantedId) ? this.#names.get(nameOf(wantedId)) : (this.#ids.get(String(wantedId)) ?? wantedId);
    const link = this.#links.get(id);
    if (!link) throw new Error(`there is no link ${id}`);
    const now = this.#world.at(link.path, link.depth);
    const isAny = typeof wantedKind === 'object';
    const kind = isAny ? (now === undefined ? 'gone' : 'snapshot') : wantedKind;
    const isOpen = isAny || hasOpen(wantedBody);
    let body = wantedBody;
    if (isOpen && more === 'more') body = kind === 'snapshot' ? {} : {};
    else if (isOpen && kind === 'merge') body = difference(link.sent, now);
    else if (isOpen) body = now;
    try {
      link.sent = applied(structuredClone(link.sent), kind, structuredClone(body));
    } catch {
      // A file may want to see what the client makes of that.
    }
    return [id, kind, ...(kind === 'gone' ? [] : [body]), ...(more ? [more] : [])];
  }

  #plain(wanted: any, step: Step): any {
    if (Array.isArray(wanted)) return wanted;
    return Object.fromEntries(
      Object.entries<any>(wanted)
        .filter(([name]) => name !== MORE)
        .map(([name, value]) => [name, name === 'link' ? (this.#ids.get(nameOf(value)) ?? value) : isName(value) ? this.#named(value[NAME], name, step) : isPlainObject(value) && name === 'error' ? this.#plain(value, step) : value]),
    );
  }

  #named(name: string, member: string, step: Step): unknown {
    if (name === '*') return member === 'rev' ? this.#world.rev : member === 't' ? Date.now() : member === 'path' ? '/list/x' : '…';
    const known = this.#names.get(name);
    if (known !== undefined) return known;
    const value = name.startsWith('$rev') ? this.#world.rev : name.startsWith('$t') ? Date.now() : name.startsWith('$key') ? '/list/x' : undefined;
    if (value === undefined) throw new Fault(step, `${name} has no value`);
    this.#names.set(name, value);
    return value;
  }

  #emit(message: unknown): void {
    this.#socket!.say(message);
  }

  #mirror(step: Step): void {
    const [name, ...words] = step.rest.split(' ');
    const expected = words.join(' ') === 'nothing' ? undefined : JSON.parse(this.#names.fill(words.join(' '), step));
    same(this.#lives.get(name!)!.value, expected);
  }

  #told(text: string): void {
    const [what, ...words] = text.split(' ');
    if (what === 'synced' && !this.#api.status.synced) throw new Error('the library does not say that it is in step');
    if (what === 'error' && !this.#problems.some((problem) => problem.type === words[1])) throw new Error(`the problems told are ${this.#problems}`);
    if (what === 'closed' && this.#api.status.state === 'live') throw new Error('the library says that it is live');
  }

  #nothingMore(): void {
    const said = this.#socket?.said ?? [];
    if (said.length > 0) throw new Error(`it should say nothing more, and says ${JSON.stringify(said)}`);
  }
}

const isName = (value: any): boolean => typeof value === 'object' && value !== null && NAME in value;
const nameOf = (value: any): string => (isName(value) ? value[NAME] : String(value));
const isPlainObject = (value: any): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);
const hasOpen = (value: any): boolean => isName(value) || (typeof value === 'object' && value !== null && (MORE in value || Object.values(value).some(hasOpen)));

function same(actual: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(actual, expected)) throw new Error(`expected ${JSON.stringify(expected)}\ngot      ${JSON.stringify(actual)}`);
}

/** The side that a file is for. */
export const sideOf = (file: string): string => /^for (\w+)/m.exec(readFileSync(file, 'utf8'))?.[1] ?? 'both';
