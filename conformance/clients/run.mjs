// Other people's clients follow a resource through a proxy that cuts, and miss nothing (PROTOCOL S5, S7, S8, C4).
//
//   node conformance/clients/run.mjs [CLIENT...]        all, or some
//   SEED=123 node conformance/clients/run.mjs           the same choices again (timing is the machine's)
//
// server <- cutting proxy (one per client) <- client, which prints {"id", "value"} for each state that it reaches
//        <- writer, which knows what the value was at each cursor
import { spawn } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { FRAMINGS, startProxy } from '../lib/proxy.mjs';
import { python } from '../lib/python.mjs';
import { randomness, seed } from '../lib/random.mjs';
import { startServer } from '../lib/server.mjs';
import { revisionOf, Writer } from './writer.mjs';

const CUTS_MIN = 50; // per client
const WRITES_MIN = 400;
const WRITING_MS_MAX = 60_000;
const FINISHING_MS_MAX = 30_000;
const KINDS = ['snapshot', 'merge', 'patch', 'gone', 'synced', 'part'];

const PATHS = ['/rooms/7', '/doors/7'];
const ONE = PATHS[0];
const ALL = `/_streams?${PATHS.map((path) => `path=${path}`).join('&')}`;
const clients = [
  { name: 'eventsource', script: 'eventsource.mjs' },
  { name: 'eventsource-plain', script: 'eventsource-plain.mjs', nullIsAbsent: true },
  { name: 'eventsource-streams', script: 'eventsource-streams.mjs', target: ALL },
  { name: 'eventsource-parser', script: 'eventsource-parser.mjs' },
  { name: 'fetch-event-source', script: 'fetch-event-source.mjs' },
  { name: 'httpx-sse', script: 'httpx_sse_client.py' },
  { name: 'sseclient-py', script: 'sseclient_py_client.py' },
  { name: 'curl', script: 'curl.py' },
  { name: 'curl-ndjson', script: 'curl_ndjson.py', framing: FRAMINGS.ndjson },
];

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !clients.some((client) => client.name === name));
if (unknown.length > 0) {
  console.error(`no client is called ${unknown.join(', ')}; there are ${clients.map(({ name }) => name).join(', ')}`);
  process.exit(2);
}

console.log(`seed ${seed} (again: SEED=${seed} node conformance/clients/run.mjs)`);
const random = randomness(seed);
const server = await startServer();
const writer = new Writer({ url: server.url, random, paths: PATHS });
const runs = [];
for (const client of clients) {
  const ownSeed = random.between(0, 2 ** 32 - 1); // drawn for all, so that a selection does not change the others
  if (wanted.length === 0 || wanted.includes(client.name)) runs.push(await start(client, ownSeed));
}

let failed = false;
try {
  await write();
  await untilAllEnd();
  report();
} catch (error) {
  failed = true;
  console.log(`FAILED ${error.message}`);
}
const complaint = server.complaint();
if (complaint) {
  failed = true;
  console.log(`FAILED ${complaint}`);
}
for (const { child, proxy } of runs) {
  child.kill('SIGKILL');
  proxy.stop();
}
await server.stop();
process.exit(failed ? 1 : 0);

/** Starts one client behind a proxy of its own. */
async function start({ name, script, target = ONE, framing = FRAMINGS.sse, nullIsAbsent = false }, ownSeed) {
  const proxy = await startProxy({ port: server.port, random: randomness(ownSeed), framing });
  const [command, env] = script.endsWith('.py') ? python() : [process.execPath, {}];
  const child = spawn(command, [fileURLToPath(new URL(script, import.meta.url)), `${proxy.url}${target}`], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  const run = { name, target, nullIsAbsent, proxy, child, states: [], complaint: '', ended: undefined };
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    const lines = (rest + text).split('\n'); // not `readline`, which also splits at U+2028
    rest = lines.pop();
    run.states.push(...lines);
  });
  child.stderr.on('data', (bytes) => (run.complaint += bytes));
  child.once('error', (error) => (run.ended = error.message));
  child.once('close', (code, signal) => (run.ended = signal ?? code));
  return run;
}

/** Writes in bursts until every client was cut often enough. */
async function write() {
  const deadline = Date.now() + WRITING_MS_MAX;
  const behind = () => runs.filter(({ proxy }) => proxy.cuts < CUTS_MIN);
  while (writer.writes < WRITES_MIN || behind().length > 0) {
    for (let burst = random.between(1, 8); burst > 0; burst -= 1) await writer.change();
    const early = runs.find(({ ended }) => ended !== undefined);
    if (early) throw new Error(`${early.name} ended too early (${early.ended}):\n${ends(early.complaint)}`);
    if (server.complaint()) return;
    if (Date.now() > deadline) {
      const slow = behind().map(({ name, proxy }) => `${name} (${proxy.requests.length} requests, ${proxy.cuts} cuts)`);
      throw new Error(`after ${WRITING_MS_MAX} ms these were not yet cut ${CUTS_MIN} times: ${slow.join(', ')}`);
    }
    await pause(random.between(0, 20)); // a pace, so that some changes travel alone and some are joined
  }
  await writer.end();
}

