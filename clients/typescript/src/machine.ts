/**
 * The client's half of the protocol, without IO: events in, actions out.
 *
 * A connection is in one phase. The meaning of each event in each phase is one table, {@link TABLE}, in which a missing cell does
 * not compile. The rule that it all serves is two lines long: apply what comes; remember the `rev` of the newest message that was
 * synced, and come back with it (PROTOCOL L6).
 */

import type { Problem } from './errors.js';
import type { Answer, Command, Entry, Message, Shape } from './protocol.js';
import { comeBack } from './protocol.js';
import { type Action, answerMs, ATTEMPTS_BEFORE_OTHER, BLOCKED_MS, type Call, CALLS_OPEN_MS_MAX, CLOSED, type Event, type Link, MESSAGE_LENGTH_MAX, OPEN_MS_MAX, PACKED_LENGTH_MAX, PAUSE_MS_MAX, PAUSE_MS_MIN, type Phase, RENEWED_AT, RENEWED_MS_MIN, RETRY_AFTER_MS_MAX, type Settings, SILENCE_MS, SPREAD_MS, STABLE_MS, type Told, type Transport } from './terms.js';
import { applied } from './value.js';

type Of<T extends Event['type']> = Extract<Event, { type: T }>;
/** The name of a method of the machine that takes this event. */
type Cell<E extends Event> = { [M in keyof Machine]: Machine[M] extends (event: infer T) => void ? (E extends T ? M : never) : never }[keyof Machine];
type Row = { readonly [T in Event['type']]: Cell<Of<T>> };

/** A wish that has not been sent: a link is to be opened, the link of a number to be ended, a call to be made. */
type Outgoing = Link | number | Call;
const isCall = (one: Outgoing | undefined): one is Call => !!(one as Call | undefined)?.command;

/** See the module. */
export class Machine {
  readonly #settings: Settings;
  phase: Phase = 'idle';
  declare transport: Transport | undefined;
  /** All links show the state at {@link cursor}, as far as is known. */
  synced = false;
  /** Time at which the server last said so. */
  declare inStepAt: number | undefined;
  declare cursor: string | undefined;
  declare problem: Problem | undefined;
  /** Time at which the newest connection that was live became so; 0 before the first. */
  liveAt = 0;
  /** Until when the event stream is preferred, since WebSockets did not get through although the server is there. */
  blocked = 0;
  /** UTF-16 units of the longest call that gets through as a message. A longer one goes by a request of its own. */
  lengthMax = MESSAGE_LENGTH_MAX;
  /** UTF-16 units of the longest call that got through. A longer one is tried alone: nothing is lost with it if it does not. */
  #proven = PACKED_LENGTH_MAX;
  readonly links = new Map<number, Link>();

