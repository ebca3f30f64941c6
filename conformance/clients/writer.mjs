// Makes random changes and remembers what each resource was at each cursor.
//
// The model is kept with other people's appliers, and every change is read back at once. There is no other writer, so
// what a `GET` gives after a write is the state at the write's cursor.
import jsonPatch from 'fast-json-patch';
import mergePatch from 'json-merge-patch';
import { isDeepStrictEqual } from 'node:util';
import { JSON_PATCH, JSON_TYPE, MERGE_PATCH, send } from '../lib/http.mjs';

const KEYS = ['a', 'b', 'c', 'lat', 'lon', 'name', 'état', 'x/y', 'm~n', 'two words', '%41', '', '🛩'];
const LEAVES = [
  null, true, false, 0, -1, 42, 0.1, -3.25, 1e-7, 9007199254740991, 1.7976931348623157e308,
  '', 'on', 'off', 'line\nbreak', 'data: x\n\nid: 9', 'separators \u2028\u2029\u0085', 'quote " \\ /', '🛬', [], [1, [2], { a: null }],
];
const LARGE_MEMBERS = 1_500;

/** The number in a cursor. Only this harness looks into cursors (PROTOCOL C2); clients must not. */
export const revisionOf = (cursor) => Number(/\.(\d+)$/.exec(cursor)?.[1] ?? NaN);

export class Writer {
  writes = 0;
  /** Per path, in order: `{cursor, value}`, where `undefined` is absence. */
  history = new Map();

  /** Writes to the given `paths`, each of two segments, such as `/rooms/7`. The first gets most of the changes. */
  constructor({ url, random, paths }) {
    Object.assign(this, { url, random, paths });
    this.tree = {};
    for (const path of paths) this.history.set(path, []);
  }

  /** One random change, now and then several. */
  async change() {
    const { random } = this;
    const path = random.chance(0.75) ? this.paths[0] : random.pick(this.paths);
    const value = this.valueAt(path);
    const isObject = value !== null && typeof value === 'object' && !Array.isArray(value);
    const ways = [this.put, this.mergePatch];
    if (isObject) ways.push(this.putMember, this.putMember, this.mergePatch, this.jsonPatch, this.recreateMember);
    else ways.push(this.put);
    if (random.chance(0.03)) await this.putLarge(path);
    else if (random.chance(0.08)) await (value === undefined ? this.put(path) : this.remove(path));
    else if (random.chance(0.1)) await this.changeBoth();
    else if (random.chance(0.1)) await this.changeElsewhere();
    else await random.pick(ways).call(this, path);
  }

  /** The last change: all resources get a member `end`. */
  async end() {
    for (const path of this.paths) await this.write('PUT', path, { end: true, last: this.anyValue(2) });
  }

  // The ways to change. Each keeps the model (`this.tree`) and the server alike.

  put(path) {
    return this.write('PUT', path, this.random.chance(0.85) ? this.anyObject(3) : this.anyValue(1));
  }

  /** More than fits one frame, by any sensible limit: PROTOCOL S5. */
  putLarge(path) {
    const large = {};
    for (let n = 0; n < LARGE_MEMBERS; n += 1) large[`member ${n}`] = { n, text: 'x'.repeat(this.random.between(0, 120)) };
    return this.write('PUT', path, large);
  }

  remove(path) {
    return this.write('DELETE', path);
  }

  mergePatch(path) {
    const patch = { ...this.anyObject(3), [this.anyMemberOf(path)]: this.random.chance(0.5) ? null : this.anyValue(2) };
    return this.write('PATCH', path, patch, MERGE_PATCH);
  }