/** Each client leaves by itself when it sees the last value. */
async function untilAllEnd() {
  const ends = runs.map(({ child, ended }) => ended ?? new Promise((resolve) => child.once('close', resolve)));
  const late = pause(FINISHING_MS_MAX, 'late', { ref: false });
  if ((await Promise.race([Promise.all(ends), late])) !== 'late') return;
  const slow = runs.filter(({ ended }) => ended === undefined);
  const last = ({ name, states }) => `${name} is at ${states.at(-1)?.slice(0, 300)}`;
  throw new Error(`${FINISHING_MS_MAX} ms after the last write these did not have it:\n  ${slow.map(last).join('\n  ')}`);
}

/** Says how each client did. */
function report() {
  console.log(`${writer.writes} writes, ${writer.history.get(ONE).length} states of ${ONE}`);
  const seen = new Set();
  for (const run of runs) {
    const faults = faultsOf(run);
    const { name, proxy, states } = run;
    const kinds = [...proxy.kinds].sort().map(([kind, count]) => `${count} ${kind}`);
    if (run.target === ONE) for (const kind of proxy.kinds.keys()) seen.add(kind);
    console.log(`${name}: ${faults.length > 0 ? 'FAILED' : 'passed'}: ${proxy.cuts} cuts, ${states.length} states (${kinds.join(', ')})`);
    for (const fault of faults) console.log(`  FAILED ${fault}`);
    failed ||= faults.length > 0;
  }
  // A run in which the server never sent a patch would prove nothing about patches. (On `/_streams` most events are
  // without a cursor, so they say nothing about parts.)
  const missing = wanted.length > 0 ? [] : KINDS.filter((kind) => !seen.has(kind));
  if (missing.length > 0) {
    failed = true;
    console.log(`FAILED no client was ever sent ${missing.join(', ')}`);
  }
}

/** All that is wrong with one client's run. */
function faultsOf({ name, target, nullIsAbsent, proxy, states, ended, complaint }) {
  const faults = [];
  if (ended !== 0) faults.push(`it ended with ${ended}:\n${ends(complaint)}`);
  if (states.length === 0) return [...faults, 'it reached no state'];

  let before = -1;
  for (const state of states) {
    const { id, value } = JSON.parse(state);
    const revision = revisionOf(id);
    if (!(revision > before)) faults.push(`the ids went from ${before} to ${id}`);
    before = revision;
    const expected = target === ALL ? expectedOfAll(revision) : expectedOfOne(id);
    if (expected === undefined) faults.push(`${id} names no state of ${target}`);
    else {
      const told = (node) => (nullIsAbsent ? (node ?? null) : node); // PROTOCOL E2: without kinds, `gone` is `null`
      const difference = firstDifference(told(value), told(expected.value));
      if (difference) faults.push(`at ${id} ${difference}`);
    }
    if (faults.length >= 3) return [...faults, '…'];
  }

  // That it got there proves little if it always began anew.
  const resumed = proxy.requests.filter((cursor) => cursor !== undefined);
  if (resumed.length < CUTS_MIN / 3) faults.push(`only ${resumed.length} of its ${proxy.requests.length} requests resumed`);
  if (proxy.lapses > 0) faults.push(`${proxy.lapses} times it had a cursor and did not send it`);
  return faults;
}

/** The first place at which a value differs from what it should be, in words, or undefined when they are equal. */
function firstDifference(value, expected, at = '') {
  if (isDeepStrictEqual(value, expected)) return;
  const isObject = (node) => node !== null && typeof node === 'object' && !Array.isArray(node);
  if (isObject(value) && isObject(expected)) {
    const members = [...Object.keys(expected), ...Object.keys(value)];
    const differs = members.find((member) => !isDeepStrictEqual(value[member], expected[member]));
    return firstDifference(value[differs], expected[differs], `${at}/${differs}`);
  }
  const show = (node) => JSON.stringify(node)?.slice(0, 300) ?? 'nothing';
  return `${at || 'the value'} is ${show(value)} and should be ${show(expected)}`;
}

/** The two ends of a long text: JavaScript puts an error's message first, Python last. */
function ends(text) {
  return text.length < 1_500 ? text : `${text.slice(0, 700)}\n[…]\n${text.slice(-700)}`;
}

function expectedOfOne(id) {
  return writer.history.get(ONE).find(({ cursor }) => cursor === id);
}

/** The values of all paths at a revision: for each, the newest state that is not newer. */
function expectedOfAll(revision) {
  const value = {};
  for (const path of PATHS) {
    const state = writer.history.get(path).findLast(({ cursor }) => revisionOf(cursor) <= revision);
    if (state?.value !== undefined) value[path] = state.value;
  }
  return { value };
}