  now = 0;
  #actions: Action[] = [];
  #outgoing: Outgoing[] = [];
  /** All that was wanted has been said: what is wanted now is to be said too. */
  #greeted = false;
  /** Calls that wait for a connection. */
  readonly #queued = new Set<Call>();
  readonly #sent = new Map<number, Call>();
  /** Links by the `ref` of the command that opens them. */
  readonly #asked = new Map<number, Link[]>();
  /** Links that the server has opened, of which it has not said `synced`. */
  readonly #fresh = new Set<Link>();
  /** All wishes wait for another token. */
  #held = false;
  /** The `ref` of the newest token. */
  #auth = 0;
  /** The newest token was refused. */
  #refused = false;
  /** Who one is by the newest token. */
  declare identity: Answer['identity'];
  #uncovered = 0;
  #ref = 0;
  #pause = PAUSE_MS_MIN;
  #heardAt = 0;
  #probed = false;
  /** Nobody has needed the connection for as long as the timer runs. */
  #unneeded = false;
  #unacknowledged = 0;
  /** The transport whose attempt failed just before this one. */
  #failed: Transport | undefined;
  /** Attempts in a row that may yet fail before the other transport is tried. */
  #patience = 1;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  handle(event: Event, now: number): Action[] {
    this.now = now;
    (this[TABLE[this.phase][event.type]] as (event: Event) => void)(event);
    const actions = this.#actions;
    this.#actions = [];
    return actions;
  }

  // ---- what is wanted

  add({ link }: { readonly link: Link }): void {
    this.links.set(link.id, link);
    this.#uncovered++;
    if (this.#greeted) this.#outgoing.push(link);
  }

  #forget(link: Link): boolean {
    if (!this.links.delete(link.id)) return false;
    if (!link.covered) this.#uncovered--;
    this.#fresh.delete(link);
    return true;
  }

  remove({ link }: Of<'unwatch'>): void {
    if (!this.#forget(link)) return;
    const unsent = this.#outgoing.indexOf(link);
    if (unsent >= 0) this.#outgoing.splice(unsent, 1);
    else if (this.#greeted) this.#outgoing.push(link.id);
  }

  queue({ call }: Omit<Of<'call'>, 'type'>): void {
    if (call.length > this.lengthMax) return this.#request(call);
    this.#queued.add(call);
    if (this.#greeted) this.#outgoing.push(call);
  }

  expire({ call }: Of<'expire'>): void {
    if (this.#queued.delete(call)) {
      this.#outgoing = this.#outgoing.filter((one) => one !== call);
      this.#break(call, 'offline');
    } else call.late = true; // it is on its way
  }

  /** The server has ended the link, or did not open it. Where another token may help, it is asked for again, once. */
  #fail(link: Link, problem: Problem): void {
    const { status, ends } = problem;
    // One that was open may be open to the rights that there are by now (I24).
    if (this.#settings.renews && !link.again && this.links.has(link.id) && (status === 401 || (status === 403 && (link.covered || ends)))) {
      link.again = true;
      link.parts = undefined;
      this.#uncover(link);
      this.#fresh.delete(link);
      this.#outgoing.push(link);
      this.#renew();
    } else if (this.#forget(link)) this.#act({ do: 'failed', link, problem });
  }

  reject({ call }: { readonly call: Call }): void {
    this.#break(call, this.phase === 'closed' ? 'closed' : 'offline');
  }

  #break(call: Call, why: 'offline' | 'unsure' | 'closed'): void {
    this.#act({ do: 'broken', call, why });
  }

  #isNeeded(): boolean {
    return this.links.size + this.#queued.size + this.#sent.size > 0;
  }

  // ---- connections

  #connect(): void {
    const { transports } = this.#settings;
    const avoided = this.#failed ?? (this.now < this.blocked ? 'websocket' : undefined);
    this.transport = transports.find((transport) => transport !== avoided) ?? transports[0]!;
    if (this.transport === 'events' && this.links.size === 0) {
      // Nothing to be told of: plain requests need no stream.
      for (const call of this.#queued) this.#request(call);
      this.#rest('idle');
      return;
    }
    this.phase = 'opening';
    this.#reset();
    this.#act({ do: 'connect', transport: this.transport });
    // Calls can go another way, and that should be tried before they have waited too long.
    this.#time(this.links.size > 0 ? OPEN_MS_MAX : CALLS_OPEN_MS_MAX);
  }

  connect(): void {
    if (this.#isNeeded()) this.#connect();
    else this.#rest('idle');
  }

  restart(): void {
    this.#drop();
    this.connect();
  }

  /** Everything that was of one connection only. */
  #reset(): void {
    this.synced = false;
    this.identity = undefined;
    this.#outgoing = [];
    this.#asked.clear();
    this.#fresh.clear();
    this.#held = this.#greeted = this.#probed = this.#unneeded = false;
    this.#unacknowledged = 0;
    for (const link of this.links.values()) link.parts = undefined;
    for (const call of this.#sent.values()) {
      // A call that only reads is asked again.
      if (call.writes || call.late) this.#break(call, call.writes ? 'unsure' : 'offline');
      else this.#queued.add(call);
    }
    this.#sent.clear();
  }

  /** The connection stands, as far as we know: everything is asked for, in as few messages as can be. */
  greet({ token }: Of<'opened'>): void {
    const auth: Command[] = [];
    // Who was somebody and has no token any more is nobody.
    if (token !== undefined || this.#greeted) auth.push({ auth: token ?? null, ...(this.#settings.renews && { ref: (this.#auth = ++this.#ref) }) });
    if (this.#greeted) {
      // It lives already, and this is another token.
      this.#held = false;
      this.#act({ do: 'send', commands: auth });
      return this.flush();
    }
    const isSocket = this.transport === 'websocket';
    // Nothing is wanted of the stream any more.
    if (!isSocket && this.links.size === 0) return this.restart();
    const all = [...this.links.values()];
    const links = [...new Set(all.map(kindOf))].flatMap((kind) => all.filter((link) => kindOf(link) === kind));
    const commands = this.#commands(isSocket ? [...links, ...this.#queued] : links);
    this.#outgoing.push(...this.#queued); // on a stream, or those that wait until another was tried
    this.#greeted = true;
    // Without a question there is no answer.
    if (isSocket && commands.length === 0) commands.push(this.#question());
    else if (isSocket && this.#settings.credit > 0) commands.unshift({ credit: this.#settings.credit });
    this.#act({ do: 'send', commands: [...auth, ...commands] });
  }

  /** The wishes that have gathered, as commands in the same order; links of one kind that follow each other are opened by one. */
  #commands(outgoing: readonly Outgoing[]): Command[] {
    const commands: Command[] = [];
    let links: Link[] = [];
    let length = 0;
    let waits = false;
    for (const one of [...outgoing, undefined]) {
      const link = (one as Link | undefined)?.kind ? (one as Link) : undefined;
      const [first] = links;
      if (first && (!link || kindOf(first) !== kindOf(link) || length > PACKED_LENGTH_MAX)) {
        const ref = ++this.#ref;
        this.#asked.set(ref, links);
        const what = links.length === 1 ? { watch: first.id, path: first.path } : { watch: links.map(({ id, path }) => [id, path]) };
        commands.push({ ...what, ...(JSON.parse(first.kind) as Shape), ...(first.covered && { since: this.cursor }), ref });
        links = [];
        length = 0;
      }
      if (link) {
        links.push(link);
        length += link.path.length + 16; // its number, and what stands between
      } else if (isCall(one)) {
        // (If one is being tried, it is the only one.)
        const [sent] = this.#sent.values();
        if (sent) waits ||= Math.max(sent.length, one.length) > this.#proven;
        if (waits) continue;
        this.#queued.delete(one);
        this.#sent.set(++this.#ref, one);
        commands.push({ ...one.command, ref: this.#ref });
      } else if (one) commands.push({ unwatch: one });
    }
    return commands;
  }

  #request(call: Call): void {
    this.#queued.delete(call);
    this.#act({ do: 'request', call });
  }

  /** Sends what has gathered. */
  flush(): void {
    if (this.#held) return;
    const outgoing = this.#outgoing;
    this.#outgoing = [];
    if (this.transport === 'events') {
      for (const one of outgoing) {
        if (isCall(one)) this.#request(one);
        else this.#outgoing.push(one);
      }
      // A stream cannot be told anything any more: another one takes its place, when it has brought what it was
      // opened for: else links that come and go faster than that would never be told anything. One that has no link any
      // more ends (M4d), which is no loss. (The oldest link is asked for first.)
      const [oldest] = this.links.values();
      if (!oldest || this.#outgoing.includes(oldest) || (this.#outgoing.length > 0 && this.synced)) this.restart();
    } else if (outgoing.length > 0) {
      const commands = this.#commands(outgoing);
      this.#outgoing.push(...this.#queued); // they wait until another was tried
      if (commands.length > 0) this.#act({ do: 'send', commands });
      if (!this.#probed && this.#sent.size > 0) {
        // A call is answered, and so asks as well whether the server is there.
        this.#probed = true;
        let all = 0;
        for (const { length } of this.#sent.values()) all += length;
        this.#time(answerMs(all));
      }
    }
    this.#linger();
  }

  /** A connection that nobody needs is kept for a while. */
  #linger(): void {
    if (this.#isNeeded()) this.#unneeded = false;
    else if (!this.#unneeded && this.phase === 'live') {
      this.#unneeded = true;
      this.#time(this.#settings.linger);
    }
  }

  lose({ code, retryAfter, problem, isFinal }: Omit<Of<'lost'>, 'type'>): void {
    const isShortened = code === TOO_LONG && this.#shorten();
    const unheard = this.phase === 'opening' && !isShortened;
    const isGood = !unheard && this.now - this.liveAt >= STABLE_MS;
    if (isGood) this.#pause = PAUSE_MS_MIN;
    const kind = isFinal ? 'never' : isShortened ? 'once' : comeBack(code);
    this.problem = problem ?? (kind === 'never' ? { type: 'ended', detail: `closed with code ${code}` } : this.problem);
    if (kind === 'never') return this.#rest('refused');
    // Perhaps it is only this transport: the other is tried at once.
    if (unheard && this.#settings.transports.length > 1 && !this.#failed && retryAfter === undefined && --this.#patience <= 0) {
      this.#failed = this.transport;
      return this.#connect();
    }
    this.#failed = undefined;
    this.#reset();
    this.phase = 'waiting';
    if (kind === 'slower') this.#pause = PAUSE_MS_MAX;
    const chance = this.#settings.random();
    let ms = isShortened || (kind === 'once' && isGood) ? 0 : kind === 'spread' ? SPREAD_MS * chance : (this.#pause / 2) * (1 + chance);
    this.#pause = Math.min(this.#pause * 2, PAUSE_MS_MAX);
    ms += Math.min(retryAfter ?? 0, RETRY_AFTER_MS_MAX);
    this.#time(ms);
  }

  /**
   * A message was too long for the server, or for what is on the way to it: the call that was tried. It goes by a request, and so will others like it.
   * False if it was something else.
   */
  #shorten(): boolean {
    const [call] = this.#sent.values();
    if (!call || call.length <= this.#proven) return false;
    this.lengthMax = Math.max(this.#proven, call.length / 2);
    if (!call.late) {
      this.#sent.clear();
      this.#request(call);
    }
    for (const call of this.#queued) if (call.length > this.lengthMax) this.#request(call);
    return true;
  }

  /** Opening, and the timer is over. */
  giveUp(): void {
    this.#drop();
    const isSocket = this.transport === 'websocket';
    // Calls alone would find it out anew each time.
    if (isSocket && this.links.size === 0) this.blocked = this.now + BLOCKED_MS / 10;
    this.lose({ problem: isSocket ? undefined : HELD_BACK });
  }

  /** No connection, and no other is tried. */
  #rest(phase: 'idle' | 'off' | 'refused' | 'closed'): void {
    this.#reset();
    this.#failed = undefined;
    this.phase = phase;
    this.#time(undefined);
    for (const call of this.#queued) this.reject({ call });
    this.#queued.clear();
  }

  #end(phase: 'idle' | 'off' | 'closed'): void {
    this.#drop();
    this.#rest(phase);
  }

  leave(): void {
    this.#end('off');
  }

  close(): void {
    this.#end('closed');
  }

  #drop(): void {
    this.#act({ do: 'drop' });
  }

  /** Live, and the timer is over: nobody needs it, nothing was heard for long, or a probe was not answered. */
  look(): void {
    if (this.#unneeded) return this.#end('idle');
    const silence = this.now - this.#heardAt;
    if (this.#probed) {
      this.#drop();
      this.lose({});
    } else if (silence >= SILENCE_MS) {
      this.probe();
    } else {
      this.#time(SILENCE_MS - silence);
    }
  }

  /** Asks whether the server is there. (An event stream says so itself, every 15 s, or is found dead by its reader.) */
  probe(): void {
    if (this.transport === 'events') return this.#time(SILENCE_MS);
    if (!this.#probed) this.#act({ do: 'send', commands: [this.#question()] });
    this.#probed = true;
    this.#time(OPEN_MS_MAX);
  }

  /** A command that means nothing, and is answered. */
  #question(): Command {
    this.#unacknowledged = 0;
    return { credit: this.#settings.credit, ref: ++this.#ref };
  }

  // ---- what the server says

  /** The first word on this connection: this transport gets through. */
  begin(event: Of<'message'>): void {
    if (this.#failed === 'websocket') this.blocked = this.now + BLOCKED_MS;
    this.#failed = undefined;
    // A transport that got through once will again: the server may just be restarting.
    this.#patience = ATTEMPTS_BEFORE_OTHER;
    this.phase = 'live';
    this.liveAt = this.now;
    this.problem = undefined;
    this.#time(SILENCE_MS);
    this.receive(event);
    if (this.phase === 'live') this.flush();
  }

  receive({ text }: Of<'message'>): void {
    this.#heardAt = this.now;
    this.#probed = false;
    try {
      const message = JSON.parse(text) as Message;
      if ('ref' in message) this.#answer(message as Answer);
      else if ('error' in message) this.#complain(message);
      else this.#state(message as Extract<Message, { t: number }>, text.length);
      if (this.transport === 'events') this.flush();
    } catch (error) {
      this.problem = { type: 'bad-answer', detail: `${(error as Error).message}: ${text.slice(0, 80)}` };
      this.#drop();
      this.lose({});
    }
  }

  #answer(answer: Answer): void {
    const links = this.#asked.get(answer.ref);
    const call = this.#sent.get(answer.ref);
    if (answer.ref === this.#auth) this.#identify(answer);
    this.#asked.delete(answer.ref);
    this.#sent.delete(answer.ref);
    if (call) {
      this.#proven = Math.max(this.#proven, call.length);
      this.#act({ do: 'answered', call, answer });
    }
    for (const link of links ?? []) {
      if (answer.status >= 400 && (answer.link ?? link.id) === link.id) this.#fail(link, answer);
      else if (this.links.has(link.id) && !link.covered) this.#fresh.add(link);
    }
    // All that was asked for is covered by the cursor already: nothing more will be said.
    this.#inStep();
    if (call) this.flush();
    this.#linger();
  }

  /** The token is asked for again in time, and once if it is refused. */
  #identify(answer: Answer): void {
    const { status, identity } = answer;
    this.identity = identity;
    if (status < 400) {
      if (this.#refused) this.problem = undefined;
      const ms = identity?.expires_ms;
      if (ms !== undefined) this.#act({ do: 'renew', ms: Math.max(ms * RENEWED_AT, RENEWED_MS_MIN) });
    } else if (this.#refused) this.problem = answer;
    else this.#renew();
    this.#refused = status >= 400;
  }

  /** Another token, now. */
  #renew(): void {
    if (!this.#held) this.#act({ do: 'renew', ms: 0 });
    this.#held = true;
  }

  /** The application has another one. Links that end with it are asked for again, once. */
  renew(): void {
    this.#held = false;
    this.#renew();
    for (const link of this.links.values()) link.again = false;
  }

  #complain({ error, link: id }: Extract<Message, { error: Problem }>): void {
    const link = this.links.get(id!);
    if (link && error.ends !== false) this.#fail(link, error);
    else if (id === undefined) this.problem = error;
  }

  #state({ rev, t, set = [], synced = false }: Extract<Message, { t: number }>, length: number): void {
    if (typeof rev !== 'string') throw new TypeError('no rev');
    const told: [Link, Told][] = [];
    try {
      for (const entry of set) {
        const link = this.links.get(entry[0]);
        if (!link) continue; // it was on its way when the link ended (L4)
        if (entry[1] === 'error') this.#fail(link, entry[2] as Problem);
        else this.#take(link, entry, { rev, t, synced }, told);
      }
    } finally {
      // Everything in one message was read at one revision: nobody is told of half of it.
      for (const [link, change] of told) this.#act({ do: 'told', link, told: change });
    }
    if (synced) {
      this.cursor = rev;
      for (const link of this.#fresh) {
        link.covered = true;
        link.again = false;
        this.#uncovered--;
      }
      this.#fresh.clear();
    }
    this.synced = synced;
    this.#inStep();
    const { credit } = this.#settings;
    if (credit > 0 && this.transport !== 'events') {
      // In halves, so that what follows is on its way while the first is being acknowledged.
      this.#unacknowledged += length * 3; // bytes at most, in UTF-8
      if (this.#unacknowledged >= credit / 2) {
        this.#unacknowledged = 0;
        this.#act({ do: 'send', commands: [{ ack: rev }] });
      }
    }
  }

  #take(link: Link, [, kind, body, more]: Entry, stamp: Pick<Told, 'rev' | 't' | 'synced'>, told: [Link, Told][]): void {
    const previous = link.value;
    let value: unknown;
    try {
      value = applied(link.parts ? link.parts.value : previous, kind, body);
    } catch (error) {
      // Our value cannot be the one that the server thinks: from nothing, then.
      this.#uncover(link);
      throw error;
    }
    if (more === 'more') {
      if (kind === 'snapshot') this.#uncover(link); // L6: it cannot be resumed before it is whole
      link.parts = { value };
      return;
    }
    // Of a change in parts, the last alone would say the wrong thing.
    const how = link.parts ? { kind: 'snapshot' as const, body: value } : { kind: kind as Told['kind'], body };
    link.parts = undefined;
    const isNews = !link.known || value !== previous;
    link.value = value;
    link.known = true;
    link.rev = stamp.rev;
    link.t = stamp.t;
    if (isNews) told.push([link, { previous, value, ...how, ...stamp }]);
  }

  #uncover(link: Link): void {
    if (link.covered) this.#uncovered++;
    link.covered = false;
    this.#fresh.add(link);
  }

  #inStep(): void {
    if (this.isInStep()) this.inStepAt = this.now;
  }

  /** Every link shows the newest state that the server has told. */
  isInStep(): boolean {
    return this.synced && this.#uncovered === 0;
  }

  refuse({ link }: Of<'watch'>): void {
    this.add({ link });
    this.#fail(link, { type: 'closed', detail: CLOSED });
  }

  nothing(): void {}

  // ---- actions

  #act(action: Action): void {
    this.#actions.push(action);
  }

  #time(ms: number | undefined): void {
    this.#act({ do: 'timer', ms });
  }
}

/** An event stream that was opened, and says nothing. */
const HELD_BACK: Problem = {
  type: 'offline',
  detail: 'no word within 10 s',
  hint: 'behind nginx: proxy_buffering off',
};

/** A message was too long (RFC 6455). */
const TOO_LONG = 1009;

/** One command can open all links of a kind. */
const kindOf = ({ covered, kind }: Link): string => covered + kind;

/** Wishes are noted, and asked for when there is a connection. */
const noting = { watch: 'add', unwatch: 'remove', call: 'queue', expire: 'expire' } satisfies Partial<Row>;
/** No connection of which anything could be heard, and nothing to wait for. */
const still = { flush: 'nothing', opened: 'nothing', message: 'nothing', lost: 'nothing', timer: 'nothing', nudge: 'nothing', renew: 'nothing' } satisfies Partial<Row>;

const atRest = { ...noting, ...still, disconnect: 'leave', reconnect: 'connect', close: 'close' } satisfies Row;
const connected = { ...atRest, reconnect: 'restart', opened: 'greet', lost: 'lose' } satisfies Row;
/** Only links are noted: a call cannot wait for a connection that nobody is about to make. */
const away: Row = { ...atRest, call: 'reject' };

/** The meaning of each event in each phase. */
export const TABLE: { readonly [P in Phase]: Row } = {
  idle: { ...atRest, flush: 'connect' },
  opening: { ...connected, message: 'begin', timer: 'giveUp', renew: 'restart' },
  live: { ...connected, flush: 'flush', message: 'receive', timer: 'look', nudge: 'probe', renew: 'renew' },
  waiting: { ...atRest, timer: 'connect', nudge: 'connect' },
  off: away,
  refused: away,
  closed: { ...away, watch: 'refuse', disconnect: 'nothing', reconnect: 'nothing', close: 'nothing' },
};