  jsonPatch(path) {
    const pointer = (key) => `/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    const member = this.anyMemberOf(path);
    const operations = [{ op: 'add', path: pointer(this.random.pick(KEYS)), value: this.anyValue(2) }];
    if (Object.hasOwn(this.valueAt(path), member)) operations.unshift({ op: 'remove', path: pointer(member) });
    return this.write('PATCH', path, operations, JSON_PATCH);
  }

  putMember(path) {
    return this.write('PUT', `${path}/${encodeURIComponent(this.random.pick(KEYS.filter(Boolean)))}`, this.anyValue(2));
  }

  /** An object that goes and comes back with other members: no merge patch can say that. */
  async recreateMember(path) {
    const member = `${path}/${encodeURIComponent(this.random.pick(KEYS.filter(Boolean)))}`;
    await this.write('PUT', member, this.anyObject(2));
    await this.write('DELETE', member);
    await this.write('PUT', member, this.anyObject(1));
  }

  /** One commit to all resources (PROTOCOL W2). */
  changeBoth() {
    const patch = {};
    for (const path of this.paths) {
      const [top, name] = path.split('/').slice(1);
      patch[top] = { [name]: this.anyObject(2) };
    }
    return this.write('PATCH', '/', patch, MERGE_PATCH);
  }

  /** A commit that is none of the followers' business: it takes a revision that they must never see (PROTOCOL C3). */
  changeElsewhere() {
    return this.write('PUT', '/elsewhere', this.writes);
  }

  // Random values.

  anyObject(depth) {
    const object = {};
    for (let members = this.random.between(0, 5); members > 0; members -= 1) {
      object[this.random.pick(KEYS)] = this.anyValue(depth - 1);
    }
    return object;
  }

  anyValue(depth) {
    return depth > 0 && this.random.chance(0.4) ? this.anyObject(depth) : this.random.pick(LEAVES);
  }

  anyMemberOf(path) {
    const value = this.valueAt(path);
    const members = value !== null && typeof value === 'object' && !Array.isArray(value) ? Object.keys(value) : [];
    return members.length > 0 ? this.random.pick(members) : this.random.pick(KEYS);
  }

  // Writing, and keeping account.

  /** Sends one write, makes the same change to the model, reads back and records. */
  async write(method, path, body, type = JSON_TYPE) {
    const what = `${method} ${path} ${JSON.stringify(body)?.slice(0, 300) ?? ''}`;
    const sent = body === undefined ? {} : { body: JSON.stringify(body), type };
    const answer = await send(method, `${this.url}${path}`, sent);
    this.tree = changed(this.tree, method, path, body, type);
    this.writes += 1;
    if (answer.status < 200 || answer.status > 204) throw new Error(`${what}: ${answer.status} ${answer.text}`);
    for (const followed of this.paths) await this.record(followed, what);
    const exact = this.history.get(path)?.at(-1);
    if (exact && answer.etag !== exact.cursor) {
      throw new Error(`${what}: answered the cursor ${answer.etag}, GET then ${exact.cursor} (PROTOCOL W7)`);
    }
  }

  async record(path, what) {
    const { status, etag, text } = await send('GET', `${this.url}${path}`);
    const value = status === 404 ? undefined : JSON.parse(text);
    if (!isDeepStrictEqual(value, this.valueAt(path))) {
      throw new Error(`after ${what}\n  GET ${path} is ${text}\n  and should be ${JSON.stringify(this.valueAt(path))}`);
    }
    const history = this.history.get(path);
    const last = history.at(-1);
    const changes = last === undefined || !isDeepStrictEqual(last.value, value);
    if (last !== undefined && (etag !== last.cursor) !== changes) {
      throw new Error(`after ${what}\n  ${path} ${changes ? 'changed' : 'did not change'}, its cursor went from ${last.cursor} to ${etag} (PROTOCOL C3)`);
    }
    if (changes) history.push({ cursor: etag, value });
  }

  valueAt(path) {
    return segmentsOf(path).reduce((node, segment) => (Object.hasOwn(node ?? {}, segment) ? node[segment] : undefined), this.tree);
  }
}

const segmentsOf = (path) => path.split('/').filter(Boolean).map(decodeURIComponent);

/** The tree after a write: what PROTOCOL 6 says, in terms of merge patches and RFC 6902. */
function changed(tree, method, path, body, type) {
  const copy = structuredClone(tree);
  const segments = segmentsOf(path);
  if (segments.length === 0) return mergePatch.apply(copy, body);
  const last = segments.pop();
  let parent = copy;
  for (const segment of segments) parent = parent[segment] ??= {};
  if (method === 'DELETE') delete parent[last];
  else if (method === 'PUT') parent[last] = structuredClone(body);
  else if (type === MERGE_PATCH) parent[last] = mergePatch.apply(parent[last], body);
  else parent[last] = jsonPatch.applyPatch(parent[last], structuredClone(body), true).newDocument;
  return copy;
}
