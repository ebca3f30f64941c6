// PROTOCOL P2, P3, P6 through each documented configuration: a request arrives at the resource that it names, or is refused with 4xx.
// It is told by a value of its own for each name, and by the whole tree, read at the server itself.
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { ask, askStream, openSession } from './request.mjs';
import { behind, MOUNTS } from './start.mjs';

const { decoys, paths } = JSON.parse(readFileSync(new URL('paths.json', import.meta.url)));

const isRefusal = ({ status }) => status >= 400 && status <= 499;
const quoted = (names) => `/${names.map(encodeURIComponent).join('/')}`;
const isSynced = (text) => text.includes('"synced"') || text.includes('event: synced');
const SSE = { accept: 'text/event-stream' };

export const names = Object.fromEntries(
  Object.entries(MOUNTS).map(([file, mount]) => [
    `names through ${file}`,
    () =>
      behind(file, ['--console', 'off'], async ({ proxy, direct, must }) => {
        const through = new Through({ file, mount, proxy, direct, must });
        await through.begin();
        for (const entry of paths) if (entry.target === undefined || mount) await through.try(entry);
        through.end();
      }),
  ]),
);

class Through {
  #file;
  #mount;
  #proxy;
  #direct;
  #must;
  #session; // through the proxy
  #tree = structuredClone(decoys); // what has to be in the server
  #count = 0;

  constructor({ file, mount, proxy, direct, must }) {
    this.#file = file;
    this.#mount = mount;
    this.#proxy = proxy;
    this.#direct = direct;
    this.#must = must;
  }

  async begin() {
    const { status } = await ask(this.#direct, 'PUT', '/', { body: JSON.stringify(decoys) });
    if (status !== 200 && status !== 201) throw new Error(`the decoys could not be written: ${status}`);
    this.#session = await openSession(this.#proxy, `${this.#mount}/`);
    if (this.#session.status !== 101) throw new Error(`no session at ${this.#mount}/: ${this.#session.status}`);
  }

  end() {
    this.#session.cut();
  }

  async try({ path, target = this.#mount + path, names, may = [] }) {
    const mayRefuse = names === null || may.some((file) => file === '*' || file === this.#file);
    const where = names === null ? '4xx' : `${JSON.stringify(names)}${mayRefuse ? ' or 4xx' : ''}`;
    const must = (holds, what, expected, got) => this.#must(holds, `${what} ${target} (${where})`, expected, got);
    /** True if it came through; if not, it has to be a refusal that is allowed. */
    const came = (what, answer, ...statuses) => {
      const did = names !== null && statuses.includes(answer.status);
      must(did || (mayRefuse && isRefusal(answer)), what, names === null ? '4xx' : statuses.join(' or '), answer.status);
      return did;
    };

    // A write through the proxy: it is there, and nothing anywhere else.
    const value = `value ${++this.#count}`;
    const put = await ask(this.#proxy, 'PUT', target, { body: JSON.stringify(value) });
    if (came('PUT', put, 201, 200)) set(this.#tree, names, value);
    await this.#compare(must, 'PUT');

    if (names === null) {
      came('GET', await ask(this.#proxy, 'GET', target));
      came('GET of events', await ask(this.#proxy, 'GET', target, { headers: SSE, until: () => true }));
      const socket = await openSession(this.#proxy, `${target}?watch`);
      socket.cut();
      came('WebSocket', socket);
      came('DELETE', await ask(this.#proxy, 'DELETE', target));
      return this.#compare(must, 'DELETE');
    }

    // In a session, the same path is the same resource; and what the session writes there, all others read.
    const inside = may.includes('*') ? quoted(names) : target.slice(this.#mount.length);
    const seen = await this.#watch(inside);
    const expected = isRefusal(put) ? 'gone' : value;
    must(seen === expected, 'watch in a session', expected, seen);
    const written = `${value}, by the session`;
    await this.#put(inside, written);
    set(this.#tree, names, written);
    await this.#compare(must, 'put in a session');

    const says = (what, text) => must(text.includes(JSON.stringify(written)), what, JSON.stringify(written), JSON.stringify(text.slice(0, 120)));
    const get = await ask(this.#proxy, 'GET', target);
    if (came('GET', get, 200)) says('GET', get.text);
    const events = await ask(this.#proxy, 'GET', target, { headers: SSE, until: isSynced });
    if (came('GET of events', events, 200)) says('GET of events', events.text);
    const socket = await openSession(this.#proxy, `${target}?watch`);
    if (came('WebSocket', socket, 101)) says('WebSocket', await socket.next((message) => message.set && JSON.stringify(message.set)));
    socket.cut();

    // The path in a query and in a body.
    const streams = `${this.#mount}/_streams`;
    const many = await ask(this.#proxy, 'GET', `${streams}?path=${encodeURIComponent(inside)}`, { headers: SSE, until: isSynced });
    says('GET /_streams of', many.text);
    const heard = await askStream(this.#proxy, streams, { watch: 1, path: inside }, { until: isSynced });
    says('POST /_streams of', heard.text);

    if (came('DELETE', await ask(this.#proxy, 'DELETE', target), 204)) remove(this.#tree, names);
    await this.#compare(must, 'DELETE');
  }

  /** Compares the whole tree, as the server itself has it, and goes on from what is there. */
  async #compare(must, what) {
    const tree = JSON.parse((await ask(this.#direct, 'GET', '/')).text);
    must(isDeepStrictEqual(tree, this.#tree), what, 'nothing else to change', difference(this.#tree, tree).join(', '));
    this.#tree = tree;
  }

  /** The value at a path, or the kind of the frame that has none. */
  async #watch(path) {
    const id = this.#count;
    this.#session.say({ watch: id, path, ref: id });
    const seen = await this.#session.next(({ set, ref, status, detail }) => {
      if (ref === id && status !== 200) return `${status}: ${detail}`;
      return set?.filter(([link]) => link === id).map(([, kind, body]) => body ?? kind)[0];
    });
    this.#session.say({ unwatch: id });
    return seen;
  }

  async #put(path, value) {
    const ref = this.#count + 1_000_000;
    this.#session.say({ put: path, value, ref });
    await this.#session.next((message) => (message.ref === ref ? message : undefined));
  }
}

function set(tree, names, value) {
  let at = tree;
  for (const name of names.slice(0, -1)) at = typeof at[name] === 'object' ? at[name] : (at[name] = {});
  at[names.at(-1)] = value;
}

function remove(tree, names) {
  const at = names.slice(0, -1).reduce((at, name) => at[name], tree);
  delete at[names.at(-1)];
}

/** The differences between two trees. */
function difference(expected, found, names = []) {
  if (isDeepStrictEqual(expected, found)) return [];
  if (typeof expected !== 'object' || typeof found !== 'object') {
    return [`${JSON.stringify(names)} is ${JSON.stringify(found)} and not ${JSON.stringify(expected)}`];
  }
  const members = [...new Set([...Object.keys(expected), ...Object.keys(found)])];
  return members.flatMap((name) => difference(expected[name], found[name], [...names, name]));
}
