import { describe, expect, test } from 'vitest';
import { Machine, TABLE } from '../src/machine.js';
import {
  type Action,
  ANSWER_MS_MAX,
  ATTEMPTS_BEFORE_OTHER,
  BLOCKED_MS,
  CALLS_OPEN_MS_MAX,
  type Call,
  type Event,
  LINGER_MS,
  type Link,
  MESSAGE_LENGTH_MAX,
  newLink,
  OPEN_MS_MAX,
  PACKED_LENGTH_MAX,
  PAUSE_MS_MAX,
  PAUSE_MS_MIN,
  type Phase,
  RETRY_AFTER_MS_MAX,
  type Settings,
  SILENCE_MS,
  SPREAD_MS,
  STABLE_MS,
  UNITS_PER_MS,
} from '../src/terms.js';
import { comeBack, type Shape } from '../src/protocol.js';

/** A machine with a clock, and all that it did. */
class Bench {
  now = 1_000_000;
  chance = 0.5;
  done: Action[] = [];
  readonly machine: Machine;
  #id = 0;

  constructor(settings: Partial<Settings> = {}) {
    this.machine = new Machine({ transports: ['websocket'], credit: 0, linger: LINGER_MS, random: () => this.chance, ...settings });
  }

  do(event: Event): Action[] {
    const actions = this.machine.handle(event, this.now);
    this.done.push(...actions);
    return actions;
  }

