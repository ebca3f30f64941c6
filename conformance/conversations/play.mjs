// Plays the client's part of one conversation with the real binary, and says where the server does not keep to it.
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { applied } from '../clients/follower.mjs';
import { Fault, Names, pattern, shorten } from '../lib/conversation.mjs';
import { JSON_PATCH, JSON_TYPE, MERGE_PATCH, send } from '../lib/http.mjs';
import { startServer } from '../lib/server.mjs';
import { CARRIERS, openWebSocket } from '../lib/websocket.mjs';

const DEADLINE_MS = 10_000;
/** The formats of streams; a session that is heard only once travels on either. */
export const FORMATS = { sse: 'text/event-stream', ndjson: 'application/x-ndjson' };

/** The token of whoever writes and looks aside from the conversation, where there are rules. It may do everything. */
const WRITER = 'writer';

const SHOWN_MAX = 1_000; // characters of a message in a failure

/** One file, played once. */
export class Play {
  heard = []; // what was said so far, for whoever reads a failure
  #names = new Names();
  #speakers = new Map();

  constructor({ conversation, carrier }) {
    this.conversation = conversation;
    this.carrier = CARRIERS[carrier];
    this.format = carrier;
  }

  async all() {
    const { conversation } = this;
    const folder = mkdtempSync(join(tmpdir(), 'halfping-'));
    const config = join(folder, 'halfping.toml');
    writeFileSync(config, toml(conversation));
    this.server = await startServer('--config', config);
    try {
      for (const [index, step] of conversation.steps.entries()) await this.#step(step, index);
      for (const speaker of this.#speakers.values()) await this.#finish(speaker);
      const complaint = this.server.complaint();
      if (complaint) throw new Error(complaint);
    } finally {
      for (const speaker of this.#speakers.values()) speaker.leave?.();
      await this.server.stop();
      rmSync(folder, { recursive: true });
    }
  }

  get #writer() {
    return this.conversation.rules.length > 0 ? WRITER : undefined;
  }

  async #step(step, index) {
    const { word, rest } = step;
    const speaker = this.#speaker(step);
    if (word !== '<?' && word !== '<*') await this.#settle(speaker, step);
    switch (word) {
      case 'write':
        return this.#write(step);
      case 'there':
        return this.#there(step);
      case 'open':
        return this.#open(step, speaker);
      case '>':
        return this.#say(step, speaker);
      case '<':
        return this.#hear(step, speaker);
      case '<?':
      case '<*':
        return void speaker.perhaps.push(step);
      case 'mirror':
        return this.#mirror(step, speaker);
      case 'passes':
        return pause(Number(/^(\d+) ms$/.exec(rest)?.[1] ?? broken(step, 'say so: passes 100 ms')));
      case 'cut':
        speaker.leave();
        speaker.leave = speaker.socket = undefined;
        speaker.inbox = [];
        return;
      case 'drain':
        return this.server.begin();
      case 'until':
        return this.#until(step);
      case 'quiet':
        return this.#quiet(step, speaker);
      case 'do':
      case 'told':
        return; // A client library's: here the file says itself what is sent, and what came was compared.
      default:
        throw new Fault(step, `this player does not know ${word}`);
    }
  }