  watch(path = '/a', shape: Shape = {}): Link {
    const link = newLink(++this.#id, path, JSON.stringify(shape));
    this.do({ type: 'watch', link });
    return link;
  }

  call(command: object = { put: '/a', value: 1 }, writes = true, length = 0): Call {
    const call = { command: command as Call['command'], writes, length };
    this.do({ type: 'call', call });
    return call;
  }

  flush = () => this.do({ type: 'flush' });
  opened = (token?: string) => this.do({ type: 'opened', token });
  hear = (message: unknown) => this.do({ type: 'message', text: typeof message === 'string' ? message : JSON.stringify(message) });
  lose = (more: Omit<Extract<Event, { type: 'lost' }>, 'type'> = {}) => this.do({ type: 'lost', ...more });

  after(ms: number): Action[] {
    this.now += ms;
    return this.do({ type: 'timer' });
  }

  /** Live and in step, with one link. */
  live(path = '/a', shape: Shape = {}): Link {
    const link = this.watch(path, shape);
    this.flush();
    this.opened();
    this.hear({ ref: 1, status: 200 });
    this.hear({ rev: 'e.1', t: 5, set: [[link.id, 'snapshot', { n: 1 }]], synced: true });
    return link;
  }
}

const sent = (actions: readonly Action[]) => actions.flatMap((action) => (action.do === 'send' ? action.commands : []));
const told = (actions: readonly Action[]) => actions.flatMap((action) => (action.do === 'told' ? [[action.link.path, action.told.value]] : []));
const timer = (actions: readonly Action[]) => actions.flatMap((action) => (action.do === 'timer' ? [action.ms] : [])).at(-1);
const kinds = (actions: readonly Action[]) => actions.map((action) => action.do);

/** A machine in each phase, by the shortest way. */
function inPhase(phase: Phase): Bench {
  const bench = new Bench();
  if (phase === 'idle') return bench;
  if (phase === 'off' || phase === 'closed') {
    bench.watch();
    bench.do({ type: phase === 'off' ? 'disconnect' : 'close' });
    return bench;
  }
  if (phase === 'live') {
    bench.live();
    return bench;
  }
  bench.watch();
  bench.flush();
  if (phase === 'waiting') bench.lose({ code: 1006 });
  if (phase === 'refused') bench.lose({ code: 4400 });
  return bench;
}

const EVENTS: { [T in Event['type']]: Extract<Event, { type: T }> } = {
  watch: { type: 'watch', link: newLink(99, '/z', '{}') },
  unwatch: { type: 'unwatch', link: newLink(98, '/y', '{}') },
  call: { type: 'call', call: { command: { get: '/a' }, writes: false, length: 0 } },
  expire: { type: 'expire', call: { command: { get: '/b' }, writes: false, length: 0 } },
  flush: { type: 'flush' },
  opened: { type: 'opened', token: undefined },
  message: { type: 'message', text: '{"rev":"e.2","t":6,"synced":true}' },
  lost: { type: 'lost', code: 1006 },
  timer: { type: 'timer' },
  nudge: { type: 'nudge' },
  renew: { type: 'renew' },
  disconnect: { type: 'disconnect' },
  reconnect: { type: 'reconnect' },
  close: { type: 'close' },
};

/** The outcome of each event: the phase after it, and what is done. */
const EXPECTED: { [P in Phase]: { [T in Event['type']]: string } } = {
  idle: {
    watch: 'idle', unwatch: 'idle', call: 'idle', expire: 'idle', flush: 'idle timer', opened: 'idle', message: 'idle', lost: 'idle', timer: 'idle',
    nudge: 'idle', renew: 'idle', disconnect: 'off drop timer', reconnect: 'idle timer', close: 'closed drop timer',
  },
  opening: {
    watch: 'opening', unwatch: 'opening', call: 'opening', expire: 'opening', flush: 'opening', opened: 'opening send', message: 'live timer',
    lost: 'waiting timer', timer: 'waiting drop timer', nudge: 'opening', renew: 'opening drop connect timer', disconnect: 'off drop timer', reconnect: 'opening drop connect timer', close: 'closed drop timer',
  },
  live: {
    watch: 'live', unwatch: 'live', call: 'live', expire: 'live', flush: 'live', opened: 'live send', message: 'live', lost: 'waiting timer', timer: 'live timer',
    nudge: 'live send timer', renew: 'live renew', disconnect: 'off drop timer', reconnect: 'opening drop connect timer', close: 'closed drop timer',
  },
  waiting: {
    watch: 'waiting', unwatch: 'waiting', call: 'waiting', expire: 'waiting', flush: 'waiting', opened: 'waiting', message: 'waiting', lost: 'waiting',
    timer: 'opening connect timer', nudge: 'opening connect timer', renew: 'waiting', disconnect: 'off drop timer', reconnect: 'opening connect timer', close: 'closed drop timer',
  },
  off: {
    watch: 'off', unwatch: 'off', call: 'off broken', expire: 'off', flush: 'off', opened: 'off', message: 'off', lost: 'off', timer: 'off', nudge: 'off',
    renew: 'off', disconnect: 'off drop timer', reconnect: 'opening connect timer', close: 'closed drop timer',
  },
  refused: {
    watch: 'refused', unwatch: 'refused', call: 'refused broken', expire: 'refused', flush: 'refused', opened: 'refused', message: 'refused', lost: 'refused',
    timer: 'refused', nudge: 'refused', renew: 'refused', disconnect: 'off drop timer', reconnect: 'opening connect timer', close: 'closed drop timer',
  },
  closed: {
    watch: 'closed failed', unwatch: 'closed', call: 'closed broken', expire: 'closed', flush: 'closed', opened: 'closed', message: 'closed', lost: 'closed',
    timer: 'closed', nudge: 'closed', renew: 'closed', disconnect: 'closed', reconnect: 'closed', close: 'closed',
  },
};

describe('every event in every phase', () => {
  for (const phase of Object.keys(EXPECTED) as Phase[]) {
    test.each(Object.keys(EVENTS) as Event['type'][])(`${phase}: %s`, (type) => {
      expect(Object.keys(TABLE[phase]).sort()).toEqual(Object.keys(EVENTS).sort());
      const bench = inPhase(phase);
      expect(bench.machine.phase).toBe(phase);
      const actions = bench.do(EVENTS[type]);
      expect([bench.machine.phase, ...kinds(actions)].join(' ')).toBe(EXPECTED[phase][type]);
    });
  }
});

describe('links', () => {
  test('are asked for together, by kind, when there is a connection', () => {
    const bench = new Bench();
    for (const [path, shape] of [['/a', {}], ['/b', { rate: 2 }], ['/c', {}]] as const) bench.watch(path, shape);
    expect(bench.flush()).toEqual([{ do: 'connect', transport: 'websocket' }, { do: 'timer', ms: OPEN_MS_MAX }]);
    expect(bench.opened('secret')).toEqual([
      { do: 'send', commands: [{ auth: 'secret' }, { watch: [[1, '/a'], [3, '/c']], ref: 1 }, { watch: 2, path: '/b', rate: 2, ref: 2 }] },
    ]);
  });

  test('that are many do not go into one command', () => {
    const bench = new Bench();
    for (let n = 0; n < 3_000; n++) bench.watch(`/${'long'.repeat(n % 10)}/${n}`);
    bench.flush();
    const commands = sent(bench.opened());
    for (const command of commands) expect(JSON.stringify(command).length).toBeLessThan(PACKED_LENGTH_MAX + 100);
    expect(commands.flatMap((command) => command['watch'])).toHaveLength(3_000);
    expect(commands.length).toBeLessThan(15);
  });

  test('on a stream go into one request, however many', () => {
    const bench = new Bench({ transports: ['events'] });
    for (let n = 0; n <= 3_000; n++) bench.watch(`/${n}`);
    bench.flush();
    expect(bench.opened().filter((action) => action.do === 'send')).toHaveLength(1);
  });

  test('that come and go while the connection is being made are put right', () => {
    const bench = new Bench();
    const gone = bench.watch('/gone');
    bench.flush();
    bench.opened();
    bench.do({ type: 'unwatch', link: gone });
    bench.watch('/late');
    expect(sent(bench.hear({ ref: 1, status: 200 }))).toEqual([{ unwatch: 1 }, { watch: 2, path: '/late', ref: 2 }]);
  });

  test('that are all gone before the connection stands leave a question, so that it is known to stand', () => {
    for (const credit of [0, 600]) {
      const bench = new Bench({ credit });
      const link = bench.watch('/gone');
      bench.flush();
      bench.do({ type: 'unwatch', link });
      expect(sent(bench.opened('me'))).toEqual([{ auth: 'me' }, { credit, ref: 1 }]);
      expect(sent(bench.hear({ ref: 1, status: 200 }))).toEqual([]);
      expect(bench.machine.phase).toBe('live');
      bench.watch('/next');
      expect(sent(bench.flush())).toEqual([{ watch: 2, path: '/next', ref: 2 }]);
    }
    const stream = new Bench({ transports: ['events'] });
    const link = stream.watch('/gone');
    stream.flush();
    stream.do({ type: 'unwatch', link });
    const call = stream.call();
    expect(stream.opened()).toEqual([{ do: 'drop' }, { do: 'request', call }, { do: 'timer', ms: undefined }]);
    expect(stream.machine.phase).toBe('idle');
  });

  test('are asked for also when the server has spoken first', () => {
    const bench = new Bench();
    bench.watch('/a');
    bench.flush();
    bench.hear({ error: { type: 'hello' } });
    expect(bench.machine.phase).toBe('live');
    bench.watch('/b');
    expect(sent(bench.flush())).toEqual([]);
    expect(sent(bench.opened())).toEqual([{ watch: [[1, '/a'], [2, '/b']], ref: 1 }]);
  });

  test('are ended in the order in which it is said, and not at all if they were never asked for', () => {
    const bench = new Bench();
    const first = bench.live();
    const second = bench.watch('/b');
    bench.watch('/c');
    bench.do({ type: 'unwatch', link: second });
    bench.do({ type: 'unwatch', link: first });
    bench.do({ type: 'unwatch', link: first });
    expect(sent(bench.flush())).toEqual([{ watch: 3, path: '/c', ref: 2 }, { unwatch: 1 }]);
    expect(sent(bench.flush())).toEqual([]);
  });

  test('that begin are one command as long as they are of one kind and follow each other', () => {
    const bench = new Bench();
    bench.live();
    bench.watch('/b');
    bench.watch('/c');
    bench.watch('/d', { rate: 1 });
    bench.call({ get: '/x' }, false);
    bench.watch('/e', { rate: 1 });
    expect(sent(bench.flush())).toEqual([
      { watch: [[2, '/b'], [3, '/c']], ref: 2 },
      { watch: 4, path: '/d', rate: 1, ref: 3 },
      { get: '/x', ref: 4 },
      { watch: 5, path: '/e', rate: 1, ref: 5 },
    ]);
  });

  test('show a change when it is whole, and all of a message together', () => {
    const bench = new Bench();
    const [a, b] = [bench.live(), bench.watch('/b')];
    bench.flush();
    bench.hear({ ref: 2, status: 200 });
    expect(told(bench.hear({ rev: 'e.2', t: 6, set: [[a.id, 'merge', { x: 1 }, 'more'], [b.id, 'gone']] }))).toEqual([['/b', undefined]]);
    expect(a.value).toEqual({ n: 1 });
    const actions = bench.hear({ rev: 'e.3', t: 7, set: [[b.id, 'snapshot', 2], [a.id, 'merge', { y: 1 }]], synced: true });
    expect(told(actions)).toEqual([['/b', 2], ['/a', { n: 1, x: 1, y: 1 }]]);
    expect(actions[0]).toMatchObject({ told: { previous: undefined, kind: 'snapshot', body: 2, rev: 'e.3', t: 7, synced: true } });
    // What came in parts is told as the whole.
    expect(actions[1]).toMatchObject({ told: { kind: 'snapshot', body: { n: 1, x: 1, y: 1 } } });
    expect(a).toMatchObject({ rev: 'e.3', t: 7, known: true });
  });

  test('that are told what they show already tell nobody, but that there is nothing is news once', () => {
    const bench = new Bench();
    const link = bench.live();
    expect(told(bench.hear({ rev: 'e.2', t: 6, set: [[link.id, 'snapshot', { n: 1 }]], synced: true }))).toEqual([]);
    const absent = bench.watch('/none');
    bench.flush();
    bench.hear({ ref: 2, status: 200 });
    expect(told(bench.hear({ rev: 'e.2', t: 6, set: [[absent.id, 'gone']], synced: true }))).toEqual([['/none', undefined]]);
    expect(told(bench.hear({ rev: 'e.3', t: 6, set: [[absent.id, 'gone']], synced: true }))).toEqual([]);
  });

  test('cannot begin when all is over', () => {
    const bench = inPhase('closed');
    const link = bench.watch('/late');
    expect(bench.done.at(-1)).toEqual({ do: 'failed', link, problem: { type: 'closed', detail: 'closed here' } });
  });

  test('that were told in a message that cannot be read to its end have been told', () => {
    const bench = new Bench();
    const [a, b] = [bench.live(), bench.watch('/b')];
    bench.flush();
    const actions = bench.hear({ rev: 'e.2', t: 6, set: [[a.id, 'snapshot', 2], [b.id, 'riddle', 3]], synced: true });
    expect(told(actions)).toEqual([['/a', 2]]);
    expect(kinds(actions)).toEqual(['told', 'drop', 'timer']);
  });

  test('that do not exist any more are not spoken of', () => {
    const bench = new Bench();
    bench.live();
    expect(bench.hear({ rev: 'e.2', t: 6, set: [[77, 'merge', { n: 2 }]], synced: true })).toEqual([]);
  });
});

describe('a link that cannot be served', () => {
  const problem = { type: 'urn:halfping:problem:bad-path', status: 400, title: 'no' };

  test('ends by the answer to its command', () => {
    const bench = new Bench();
    bench.live();
    const bad = bench.watch('/..');
    bench.flush();
    expect(bench.hear({ ...problem, ref: 2, link: bad.id })).toEqual([{ do: 'failed', link: bad, problem: { ...problem, ref: 2, link: bad.id } }]);
    expect(bench.machine.links.has(bad.id)).toBe(false);
    // Of what else is watched nothing has changed, and the server does not say so again (L6).
    expect(bench.machine.isInStep()).toBe(true);
  });

  test('ends alone among those that were opened with it', () => {
    const bench = new Bench();
    const [good, bad] = [bench.watch('/a'), bench.watch('/..')];
    bench.flush();
    bench.opened();
    bench.hear({ ...problem, ref: 1, link: bad.id });
    bench.hear({ rev: 'e.1', t: 5, set: [[good.id, 'snapshot', 1]], synced: true });
    expect([...bench.machine.links.values()]).toEqual([good]);
    expect(good.covered).toBe(true);
  });

  test('takes all of a command with it that was not understood', () => {
    const bench = new Bench();
    bench.watch('/a');
    bench.watch('/b');
    bench.flush();
    bench.opened();
    expect(kinds(bench.hear({ ...problem, ref: 1 }))).toEqual(['timer', 'failed', 'failed', 'timer']);
  });

  test('ends by a message of its own, or within the state, and stays if it is said that it does', () => {
    const bench = new Bench();
    const [a, b] = [bench.live(), bench.watch('/b')];
    bench.flush();
    bench.hear({ ref: 2, status: 200 });
    expect(bench.hear({ error: { ...problem, ends: false }, link: a.id })).toEqual([]);
    expect(kinds(bench.hear({ error: { ...problem, ends: true }, link: a.id }))).toEqual(['failed']);
    expect(kinds(bench.hear({ rev: 'e.2', t: 6, set: [[b.id, 'error', problem]], synced: true }))).toEqual(['failed']);
    expect(bench.hear({ error: problem, link: 50 })).toEqual([]);
    expect(bench.machine.problem).toBeUndefined();
    bench.hear({ error: problem });
    expect(bench.machine.problem).toEqual(problem);
  });
});

describe('in step', () => {
  test('is what the server said last of all that is watched, when that was', () => {
    const bench = new Bench();
    expect(bench.machine.inStepAt).toBeUndefined();
    const link = bench.live();
    expect(bench.machine.isInStep()).toBe(true);
    expect(bench.machine.inStepAt).toBe(1_000_000);
    bench.now += 50;
    bench.hear({ rev: 'e.2', t: 6, set: [[link.id, 'merge', { n: 2 }]] });
    expect(bench.machine.isInStep()).toBe(false);
    expect(bench.machine.inStepAt).toBe(1_000_000);
    bench.hear({ rev: 'e.3', t: 7, synced: true });
    expect(bench.machine.inStepAt).toBe(1_000_050);
    bench.watch('/b');
    expect(bench.machine.isInStep()).toBe(false);
  });

  test('counts only links whose answer came before it', () => {
    const bench = new Bench();
    bench.live();
    const late = bench.watch('/b');
    bench.flush();
    bench.hear({ rev: 'e.1', t: 5, synced: true });
    expect([bench.machine.isInStep(), late.covered]).toEqual([false, false]);
    bench.hear({ ref: 2, status: 200 });
    expect([bench.machine.isInStep(), late.covered]).toEqual([false, false]);
    bench.hear({ rev: 'e.1', t: 5, set: [[late.id, 'gone']], synced: true });
    expect([bench.machine.isInStep(), late.covered]).toEqual([true, true]);
  });

  test('is not said of a link that the answer did not come for, whatever else ends', () => {
    const bench = new Bench();
    const link = bench.live();
    const late = bench.watch('/b');
    bench.flush();
    bench.do({ type: 'unwatch', link });
    bench.flush();
    bench.hear({ rev: 'e.1', t: 5, synced: true });
    expect(bench.machine.isInStep()).toBe(false);
    bench.do({ type: 'unwatch', link: late });
    bench.flush();
    bench.hear({ ref: 2, status: 200 }); // it was on its way
    bench.watch('/c');
    bench.flush();
    bench.hear({ ref: 3, status: 200 });
    bench.hear({ rev: 'e.1', t: 5, set: [[3, 'gone']], synced: true });
    expect(bench.machine.isInStep()).toBe(true);
  });

  test('is said again after a loss when the server says so, and not before', () => {
    const bench = new Bench();
    bench.live();
    bench.lose();
    expect(bench.machine.isInStep()).toBe(false);
    bench.after(1000);
    bench.opened();
    bench.hear({ ref: 2, status: 200 });
    expect(bench.machine.isInStep()).toBe(false);
    bench.hear({ rev: 'e.1', t: 5, synced: true });
    expect(bench.machine.isInStep()).toBe(true);
  });

  test('is reached by a first state that comes in parts', () => {
    const bench = new Bench();
    const link = bench.watch();
    bench.flush();
    bench.opened();
    bench.hear({ ref: 1, status: 200 });
    bench.hear({ rev: 'e.1', t: 5, set: [[link.id, 'snapshot', { a: 1 }, 'more']] });
    bench.hear({ rev: 'e.1', t: 5, set: [[link.id, 'merge', { b: 1 }]], synced: true });
    expect([bench.machine.isInStep(), link.value]).toEqual([true, { a: 1, b: 1 }]);
  });

  test('is not lost with a link that ends before it is covered, nor with one after', () => {
    const bench = new Bench();
    const link = bench.live();
    const late = bench.watch('/b');
    bench.flush();
    bench.hear({ ref: 2, status: 200 });
    bench.do({ type: 'unwatch', link: late });
    bench.do({ type: 'unwatch', link: late });
    bench.hear({ rev: 'e.1', t: 5, synced: true });
    expect(bench.machine.isInStep()).toBe(true);
    bench.do({ type: 'unwatch', link });
    bench.watch('/c');
    expect(bench.machine.isInStep()).toBe(false);
  });
});

describe('in step stays', () => {
  test('who begins and ends a link in one breath', () => {
    const bench = new Bench();
    bench.live();
    const link = bench.watch('/b');
    expect(bench.machine.isInStep()).toBe(false);
    bench.do({ type: 'unwatch', link });
    expect(bench.flush()).toEqual([]);
    expect(bench.machine.isInStep()).toBe(true);
  });
});

describe('coming back', () => {
  test('resumes with the cursor of the newest message that was synced, and what it does not cover from nothing', () => {
    const bench = new Bench();
    const link = bench.live();
    bench.hear({ rev: 'e.9', t: 6, set: [[link.id, 'merge', { n: 9 }]] });
    bench.watch('/b');
    bench.flush();
    bench.lose({ code: 1006 });
    bench.after(1000);
    expect(sent(bench.opened())).toEqual([{ watch: 1, path: '/a', since: 'e.1', ref: 3 }, { watch: 2, path: '/b', ref: 4 }]);
    expect(link.value).toEqual({ n: 9 });
  });

  test('resumes views from the same cursor, those of one shape together', () => {
    const bench = new Bench();
    const [fast, select] = [{ where: 'speed > 50' }, { where: 'speed > 50', select: 'line' }];
    const shapes = [fast, select, fast, {}];
    const links = shapes.map((shape, n) => bench.watch(`/${n}`, shape));
    const late = bench.watch('/late', select);
    bench.flush();
    expect(sent(bench.opened())).toEqual([
      { watch: [[1, '/0'], [3, '/2']], ...fast, ref: 1 },
      { watch: [[2, '/1'], [5, '/late']], ...select, ref: 2 },
      { watch: 4, path: '/3', ref: 3 },
    ]);
    bench.hear({ ref: 1, status: 200 });
    bench.hear({ ref: 2, status: 429, type: 'urn:halfping:problem:too-many-views', link: late.id });
    bench.hear({ ref: 3, status: 200 });
    bench.hear({ rev: 'e.1', t: 5, set: links.map(({ id }) => [id, 'snapshot', { n: id }]), synced: true });
    expect(bench.machine.isInStep()).toBe(true);
    // What has left a view is `null` to it, and what another shows does not concern it.
    bench.hear({ rev: 'e.2', t: 6, set: [[1, 'merge', { n: null }]], synced: true });
    expect(links.map(({ value }) => value)).toEqual([{}, { n: 2 }, { n: 3 }, { n: 4 }]);
    bench.watch('/new', fast);
    bench.lose();
    bench.after(1000);
    expect(sent(bench.opened())).toEqual([
      { watch: [[1, '/0'], [3, '/2']], ...fast, since: 'e.2', ref: 4 },
      { watch: 2, path: '/1', ...select, since: 'e.2', ref: 5 },
      { watch: 4, path: '/3', since: 'e.2', ref: 6 },
      { watch: 6, path: '/new', ...fast, ref: 7 },
    ]);
  });

  test('does not resume a link of which part of a snapshot came', () => {
    const bench = new Bench();
    const link = bench.live();
    bench.hear({ rev: 'e.2', t: 6, set: [[link.id, 'snapshot', { m: 1 }, 'more']] });
    bench.lose();
    bench.after(1000);
    expect(sent(bench.opened())).toEqual([{ watch: 1, path: '/a', ref: 2 }]);
    bench.hear({ ref: 2, status: 200 });
    // And what was built of it is forgotten.
    expect(told(bench.hear({ rev: 'e.3', t: 7, set: [[link.id, 'merge', { n: 3 }]], synced: true }))).toEqual([['/a', { n: 3 }]]);
  });

  test('covers a link again when its snapshot has become whole', () => {
    const bench = new Bench();
    const link = bench.live();
    bench.hear({ rev: 'e.2', t: 6, set: [[link.id, 'snapshot', { m: 1 }, 'more']] });
    expect(link.covered).toBe(false);
    bench.hear({ rev: 'e.2', t: 6, set: [[link.id, 'merge', { o: 1 }]], synced: true });
    expect([link.covered, bench.machine.isInStep(), link.value]).toEqual([true, true, { m: 1, o: 1 }]);
  });

  test('after something that does not apply asks for that from nothing', () => {
    const bench = new Bench();
    const link = bench.live();
    const actions = bench.hear({ rev: 'e.2', t: 6, set: [[link.id, 'patch', [{ op: 'add', path: '/n/x', value: 1 }]]], synced: true });
    expect(kinds(actions)).toEqual(['drop', 'timer']);
    expect(bench.machine.problem?.type).toBe('bad-answer');
    bench.after(1000);
    expect(sent(bench.opened())).toEqual([{ watch: 1, path: '/a', ref: 2 }]);
  });

  test.each(['<html>', '7', 'null', '{}', '{"rev":1,"t":1}'])('after something that is not understood: %s', (text) => {
    const bench = new Bench();
    bench.live();
    expect(kinds(bench.hear(text))).toEqual(['drop', 'timer']);
    expect(bench.machine.phase).toBe('waiting');
    expect(bench.machine.problem).toMatchObject({ type: 'bad-answer', detail: expect.stringContaining(text) });
  });

  test('after a message without a cursor says that', () => {
    const bench = new Bench();
    bench.live();
    bench.hear({ t: 1, synced: true });
    expect(bench.machine.problem!.detail).toMatch(/^no rev: /);
  });

  test('resumes a link of which part of a merge came', () => {
    const bench = new Bench();
    const link = bench.live();
    bench.hear({ rev: 'e.2', t: 6, set: [[link.id, 'merge', { m: 1 }, 'more']] });
    bench.lose();
    bench.after(1000);
    expect(sent(bench.opened())).toEqual([{ watch: 1, path: '/a', since: 'e.1', ref: 2 }]);
  });

  test('shows no more than the beginning of what is not understood', () => {
    const bench = new Bench();
    bench.live();
    bench.hear(`<html>${'x'.repeat(200)}`);
    expect(bench.machine.problem!.detail!.length).toBeLessThan(220);
  });

  test('pauses longer each time, until a word comes, and half of it is chance', () => {
    const bench = new Bench();
    bench.watch();
    bench.flush();
    const pauses = () => timer(bench.lose({ code: 1006 }));
    bench.chance = 0;
    expect(pauses()).toBe(PAUSE_MS_MIN / 2);
    bench.after(1);
    bench.chance = 1;
    expect(pauses()).toBe(PAUSE_MS_MIN * 2);
    const rest = Array.from({ length: 6 }, () => (bench.after(1), pauses()));
    expect(rest).toEqual([1000, 2000, 4000, 8000, PAUSE_MS_MAX, PAUSE_MS_MAX]);
    bench.after(1);
    // A connection that is lost as soon as it has got a word makes no new beginning.
    bench.opened();
    bench.hear({ ref: 1, status: 200 });
    bench.after(STABLE_MS - 1);
    expect(pauses()).toBe(PAUSE_MS_MAX);
    bench.after(1);
    bench.opened();
    bench.hear({ ref: 2, status: 200 });
    bench.after(STABLE_MS);
    expect(pauses()).toBe(PAUSE_MS_MIN);
  });

  test('waits as long as the server asks for, up to a bound', () => {
    const bench = new Bench();
    bench.live();
    expect(timer(bench.lose({ retryAfter: 700 }))).toBe(700 + PAUSE_MS_MIN * 0.75);
    const other = new Bench();
    other.live();
    expect(timer(other.lose({ retryAfter: 1e9 }))).toBe(RETRY_AFTER_MS_MAX + PAUSE_MS_MIN * 0.75);
  });

  test.each([
    [undefined, 'pause'], [1000, 'pause'], [1001, 'pause'], [1002, 'never'], [1003, 'never'], [1006, 'pause'], [1007, 'never'], [1009, 'never'],
    [1011, 'pause'], [3999, 'pause'], [4000, 'spread'], [4001, 'once'], [4099, 'once'], [4100, 'slower'], [4199, 'slower'], [4200, 'pause'],
    [4399, 'pause'], [4400, 'never'], [4499, 'never'], [4500, 'pause'],
  ] as const)('after close code %s: %s', (code, how) => {
    expect(comeBack(code)).toBe(how);
    const bench = new Bench();
    bench.live();
    bench.after(STABLE_MS);
    const ms = timer(bench.lose({ code }));
    expect(ms).toBe({ pause: PAUSE_MS_MIN * 0.75, never: undefined, spread: SPREAD_MS / 2, once: 0, slower: PAUSE_MS_MAX * 0.75 }[how]);
    expect(bench.machine.phase).toBe(how === 'never' ? 'refused' : 'waiting');
    // What follows at once waits longer.
    bench.do({ type: 'reconnect' });
    bench.lose({ code: 1006 });
    expect(timer(bench.done)).toBe({ pause: PAUSE_MS_MIN * 1.5, never: PAUSE_MS_MIN * 0.75, spread: PAUSE_MS_MIN * 1.5, once: PAUSE_MS_MIN * 1.5, slower: PAUSE_MS_MAX * 0.75 }[how]);
  });

  test('at once is for connections that were good: others pause as after any loss', () => {
    const bench = new Bench();
    bench.live();
    bench.after(STABLE_MS - 1);
    expect(timer(bench.lose({ code: 4001 }))).toBe(PAUSE_MS_MIN * 0.75);
    bench.after(1);
    expect(timer(bench.lose({ code: 4001 }))).toBe(PAUSE_MS_MIN * 1.5);
  });

  test('that makes no sense says why', () => {
    const bench = new Bench();
    bench.live();
    bench.lose({ code: 1009, problem: { type: 'ended', detail: 'a message of more than 10 bytes' } });
    expect(bench.machine).toMatchObject({ phase: 'refused', problem: { type: 'ended', detail: 'a message of more than 10 bytes' } });
    const silent = new Bench();
    silent.live();
    silent.lose({ code: 1002 });
    expect(silent.machine.problem).toMatchObject({ type: 'ended', detail: expect.stringContaining('1002') });
  });

  test('does not happen when nothing is wanted any more', () => {
    const bench = new Bench();
    const link = bench.live();
    bench.lose();
    bench.do({ type: 'unwatch', link });
    expect(bench.after(1000)).toEqual([{ do: 'timer', ms: undefined }]);
    expect(bench.machine.phase).toBe('idle');
  });
});

describe('calls', () => {
  test('are answered by their number', () => {
    const bench = new Bench();
    const [one, two] = [bench.call({ put: '/a', value: 1 }), bench.call({ get: '/a' }, false)];
    bench.flush();
    expect(sent(bench.opened())).toEqual([{ put: '/a', value: 1, ref: 1 }, { get: '/a', ref: 2 }]);
    const answer = { ref: 2, status: 200, value: 1 };
    expect(bench.hear(answer)).toContainEqual({ do: 'answered', call: two, answer });
    expect(bench.hear({ ref: 1, status: 201, rev: 'e.1' })).toContainEqual({ do: 'answered', call: one, answer: { ref: 1, status: 201, rev: 'e.1' } });
    expect(bench.hear({ ref: 1, status: 201 })).toEqual([]);
  });

  test('that are made while the connection is are made once', () => {
    const bench = new Bench();
    bench.flush();
    bench.watch();
    bench.flush();
    bench.call();
    expect(sent(bench.opened())).toContainEqual({ put: '/a', value: 1, ref: 2 });
    expect(sent(bench.hear({ ref: 1, status: 200 }))).toEqual([]);
  });

  test('that expire take no other with them', () => {
    const bench = new Bench();
    bench.live();
    const [first] = [bench.call(), bench.call({ get: '/b' }, false)];
    bench.do({ type: 'expire', call: first });
    expect(sent(bench.flush())).toEqual([{ get: '/b', ref: 2 }]);
  });

  test('that wait are offline when their time is over, and are not sent after it', () => {
    const bench = new Bench();
    const call = bench.call();
    bench.flush();
    expect(bench.do({ type: 'expire', call })).toEqual([{ do: 'broken', call, why: 'offline' }]);
    expect(sent(bench.opened())).toEqual([{ credit: 0, ref: 1 }]);
    const live = new Bench();
    live.live();
    const early = live.call();
    live.do({ type: 'expire', call: early });
    expect(live.flush()).toEqual([]);
  });

  test('that are on their way are not offline, and not asked a second time after a loss', () => {
    const bench = new Bench();
    bench.live();
    const [write, read, late] = [bench.call(), bench.call({ get: '/b' }, false), bench.call({ get: '/c' }, false)];
    bench.flush();
    for (const call of [write, late]) expect(bench.do({ type: 'expire', call })).toEqual([]);
    expect(bench.lose().slice(0, 2)).toEqual([{ do: 'broken', call: write, why: 'unsure' }, { do: 'broken', call: late, why: 'offline' }]);
    bench.after(1000);
    expect(sent(bench.opened())).toContainEqual({ ...read.command, ref: 6 });
  });

  test('that are too long for a message go by a request at once, with a connection or without', () => {
    const bench = new Bench();
    const call = { command: { put: '/a', value: 1 }, writes: true, length: MESSAGE_LENGTH_MAX + 1 };
    expect(bench.do({ type: 'call', call })).toEqual([{ do: 'request', call }]);
    bench.live();
    expect(bench.do({ type: 'call', call })).toEqual([{ do: 'request', call }]);
    expect(bench.flush()).toEqual([]);
    bench.do({ type: 'disconnect' });
    expect(bench.do({ type: 'call', call })).toEqual([{ do: 'broken', call, why: 'offline' }]);
  });

  test('that were too long for the server or a gateway go by a request, and disturb nothing else', () => {
    const bench = new Bench();
    const link = bench.live();
    const before = bench.call({ put: '/b', value: 1 });
    const long = bench.call({ put: '/a', value: 1 }, true, 100_000);
    const after = bench.call({ put: '/c', value: 1 });
    const other = bench.call({ put: '/d', value: 1 }, true, 60_000);
    // What is longer than anything that got through is tried alone.
    expect(sent(bench.flush())).toEqual([{ put: '/b', value: 1, ref: 2 }]);
    expect(sent(bench.flush())).toEqual([]);
    const answer = { ref: 2, status: 200 };
    expect(bench.hear(answer)).toEqual([
      { do: 'answered', call: before, answer },
      { do: 'send', commands: [{ put: '/a', value: 1, ref: 3 }] },
      { do: 'timer', ms: ANSWER_MS_MAX + 100_000 / UNITS_PER_MS },
    ]);
    expect(bench.lose({ code: 1009 })).toEqual([{ do: 'request', call: long }, { do: 'request', call: other }, { do: 'timer', ms: 0 }]);
    expect([bench.machine.phase, link.known]).toEqual(['waiting', true]);
    bench.after(0);
    expect(sent(bench.opened())).toEqual([{ watch: 1, path: '/a', since: 'e.1', ref: 4 }, { put: '/c', value: 1, ref: 5 }]);
    bench.hear({ ref: 4, status: 200 });
    expect(bench.hear({ ref: 5, status: 200 })).toContainEqual({ do: 'answered', call: after, answer: { ref: 5, status: 200 } });
    // From now on it is known.
    const next = { command: { put: '/a', value: 2 }, writes: true, length: 60_000 };
    expect(bench.do({ type: 'call', call: next })).toEqual([{ do: 'request', call: next }]);
    bench.call({ put: '/a', value: 3 }, true, 40_000);
    expect(sent(bench.flush())).toMatchObject([{ put: '/a', value: 3 }]);
  });

  test('that are as long as one that got through need not wait for each other', () => {
    const bench = new Bench();
    bench.live();
    bench.call({ put: '/a', value: 1 }, true, 100_000);
    for (const path of ['/b', '/c']) bench.call({ put: path, value: 1 }, true, 90_000);
    const last = bench.call({ put: '/d', value: 1 });
    expect(sent(bench.flush())).toMatchObject([{ put: '/a' }]);
    // One that is called off meanwhile is not sent.
    expect(bench.do({ type: 'expire', call: last })).toEqual([{ do: 'broken', call: last, why: 'offline' }]);
    expect(sent(bench.hear({ ref: 2, status: 200 }))).toMatchObject([{ put: '/b' }, { put: '/c' }]);
  });

  test('that were too long with the first message leave the transport as it is', () => {
    const bench = new Bench({ transports: ['websocket', 'events'] });
    bench.watch();
    bench.flush();
    const long = bench.call({ put: '/a', value: 1 }, true, 100_000);
    bench.call({ put: '/b', value: 1 });
    expect(sent(bench.opened())).toMatchObject([{ watch: 1 }, { put: '/a' }]);
    expect(bench.lose({ code: 1009 })).toEqual([{ do: 'request', call: long }, { do: 'timer', ms: 0 }]);
    expect(bench.after(0)).toContainEqual({ do: 'connect', transport: 'websocket' });
    expect(sent(bench.opened())).toMatchObject([{ watch: 1 }, { put: '/b' }]);
  });

  test('that waited long enough already are not sent a second time when they were too long', () => {
    const bench = new Bench();
    bench.live();
    const long = bench.call({ put: '/a', value: 1 }, true, 100_000);
    bench.flush();
    bench.do({ type: 'expire', call: long });
    expect(bench.lose({ code: 1009 })).toEqual([{ do: 'broken', call: long, why: 'unsure' }, { do: 'timer', ms: 0 }]);
  });

  test('that are short are not to blame for a message that was too long', () => {
    const bench = new Bench();
    bench.live();
    bench.call();
    bench.flush();
    bench.lose({ code: 1009 });
    expect(bench.machine.phase).toBe('refused');
  });

  test('find out soon that the connection is dead', () => {
    const bench = new Bench();
    bench.live();
    const call = bench.call();
    expect(timer(bench.flush())).toBe(ANSWER_MS_MAX);
    // Others do not put that off.
    bench.now += 5_000;
    bench.call();
    expect(timer(bench.flush())).toBeUndefined();
    expect(bench.after(ANSWER_MS_MAX - 5_000)).toContainEqual({ do: 'broken', call, why: 'unsure' });
    expect(bench.machine.phase).toBe('waiting');
  });

  test('that are long take their time on a slow network', () => {
    const bench = new Bench();
    bench.live();
    bench.call({ put: '/a', value: 1 }, true, 500_000);
    expect(timer(bench.flush())).toBe(ANSWER_MS_MAX + 500_000 / UNITS_PER_MS);
  });

  test('that are slow are waited for as long as anything is heard', () => {
    const bench = new Bench();
    bench.live();
    bench.call();
    bench.flush();
    bench.hear({ rev: 'e.2', t: 6, synced: true });
    expect(bench.after(ANSWER_MS_MAX)).toEqual([{ do: 'timer', ms: SILENCE_MS - ANSWER_MS_MAX }]);
    expect(bench.machine.phase).toBe('live');
  });

  test('that were cut off are unsure if they write, and asked again if they read', () => {
    const bench = new Bench();
    bench.live();
    const [write, read] = [bench.call(), bench.call({ get: '/a' }, false)];
    bench.flush();
    expect(bench.lose()).toEqual([{ do: 'broken', call: write, why: 'unsure' }, { do: 'timer', ms: PAUSE_MS_MIN * 0.75 }]);
    bench.after(1000);
    expect(sent(bench.opened())).toEqual([{ watch: 1, path: '/a', since: 'e.1', ref: 4 }, { get: '/a', ref: 5 }]);
    expect(bench.hear({ ref: 5, status: 200 })).toContainEqual({ do: 'answered', call: read, answer: { ref: 5, status: 200 } });
  });

  test('break when the connection is switched off, refused or closed', () => {
    for (const [event, why] of [[{ type: 'disconnect' }, 'offline'], [{ type: 'close' }, 'closed'], [{ type: 'lost', code: 4400 }, 'offline']] as const) {
      const bench = new Bench();
      bench.watch();
      bench.flush();
      const call = bench.call();
      expect(bench.do(event)).toContainEqual({ do: 'broken', call, why });
      expect(bench.do({ type: 'reconnect' }).length > 0 && sent(bench.opened())).not.toContainEqual(expect.objectContaining({ put: '/a' }));
    }
    const bench = inPhase('off');
    const call = bench.call();
    expect(bench.done).toContainEqual({ do: 'broken', call, why: 'offline' });
    const closed = inPhase('closed');
    const late = closed.call();
    expect(closed.done).toContainEqual({ do: 'broken', call: late, why: 'closed' });
  });

  test('keep a connection for a while after them, and no longer', () => {
    const bench = new Bench();
    bench.call({ get: '/a' }, false);
    bench.flush();
    bench.opened();
    expect(timer(bench.hear({ ref: 1, status: 200 }))).toBe(LINGER_MS);
    expect(bench.flush()).toEqual([]); // it does not begin anew
    expect(kinds(bench.after(LINGER_MS))).toEqual(['drop', 'timer']);
    expect(bench.machine.phase).toBe('idle');
  });

  test('that come in the meantime keep it', () => {
    const bench = new Bench();
    const link = bench.live();
    bench.do({ type: 'unwatch', link });
    expect(timer(bench.flush())).toBe(LINGER_MS);
    bench.now += 1000;
    bench.call();
    expect(timer(bench.flush())).toBe(ANSWER_MS_MAX);
    bench.hear({ rev: 'e.2', t: 6, synced: true });
    expect(timer(bench.after(ANSWER_MS_MAX))).toBe(SILENCE_MS - ANSWER_MS_MAX);
    expect(bench.machine.phase).toBe('live');
  });
});

describe('silence', () => {
  test('is asked about, and taken for a loss when the answer does not come', () => {
    const bench = new Bench({ credit: 500 });
    bench.live();
    expect(timer(bench.done)).toBe(SILENCE_MS);
    bench.now += 5_000;
    bench.hear({ rev: 'e.2', t: 6, synced: true });
    expect(bench.after(SILENCE_MS - 5_000)).toEqual([{ do: 'timer', ms: 5_000 }]);
    expect(bench.after(5_000)).toEqual([{ do: 'send', commands: [{ credit: 500, ref: 2 }] }, { do: 'timer', ms: OPEN_MS_MAX }]);
    expect(bench.machine.isInStep()).toBe(true);
    expect(kinds(bench.after(OPEN_MS_MAX))).toEqual(['drop', 'timer']);
    expect(bench.machine.phase).toBe('waiting');
  });

  test('that is answered is no loss, and says that all is in step', () => {
    const bench = new Bench();
    bench.live();
    bench.after(SILENCE_MS);
    bench.now += 100;
    bench.hear({ ref: 2, status: 200 });
    expect(bench.machine.inStepAt).toBe(bench.now);
    expect(bench.after(OPEN_MS_MAX - 100)).toEqual([{ do: 'timer', ms: SILENCE_MS - OPEN_MS_MAX + 100 }]);
    expect(bench.machine.phase).toBe('live');
  });

  test('is asked about once when something makes it worth while', () => {
    const bench = new Bench();
    bench.live();
    bench.now += 1_000;
    expect(kinds(bench.do({ type: 'nudge' }))).toEqual(['send', 'timer']);
    expect(kinds(bench.do({ type: 'nudge' }))).toEqual(['timer']);
    expect(kinds(bench.after(OPEN_MS_MAX))).toEqual(['drop', 'timer']);
  });

  test('of a stream is its reader’s to notice', () => {
    const bench = new Bench({ transports: ['events'] });
    bench.live();
    expect(bench.after(SILENCE_MS)).toEqual([{ do: 'timer', ms: SILENCE_MS }]);
  });

  test('from the start is a loss', () => {
    const bench = new Bench();
    bench.watch();
    expect(timer(bench.flush())).toBe(OPEN_MS_MAX);
    expect(kinds(bench.after(OPEN_MS_MAX))).toEqual(['drop', 'timer']);
    expect(bench.machine.problem).toBeUndefined();
    const stream = new Bench({ transports: ['events'] });
    stream.watch();
    stream.flush();
    stream.after(OPEN_MS_MAX);
    expect(stream.machine.problem).toMatchObject({ type: 'offline', detail: 'no word within 10 s', hint: expect.stringContaining('proxy_buffering off') });
  });
});

describe('credit', () => {
  test('is given at the start and acknowledged by halves', () => {
    const bench = new Bench({ credit: 1200 });
    const link = bench.watch();
    bench.flush();
    expect(sent(bench.opened())).toEqual([{ credit: 1200 }, { watch: 1, path: '/a', ref: 1 }]);
    expect(sent(bench.hear({ ref: 1, status: 200, rev: 'e.1', padding: 'x'.repeat(500) }))).toEqual([]); // answers do not count
    const message = (rev: string, length: number) => ({ rev, t: 1, set: [[link.id, 'snapshot', 'x'.repeat(length)]] });
    const overhead = JSON.stringify(message('e.1', 0)).length;
    expect(sent(bench.hear(message('e.1', 199 - overhead)))).toEqual([]);
    expect(sent(bench.hear(message('e.2', 0)))).toEqual([{ ack: 'e.2' }]);
    expect(sent(bench.hear(message('e.3', 199 - overhead)))).toEqual([]);
    expect(sent(bench.hear(message('e.4', 200 - overhead)))).toEqual([{ ack: 'e.4' }]);
    expect(sent(bench.hear(message('e.5', 200 - overhead)))).toEqual([{ ack: 'e.5' }]); // the half itself
  });

  test('is acknowledged in time whatever the text is: a server counts bytes', () => {
    const bench = new Bench({ credit: 1200 });
    const link = bench.live();
    const text = JSON.stringify({ rev: 'e.2', t: 1, set: [[link.id, 'snapshot', '漢'.repeat(200)]] });
    expect(Buffer.byteLength(text)).toBeGreaterThan(600);
    expect(text.length).toBeLessThan(600);
    expect(sent(bench.hear(text))).toEqual([{ ack: 'e.2' }]);
  });

  test('is not given when there is none, nor on a stream', () => {
    for (const settings of [{ credit: 0 }, { credit: 100, transports: ['events'] as const }]) {
      const bench = new Bench(settings);
      const link = bench.watch();
      bench.flush();
      expect(sent(bench.opened())).toEqual([{ watch: 1, path: '/a', ref: 1 }]);
      bench.hear({ ref: 1, status: 200 });
      expect(sent(bench.hear({ rev: 'e.1', t: 1, set: [[link.id, 'snapshot', 'x'.repeat(500)]] }))).toEqual([]);
    }
  });

  test('begins anew with a connection and with a probe', () => {
    const bench = new Bench({ credit: 300 });
    const link = bench.live();
    const half = { rev: 'e.2', t: 1, set: [[link.id, 'snapshot', '']] };
    const length = JSON.stringify(half).length * 3;
    expect(length).toBeLessThan(150);
    expect(length).toBeGreaterThan(75);
    bench.lose();
    bench.after(1000);
    bench.opened();
    bench.hear({ ref: 2, status: 200 });
    expect(sent(bench.hear(half))).toEqual([]);
    bench.do({ type: 'nudge' });
    expect(sent(bench.hear(half))).toEqual([]);
    expect(sent(bench.hear(half))).toEqual([{ ack: 'e.2' }]);
  });
});

describe('an event stream', () => {
  const stream = () => new Bench({ transports: ['events'] });

  test('is opened with all that is watched, and another takes its place when that changes', () => {
    const bench = stream();
    bench.live();
    bench.watch('/b');
    expect(kinds(bench.flush())).toEqual(['drop', 'connect', 'timer']);
    expect(sent(bench.opened())).toEqual([{ watch: 1, path: '/a', since: 'e.1', ref: 2 }, { watch: 2, path: '/b', ref: 3 }]);
    expect(bench.flush()).toEqual([]);
  });

  test('is synced before another takes its place, however fast links come and go', () => {
    const bench = stream();
    const first = bench.watch('/a');
    bench.flush();
    let ref = 0;
    for (let round = 1; round <= 20; round++) {
      bench.opened();
      // Faster than a round trip.
      const [come, go] = [bench.watch(`/come/${round}`), bench.watch(`/go/${round}`)];
      expect(kinds(bench.flush())).toEqual([]);
      bench.hear({ ref: ++ref, status: 200 });
      bench.do({ type: 'unwatch', link: go });
      expect(kinds(bench.flush())).toEqual([]);
      // Part of what it was opened for is not yet all of it.
      expect(kinds(bench.hear({ rev: `e.${round}`, t: 5, set: [[first.id, 'snapshot', round, 'more']] }))).toEqual([]);
      const call = bench.call();
      expect(bench.flush()).toEqual([{ do: 'request', call }]);
      const actions = bench.hear({ rev: `e.${round}`, t: 5, set: [[first.id, 'merge', { round }]], synced: true });
      expect(kinds(actions)).toEqual(['told', 'drop', 'connect', 'timer']);
      expect([first.value, first.covered, bench.machine.cursor]).toEqual([{ round }, true, `e.${round}`]);
      bench.do({ type: 'unwatch', link: come });
    }
    // What is not needed any more is not waited for.
    bench.opened();
    bench.hear({ ref: ++ref, status: 200 });
    bench.do({ type: 'unwatch', link: first });
    expect(kinds(bench.flush())).toEqual(['drop', 'timer']);
  });

  test('stays when what came goes again before it is synced', () => {
    const bench = stream();
    bench.watch('/a');
    bench.flush();
    bench.opened();
    const link = bench.watch('/b');
    bench.flush();
    bench.do({ type: 'unwatch', link });
    bench.hear({ ref: 1, status: 200 });
    expect(kinds(bench.hear({ rev: 'e.1', t: 5, set: [[1, 'gone']], synced: true }))).toEqual(['told']);
  });

  test('is not waited for when nothing that it was opened for is watched any more', () => {
    const bench = stream();
    const link = bench.watch('/a');
    bench.flush();
    bench.opened();
    bench.hear({ ref: 1, status: 200 });
    bench.do({ type: 'unwatch', link });
    bench.watch('/b');
    expect(kinds(bench.flush())).toEqual(['drop', 'connect', 'timer']);
  });

  test('ends when nothing is watched', () => {
    const bench = stream();
    const link = bench.live();
    bench.do({ type: 'unwatch', link });
    expect(kinds(bench.flush())).toEqual(['drop', 'timer']);
    expect(bench.machine.phase).toBe('idle');
  });

  describe('of which the server has ended every link (PROTOCOL M4d) is no loss', () => {
    const problem = { type: 'bad-view', status: 400 };
    const ends: readonly [string, readonly unknown[]][] = [
      ['refused', [{ ref: 1, link: 1, ...problem }]],
      ['refused with the whole command', [{ ref: 1, ...problem }]],
      ['ended by a message, before its state', [{ ref: 1, status: 200 }, { error: { ...problem, ends: true }, link: 1 }]],
      ['ended within the state', [{ ref: 1, status: 200 }, { rev: 'e.1', t: 5, set: [[1, 'error', problem]], synced: true }]],
      ['ended by a message, after its state', [
        { ref: 1, status: 200 }, { rev: 'e.1', t: 5, set: [[1, 'snapshot', 1]], synced: true }, { error: { ...problem, ends: true }, link: 1 },
      ]],
    ];
    /** A stream with one link on which this was heard, and what was done by the last of it. */
    const heard = (messages: readonly unknown[], meanwhile?: (bench: Bench) => void) => {
      const bench = stream();
      bench.watch('/a');
      bench.flush();
      bench.opened();
      meanwhile?.(bench);
      return { bench, last: messages.map((message) => bench.hear(message)).at(-1)! };
    };

    test.each(ends)('%s', (_, messages) => {
      const { bench, last } = heard(messages);
      expect(kinds(last).filter((kind) => kind !== 'timer')).toEqual(['failed', 'drop']);
      expect([bench.machine.phase, timer(last)]).toEqual(['idle', undefined]);
      // The end that follows is that of a stream that is not heard any more; the next link is asked for at once.
      expect(bench.lose()).toEqual([]);
      bench.watch('/b');
      expect(kinds(bench.flush())).toEqual(['connect', 'timer']);
    });

    test.each(ends.slice(0, 4))('%s, while another link waits', (_, messages) => {
      const { bench, last } = heard(messages, (bench) => void bench.watch('/b'));
      expect(kinds(last).filter((kind) => kind !== 'timer')).toEqual(['failed', 'drop', 'connect']);
      expect(sent(bench.opened())).toEqual([{ watch: 2, path: '/b', ref: 2 }]);
    });

    test('however often, and a loss after it pauses as the first does', () => {
      const bench = stream();
      for (let ref = 1; ref <= 10; ref++) {
        bench.watch('/a');
        expect(kinds(bench.flush())).toEqual(['connect', 'timer']);
        bench.opened();
        bench.hear({ ref, ...problem });
      }
      bench.watch('/b');
      bench.flush();
      expect(timer(bench.lose())).toBe(PAUSE_MS_MIN * 0.75);
    });

    test('but one that has a link left goes on, and its end is one', () => {
      const bench = stream();
      bench.watch('/a');
      bench.watch('/b');
      bench.flush();
      bench.opened();
      expect(kinds(bench.hear({ ref: 1, link: 1, ...problem }))).toEqual(['timer', 'failed']);
      expect(bench.machine.phase).toBe('live');
      expect(timer(bench.lose())).toBe(PAUSE_MS_MIN * 0.75);
      expect(bench.machine.phase).toBe('waiting');
    });
  });

  test('is not needed for calls', () => {
    const bench = stream();
    const call = bench.call();
    expect(bench.flush()).toEqual([{ do: 'request', call }, { do: 'timer', ms: undefined }]);
    expect(bench.machine.phase).toBe('idle');
    bench.live();
    const next = bench.call();
    expect(bench.flush()).toEqual([{ do: 'request', call: next }]);
    expect(bench.machine.phase).toBe('live');
  });

  test('carries who speaks', () => {
    const bench = stream();
    bench.watch();
    bench.flush();
    expect(sent(bench.opened('me'))).toEqual([{ auth: 'me' }, { watch: 1, path: '/a', ref: 1 }]);
  });

  test('that is lost while calls wait does them when it is back', () => {
    const bench = stream();
    bench.live();
    bench.lose();
    const call = bench.call();
    bench.after(1000);
    bench.opened();
    expect(bench.hear({ ref: 2, status: 200 })).toContainEqual({ do: 'request', call });
  });

  test('that goes on is heard as a socket is', () => {
    const bench = stream();
    const link = bench.live();
    expect(told(bench.hear({ rev: 'e.2', t: 6, set: [[link.id, 'merge', { n: 2 }]], synced: true }))).toEqual([['/a', { n: 2 }]]);
  });
});

describe('where one transport does not get through', () => {
  const both = () => new Bench({ transports: ['websocket', 'events'] });
  const connects = (actions: readonly Action[]) => actions.flatMap((action) => (action.do === 'connect' ? [action.transport] : []));

  test('calls alone try the other in time, and at once for a while', () => {
    const bench = both();
    const call = bench.call();
    expect(timer(bench.flush())).toBe(CALLS_OPEN_MS_MAX);
    expect(bench.after(CALLS_OPEN_MS_MAX)).toContainEqual({ do: 'request', call });
    expect(bench.machine.phase).toBe('idle');
    const next = bench.call();
    expect(bench.flush()).toContainEqual({ do: 'request', call: next });
    bench.now += BLOCKED_MS / 10;
    bench.call();
    expect(connects(bench.flush())).toEqual(['websocket']);
  });

  test('links that wait for long do not settle which is tried first', () => {
    const bench = both();
    bench.watch();
    bench.flush();
    expect(connects(bench.after(OPEN_MS_MAX))).toEqual(['events']);
    bench.lose();
    expect(connects(bench.after(PAUSE_MS_MAX))).toEqual(['websocket']);
    const stream = new Bench({ transports: ['events'] });
    const link = stream.watch();
    stream.flush();
    stream.do({ type: 'unwatch', link });
    stream.after(OPEN_MS_MAX);
    expect(stream.machine.blocked).toBe(0);
  });

  test('is not what a want of a token means', () => {
    const bench = both();
    bench.watch();
    bench.flush();
    for (let time = 0; time < 5; time++) {
      bench.lose({ retryAfter: 0, problem: { type: 'offline', detail: 'no token' } });
      expect(connects(bench.after(PAUSE_MS_MAX))).toEqual(['websocket']);
    }
  });

  test('the other is tried at once, and kept to for a while', () => {
    const bench = both();
    bench.watch();
    expect(connects(bench.flush())).toEqual(['websocket']);
    expect(connects(bench.lose({ code: 1006 }))).toEqual(['events']);
    bench.opened();
    bench.hear({ ref: 1, status: 200 });
    expect(bench.machine.blocked).toBe(bench.now + BLOCKED_MS);
    bench.lose();
    bench.now += BLOCKED_MS - 2;
    expect(connects(bench.after(1))).toEqual(['events']);
    bench.opened();
    bench.hear({ ref: 2, status: 200 });
    bench.lose();
    expect(connects(bench.after(1))).toEqual(['websocket']);
  });

  test('and neither does the other, there is a pause, and then the first again', () => {
    const bench = both();
    bench.watch();
    bench.flush();
    bench.lose({ code: 1006 });
    expect(kinds(bench.lose({}))).toEqual(['timer']);
    expect(bench.machine.blocked).toBe(0);
    expect(connects(bench.after(1000))).toEqual(['websocket']);
    expect(connects(bench.lose({ code: 1006 }))).toEqual(['events']);
  });

  test('also because nothing is heard of it', () => {
    const bench = both();
    bench.watch();
    bench.flush();
    bench.opened();
    expect(connects(bench.after(OPEN_MS_MAX))).toEqual(['events']);
  });

  test('a server that only asks to wait is waited for', () => {
    const bench = both();
    bench.watch();
    bench.flush();
    expect(kinds(bench.lose({ retryAfter: 1000 }))).toEqual(['timer']);
  });

  test('though it did before, it is taken for a restart at first', () => {
    const bench = both();
    bench.live();
    bench.lose({ code: 1006 });
    for (let attempt = 1; attempt < ATTEMPTS_BEFORE_OTHER; attempt++) {
      expect(connects(bench.after(20_000))).toEqual(['websocket']);
      expect(connects(bench.lose({ code: 1006 }))).toEqual([]);
    }
    bench.after(20_000);
    expect(connects(bench.lose({ code: 1006 }))).toEqual(['events']);
    // And it counts anew once it got through.
    bench.lose();
    bench.after(20_000);
    bench.opened();
    bench.hear({ ref: 9, status: 200 });
    bench.lose({ code: 1006 });
    bench.after(20_000);
    expect(connects(bench.lose({ code: 1006 }))).toEqual([]);
  });

  test('a connection that was lost after a word is not one that does not get through', () => {
    const bench = both();
    bench.live();
    expect(connects(bench.lose({ code: 1006 }))).toEqual([]);
    expect(bench.machine.phase).toBe('waiting');
  });

  test('what was wrong is told until a word comes', () => {
    const bench = both();
    bench.watch();
    bench.flush();
    const problem = { type: 'urn:halfping:problem:draining', status: 503 };
    bench.lose({ problem });
    expect(bench.machine.problem).toBe(problem);
    bench.opened();
    bench.hear({ ref: 1, status: 200 });
    expect(bench.machine.problem).toBeUndefined();
  });

  test('the application decides when to begin anew', () => {
    const bench = both();
    bench.watch();
    bench.flush();
    bench.lose({ code: 1006 });
    bench.do({ type: 'disconnect' });
    expect(connects(bench.do({ type: 'reconnect' }))).toEqual(['websocket']);
  });
});