  /** Optional messages end where the speaker's next step is not about what the server says. */
  async #settle(speaker, step) {
    if (step.word !== '<' && speaker.perhaps.length > 0 && ['>', 'mirror', 'quiet', 'cut'].includes(step.word)) {
      if (speaker.socket) await this.#quiet(step, speaker);
      speaker.perhaps = [];
    }
  }

  #speaker({ speaker: name }) {
    if (!this.#speakers.has(name)) this.#speakers.set(name, { name, inbox: [], perhaps: [], mirrors: new Map() });
    return this.#speakers.get(name);
  }

  #note(speaker, arrow, text) {
    this.heard.push(`${speaker.name === 'client' ? '' : `${speaker.name}: `}${arrow} ${shorten(text, 300)}`);
  }

  async #open(step, speaker) {
    const [kind, target] = step.rest.split(' ');
    speaker.leave?.();
    speaker.leave = undefined;
    speaker.inbox = [];
    speaker.links = new Set();
    speaker.parts = new Set();
    speaker.rev = undefined;
    speaker.unwatching = new Map();
    speaker.answer = speaker.socket = speaker.asked = undefined;
    // A file in which the server pings answers by itself; else it is done as every client does it.
    const mentioned = this.conversation.steps.some((one) => one.speaker === speaker.name && /^<\S? ping/.test(`${one.word} ${one.rest}`));
    const whole = kind === 'events' ? messagesOf(this.format) : (item) => [item];
    const receive = (came) => {
      if (came.type === 'ping' && !mentioned) return speaker.socket.pong(came.text);
      for (const item of whole(came)) take(item);
    };
    const opening = (speaker.opening = {});
    const take = (item) => {
      if (speaker.opening !== opening) return; // of one that the client has let go of
      speaker.inbox.push(item);
      speaker.wake?.();
    };
    const headers = {};
    for (const line of step.more) {
      const absent = /^! (\S+)$/.exec(line)?.[1];
      const [, name, value] = /^(\S+): (.*)$/.exec(line) ?? [];
      headers[absent ?? name ?? broken(step, `no header: ${line}`)] = absent ? null : this.#names.fillPlain(value, step);
    }
    const asked = { port: this.server.port, target: this.#names.fillPlain(target, step), headers, receive };
    this.#note(speaker, 'open', asked.target);
    speaker.kind = kind;
    speaker.event = { lines: {} };
    if (kind === 'ws') {
      speaker.answer = await openWebSocket({ ...asked, carrier: this.carrier }).catch((error) => broken(step, error.message));
      speaker.socket = speaker.answer.socket;
      speaker.leave = () => speaker.socket?.cut();
      const watched = new URL(asked.target, 'http://a').searchParams.has('watch');
      if (watched) speaker.links.add(0);
    } else if (kind === 'events') {
      // It is opened by what is said on it.
      speaker.asked = { ...asked, method: 'POST', headers: { accept: FORMATS[this.format], 'content-type': JSON_TYPE, ...headers } };
    } else {
      const accept = FORMATS[kind] ?? broken(step, `no transport: ${kind}`);
      speaker.answer = await openStream({ ...asked, headers: { accept, ...headers } }).catch((error) => broken(step, error.message));
      speaker.leave = speaker.answer.leave;
    }
    speaker.path = new URL(asked.target, 'http://a').pathname;
  }

  /** Sends, and what was sent before and waits for nothing goes along with it. */
  #say(step, speaker) {
    const socket = speaker.asked ? { text: (body) => this.#openWith(body, step, speaker) } : speaker.socket;
    if (!socket) throw new Fault(step, 'nothing is open to say it on');
    const [word, ...words] = step.rest.split(' ');
    const rest = words.join(' ');
    this.#note(speaker, '>', step.rest);
    const hex = (text) => Buffer.from(text.replaceAll(' ', ''), 'hex');
    switch (word) {
      case 'text':
        return socket.text(this.#names.fill(rest, step));
      case 'part':
        return socket.text(this.#names.fill(rest, step), { last: false });
      case 'binary':
        return socket.frame(2, hex(rest));
      case 'bytes':
        return socket.bytes(hex(rest));
      case 'ping':
        return socket.ping(rest);
      case 'pong':
        return socket.pong(rest);
      case 'close':
        speaker.closing = true;
        return socket.close(rest === '' ? undefined : Number(rest));
      default: {
        const text = this.#names.fill(step.rest, step);
        const said = (() => {
          try {
            return JSON.parse(text);
          } catch (error) {
            return broken(step, `not JSON (\`> text\` sends other things): ${error.message}`);
          }
        })();
        for (const command of [said].flat()) this.#noteCommand(speaker, command);
        return socket.text(text);
      }
    }
  }

  /** Opens a session that is heard only once. */
  async #openWith(body, step, speaker) {
    const asked = { ...speaker.asked, body };
    speaker.asked = undefined;
    speaker.answer = await openStream(asked).catch((error) => broken(step, error.message));
    speaker.leave = speaker.answer.leave;
  }

  /** The links that there may be after a command, so that state of another is found out. */
  #noteCommand(speaker, command) {
    if (command === null || typeof command !== 'object') return;
    speaker.rated ||= 'rate' in command;
    for (const id of 'watch' in command ? ids(command.watch) : []) {
      speaker.links.add(id);
      // In use again before the answer about its end: whose state comes then cannot be told apart.
      for (const [number, ended] of speaker.unwatching) speaker.unwatching.set(number, ended.filter((one) => one !== id));
    }
    if ('unwatch' in command && 'ref' in command) speaker.unwatching.set(command.ref, [command.unwatch].flat());
  }

  async #hear(step, speaker) {
    if (step.rest.startsWith('opened') || step.rest.startsWith('refused')) return this.#heading(step, speaker);
    const patience = [...speaker.perhaps];
    speaker.perhaps = [];
    for (;;) {
      const item = await this.#next(speaker, step, step.rest);
      const difference = this.#agrees(step, item, speaker);
      if (difference === undefined) return this.#take(speaker, item, step);
      const at = patience.findIndex((maybe) => this.#agrees(maybe, item, speaker) === undefined);
      if (at < 0) {
        const others = patience.map(({ rest }) => `\nor       ${rest}`).join('');
        throw new Fault(step, `expected ${shorten(this.#filled(step), SHOWN_MAX)}${others}\ngot      ${shown(item)}\ndiffers  ${difference}`);
      }
      await this.#take(speaker, item, patience[at]);
      // Those before it did not come.
      patience.splice(0, patience[at].word === '<*' ? at : at + 1);
    }
  }

  /** The expectation with the values that its names have by now. */
  #filled(step) {
    return step.rest.replace(/\$\w+/g, (name) => (this.#names.get(name) === undefined ? name : JSON.stringify(this.#names.get(name))));
  }

  #agrees(step, item, speaker) {
    const [word, ...words] = step.rest.split(' ');
    const rest = words.join(' ');
    if (word === 'end') return item.type === 'end' && item.clean ? undefined : 'it does not end here, or not well';
    if (word === 'ping' || word === 'pong') {
      return item.type !== word ? `it is no ${word}` : rest === '' ? undefined : this.#names.compareText(rest, item.text);
    }
    if (word === 'close') return item.type === 'close' && item.code === Number(rest) ? undefined : `it should be a close with ${rest}`;
    if (speaker.kind === 'sse') return item.type !== 'line' ? 'it is no line' : this.#names.compareText(step.rest, item.text);
    if (item.type !== 'text' && item.type !== 'line') return 'it is no message';
    let value;
    try {
      value = JSON.parse(item.text);
    } catch (error) {
      return `it is not JSON: ${error.message}`;
    }
    return this.#names.compare(pattern(step.rest, step), value);
  }

  /** Draws conclusions from what came: mirrors, links, the end. */
  async #take(speaker, item, step) {
    if (speaker.kind === 'sse') return this.#takeLine(speaker, item.text ?? '', step);
    if (item.type === 'close') {
      if (!speaker.closing) speaker.socket.close(item.code);
      speaker.closed = true;
      const end = await this.#next(speaker, step, 'the end of the connection after the close frame');
      if (end.type !== 'end') throw new Fault(step, `after the close frame came ${shown(end)}`);
      speaker.socket.end();
      speaker.leave = undefined;
      speaker.socket = undefined;
      return;
    }
    if (item.type !== 'text' && item.type !== 'line') return;
    const message = JSON.parse(item.text);
    if (speaker.kind === 'ndjson') {
      if (message.kind !== 'synced' && message.kind !== 'error') this.#apply(speaker, step, message.path ?? speaker.path, message.kind, message.value);
      return;
    }
    if ('id' in item && item.id !== (message.synced ? message.rev : undefined)) {
      throw new Fault(step, `the event should have its rev as its id when it is synced, and no id else (PROTOCOL M4)\ngot      id ${item.id}`);
    }
    if (item.packed && item.text.length < 64) throw new Fault(step, 'so small a message is not worth compressing (PROTOCOL L12)');
    if (message.status === 200 && speaker.unwatching.has(message.ref)) {
      for (const id of speaker.unwatching.get(message.ref)) speaker.links.delete(id);
    }
    if (!('ref' in message) && 'rev' in message) this.#takeState(speaker, step, message);
  }

  #takeState(speaker, step, { rev, set = [], synced }) {
    const number = (cursor) => Number(cursor.slice(cursor.lastIndexOf('.') + 1));
    // With a rate, `rev` may be as old as what the link shows that waits (PROTOCOL L6). Sealed cursors have no order (I27).
    const isSealed = (cursor) => /\.[\w-]{22}$/.test(cursor);
    if (speaker.rev && !speaker.rated && !isSealed(rev) && !isSealed(speaker.rev) && !(number(rev) >= number(speaker.rev))) throw new Fault(step, `the cursor went back, from ${speaker.rev} to ${rev}`);
    speaker.rev = rev;
    for (const [id, kind, body, more] of set) {
      if (!speaker.links.has(id)) throw new Fault(step, `link ${id} was told of, which is not open (PROTOCOL L4)`);
      if (kind === 'error') speaker.links.delete(id);
      else this.#apply(speaker, step, id, kind, body);
      if (more === 'more') speaker.parts.add(id);
      else speaker.parts.delete(id);
    }
    if (synced && speaker.parts.size > 0) throw new Fault(step, `synced, and link ${[...speaker.parts][0]} has parts missing (PROTOCOL L6)`);
  }

  #takeLine(speaker, line, step) {
    const [, field, text] = /^(\w+): ?(.*)$/.exec(line) ?? [];
    const { lines } = speaker.event;
    if (field) lines[field] = text;
    if (line !== '' || lines.data === undefined) return;
    speaker.event = { lines: {} };
    const kind = lines.event ?? 'snapshot';
    const body = JSON.parse(lines.data);
    const inside = body !== null && typeof body === 'object' && 'kind' in body && ('t' in body || 'rev' in body);
    if (kind === 'synced' || kind === 'error') return;
    this.#apply(speaker, step, (inside && body.path) || speaker.path, kind, inside ? body.value : body);
  }

  #apply(speaker, step, key, kind, body) {
    try {
      speaker.mirrors.set(key, applied(structuredClone(speaker.mirrors.get(key)), kind, body));
    } catch (error) {
      throw new Fault(step, `a ${kind} does not apply to ${JSON.stringify(speaker.mirrors.get(key))}: ${error.message}`);
    }
  }

  #mirror(step, speaker) {
    const [name, ...words] = step.rest.split(' ');
    const expected = words.join(' ') === 'nothing' ? undefined : JSON.parse(this.#names.fill(words.join(' '), step));
    const key = name.startsWith('/') ? name : name.startsWith('$') ? this.#names.choose(name, step) : Number(name);
    const value = speaker.mirrors.get(key);
    if (!isDeepStrictEqual(value, expected)) {
      throw new Fault(step, `the mirror should be ${JSON.stringify(expected) ?? 'nothing'}\nand is           ${JSON.stringify(value) ?? 'nothing'}`);
    }
  }

  async #heading(step, speaker) {
    const { status, headers, body } = speaker.answer ?? broken(step, 'nothing was opened');
    const [word, ...words] = step.rest.split(' ');
    const got = `${status} ${JSON.stringify(headers)} ${shorten(body ?? '')}`;
    const opened = speaker.kind === 'ws' ? (this.carrier.http === 2 ? 200 : 101) : 200;
    if (word === 'opened' && status !== opened) throw new Fault(step, `expected ${opened}\ngot      ${got}`);
    if (word === 'refused') {
      const type = /"type":"urn:halfping:problem:([a-z-]+)"/.exec(body ?? '')?.[1];
      if (status !== Number(words[0]) || (words[1] && type !== words[1])) throw new Fault(step, `got ${got}`);
    }
    for (const line of step.more) {
      const absent = /^! (\S+)$/.exec(line)?.[1];
      const [, name, value] = /^(\S+): (.*)$/.exec(line) ?? [];
      const has = headers[(absent ?? name).toLowerCase()];
      if (absent ? has !== undefined : has === undefined || this.#names.compareText(value, has) !== undefined) {
        throw new Fault(step, `expected the header ${line}\ngot      ${got}`);
      }
    }
  }

  /** The next message; waits for it. */
  async #next(speaker, step, what) {
    const until = Date.now() + DEADLINE_MS;
    for (;;) {
      const item = speaker.inbox.shift();
      if (item) {
        this.#note(speaker, '<', shown(item));
        if (item.type === 'fault') throw new Fault(step, `what came breaks the rules: ${item.what}`);
        return item;
      }
      if (speaker.closed && !speaker.socket) throw new Fault(step, 'nothing is open any more');
      const left = until - Date.now();
      if (left <= 0) throw new Fault(step, `nothing came in ${DEADLINE_MS} ms; expected ${what}`);
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, left);
        speaker.wake = () => (clearTimeout(timer), resolve());
      });
      speaker.wake = undefined;
    }
  }

  /** Nothing comes: a ping is answered, and nothing but what may come came before the answer. */
  async #quiet(step, speaker) {
    if (!speaker.socket) return this.#empty(step, speaker);
    const token = `quiet ${step.at}`;
    speaker.socket.ping(token);
    for (;;) {
      const item = await this.#next(speaker, step, 'an answer to a ping');
      if (item.type === 'pong' && item.text === token) return;
      const maybe = speaker.perhaps.find((one) => this.#agrees(one, item, speaker) === undefined);
      if (!maybe) throw new Fault(step, `expected nothing more\ngot      ${shown(item)}`);
      await this.#take(speaker, item, maybe);
    }
  }

  #empty(step, speaker) {
    const item = speaker.inbox.shift();
    if (item && item.type !== 'end') throw new Fault(step, `expected nothing more\ngot      ${shown(item)}`);
  }

  /** After the last step: nothing more came, and a session closes as it should. */
  async #finish(speaker) {
    const step = this.conversation.steps.findLast((one) => one.speaker === speaker.name);
    const end = { ...step, line: `${step.line}   (and after it: the end of the file)` };
    await this.#quiet(end, speaker);
    if (speaker.socket) {
      speaker.closing = true;
      speaker.socket.close(1000);
      const item = await this.#next(speaker, end, 'a close frame');
      if (item.type !== 'close' || item.code !== 1000) throw new Fault(end, `expected a close frame with 1000\ngot      ${shown(item)}`);
      await this.#take(speaker, item, end);
    }
  }

  async #write(step) {
    const [, bound, method, path, body] = /^(?:(\$\w+) )?([A-Z]+) (\S+)(?: (.*))?$/.exec(step.rest) ?? broken(step, 'say so: write $rev1 PUT /a 1');
    const types = { PUT: JSON_TYPE, POST: JSON_TYPE, MERGE: MERGE_PATCH, PATCH: JSON_PATCH };
    const sent = { body, type: body === undefined ? undefined : types[method], token: this.#writer };
    const answer = await send(method === 'MERGE' ? 'PATCH' : method, `${this.server.url}${path}`, sent);
    this.heard.push(`write ${shorten(step.rest, 200)}: ${answer.status} ${answer.etag ?? ''}`);
    if (answer.status >= 300) throw new Fault(step, `got ${answer.status} ${answer.text}`);
    if (bound) this.#names.set(bound, answer.etag);
  }

  async #there(step) {
    const [path, ...words] = step.rest.split(' ');
    const answer = await send('GET', `${this.server.url}${path}`, { token: this.#writer });
    const got = `got      ${answer.status} ${shorten(answer.text)}`;
    if (words.join(' ') === 'nothing') {
      if (answer.status !== 404) throw new Fault(step, `expected 404\n${got}`);
      return;
    }
    const difference = answer.status === 200 ? this.#names.compare(pattern(words.join(' '), step), JSON.parse(answer.text)) : 'it is an error';
    if (difference) throw new Fault(step, `expected ${words.join(' ')}\n${got}\ndiffers  ${difference}`);
  }

  /** Waits until a metric has a value. */
  async #until(step) {
    const [name, value] = step.rest.split(' ');
    const until = Date.now() + DEADLINE_MS;
    for (;;) {
      const { text } = await send('GET', `${this.server.url}/_metrics`, { token: this.#writer });
      const line = text.split('\n').find((one) => one.startsWith(`${name} `));
      if (line === `${name} ${value}`) return;
      if (Date.now() > until) throw new Fault(step, `after ${DEADLINE_MS} ms it is: ${line ?? 'not there'}`);
      await pause(10);
    }
  }
}

function broken(step, why) {
  throw new Fault(step, why);
}

function shown(item) {
  if (item.type === 'text' || item.type === 'line') return shorten(item.text, SHOWN_MAX);
  if (item.type === 'end') return item.clean ? '(the end of the connection)' : '(the end of the connection, in the middle of something)';
  return `${item.type} ${item.code ?? ''} ${item.text ?? item.what ?? ''}`.trim();
}

/** The links that a `watch` names. */
function ids(watch) {
  return Array.isArray(watch) ? watch.map((pair) => pair?.[0]) : [watch];
}

/** The configuration that a conversation asks for. */
function toml({ limits, cors, tokens, rules, revocations }) {
  const lines = cors ? ['[cors]', `origins = ${JSON.stringify(cors)}`] : [];
  lines.push('[limits]', ...Object.entries(limits).map(([name, value]) => `${name} = ${value}`));
  if (revocations) lines.push('[auth]', `revoked = ${value(revocations)}`);
  const writer = rules.length > 0 ? [[WRITER, { sub: WRITER }]] : [];
  for (const [token, claims] of [...tokens, ...writer]) {
    lines.push('[[auth.key]]', `sha256 = "${createHash('sha256').update(token).digest('hex')}"`, `claims = ${value(claims)}`);
  }
  const all = { allow: ['read', 'write'], path: '/', when: `claims.sub == '${WRITER}'` };
  for (const rule of rules.length > 0 ? [...rules, all] : []) lines.push('[[rule]]', ...Object.entries(rule).map(([name, member]) => `${name} = ${value(member)}`));
  return `${lines.join('\n')}\n`;
}

/** A value of JSON in TOML, on one line. */
function value(json) {
  if (json?.constructor !== Object) return JSON.stringify(json);
  return `{ ${Object.entries(json).map(([name, member]) => `${JSON.stringify(name)} = ${value(member)}`)} }`;
}

/** Makes messages of the lines of a session that is heard only once: of each event its data, and its id (PROTOCOL M4). */
function messagesOf(format) {
  let event = [];
  return (item) => {
    if (item.type !== 'line' || format === 'ndjson') return [item];
    if (item.text.startsWith(':')) return [];
    if (item.text !== '') return event.push(item.text), [];
    const came = event.join('\n');
    event = [];
    const [, text, id] = /^data: (.*)(?:\nid: ?(.*))?$/.exec(came) ?? [];
    if (text !== undefined) return [{ type: 'text', text, id }];
    // Once, at the start; and before the end of a server that drains.
    if (/^retry: \d+$/.test(came)) return [];
    return [{ type: 'fault', what: `no event of a session: ${came}` }];
  };
}

/** Opens a stream over HTTP/1.1; its lines are given to `receive`. */
function openStream({ port, target, method = 'GET', headers, body, receive }) {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path: target, method, headers, agent: false, timeout: DEADLINE_MS }, (answer) => {
      sent.setTimeout(0);
      const leave = () => sent.destroy();
      const opened = { status: answer.statusCode, headers: answer.headers, leave };
      let rest = '';
      answer.setEncoding('utf8');
      answer.on('data', (text) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop();
        for (const line of opened.status === 200 ? lines : []) receive({ type: 'line', text: line });
      });
      answer.on('error', () => {});
      answer.on('close', () => receive({ type: 'end', clean: answer.complete && rest === '' }));
      if (opened.status === 200) resolve(opened);
      else answer.on('end', () => resolve({ ...opened, body: rest }));
    });
    sent.on('timeout', () => sent.destroy(new Error(`no answer after ${DEADLINE_MS} ms`)));
    sent.on('error', reject);
    sent.end(body);
  });
}
