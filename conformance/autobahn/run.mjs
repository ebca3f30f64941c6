// Autobahn's fuzzing client against Halfping's WebSocket stack, in an echo that only tests build (RFC 6455; PROTOCOL L12, L13).
//
//   node conformance/autobahn/run.mjs [CASES...]        all sections below, or some: … '6.4.*' 7.7.1
//
// The stack is the crate `halfping-websocket`; its example `echo` sends every message back. `ECHO_BIN` names another echo, which has
// to take `127.0.0.1:0` as its argument and to say where it listens.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { binary, startProgram } from '../lib/server.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const tools = fileURLToPath(new URL('../../.tools/', import.meta.url));
const site = join(tools, 'autobahn');
const reports = join(tools, 'autobahn-reports');
const wstest = join(site, 'bin', 'wstest');
const RUN_MS_MAX = 900_000;

/** Each section and how many cases it has, so that none is lost unseen. Left out is 9, which measures speed. */
const SECTIONS = { 1: 16, 2: 11, 3: 7, 4: 10, 5: 20, 6: 145, 7: 37, 10: 1 };
/** Compression: 12 and 13 have 5 and 7 groups of 18 cases, a thousand messages each, that differ in size alone. Four sizes are in
 * every run: 16 bytes, 1 KiB, 32 KiB, and 8 KiB in parts. `'12.*' '13.*'` runs all, in five minutes. */
const GROUPS = { 12: 5, 13: 7 };
const SIZES = [1, 4, 8, 11];
const ACCEPTED = ['OK', 'NON-STRICT', 'INFORMATIONAL'];
/** A server may decline what a client offers, such as another window (RFC 7692, section 7.1). */
const ACCEPTED_OF_COMPRESSION = [...ACCEPTED, 'UNIMPLEMENTED'];

if (!existsSync(wstest)) {
  console.error(`${wstest} is not there. Run: cargo xtask test autobahn`);
  process.exit(2);
}
const echo = process.env.ECHO_BIN ?? join(dirname(binary), 'examples', 'echo');
if (!existsSync(echo)) {
  console.error(`${echo} is not there. Run: cargo xtask test build, or set ECHO_BIN`);
  process.exit(2);
}
const wanted = process.argv.slice(2);
const compression = Object.entries(GROUPS).flatMap(([section, groups]) =>
  Array.from({ length: groups }, (_, group) => SIZES.map((size) => `${section}.${group + 1}.${size}`)).flat(),
);
const cases = wanted.length > 0 ? wanted : [...Object.keys(SECTIONS).map((section) => `${section}.*`), ...compression];

const server = await startProgram(echo, ['127.0.0.1:0']);
rmSync(reports, { recursive: true, force: true });
mkdirSync(reports, { recursive: true });
const spec = join(reports, 'spec.json');
const agent = 'halfping';
const servers = [{ agent, url: `ws://127.0.0.1:${server.port}` }];
writeFileSync(spec, JSON.stringify({ outdir: reports, servers, cases, 'exclude-cases': [], 'exclude-agent-cases': {} }));

const { how, said } = await run(wstest, ['-m', 'fuzzingclient', '-s', spec]);
const failures = [];
if (how !== 0) failures.push(`wstest ended with ${how}:\n${said.slice(-3_000)}`);
const complaint = server.complaint();
if (complaint) failures.push(complaint);
await server.stop();

const index = join(reports, 'index.json');
const results = existsSync(index) ? JSON.parse(readFileSync(index, 'utf8'))[agent] : {};
const passed = [];
for (const [name, { behavior, behaviorClose, reportfile }] of Object.entries(results)) {
  const accepted = Number.parseInt(name, 10) >= 12 ? ACCEPTED_OF_COMPRESSION : ACCEPTED;
  if (accepted.includes(behavior) && accepted.includes(behaviorClose)) passed.push({ name, behavior });
  else failures.push(`${name}: ${behavior}, its close: ${behaviorClose}; see ${join(reports, reportfile)}`);
}
if (Object.keys(results).length === 0) failures.push('no case ran at all');
const counts = Object.entries(GROUPS).map(([section, groups]) => [section, groups * SIZES.length]);
for (const [section, count] of wanted.length > 0 ? [] : [...Object.entries(SECTIONS), ...counts]) {
  const ran = Object.keys(results).filter((name) => name.startsWith(`${section}.`)).length;
  if (ran !== count) failures.push(`of section ${section}, ${ran} cases ran and ${count} should`);
}

const strictly = passed.filter(({ behavior }) => behavior === 'OK').length;
console.log(`autobahn: ${passed.length} passed (${strictly} strictly), ${failures.length} failed`);
for (const behavior of ACCEPTED_OF_COMPRESSION.filter((one) => one !== 'OK')) {
  const names = passed.filter((one) => one.behavior === behavior).map(({ name }) => name);
  if (names.length > 0) console.log(`  note: ${behavior}: ${names.join(', ')}`);
}
for (const failure of failures) console.log(`  FAILED ${failure}`);
process.exit(failures.length > 0 ? 1 : 0);

/** Runs `wstest`, which neither has an exit code that tells of failed cases nor ends when the server hangs. */
function run(program, words) {
  return new Promise((resolve) => {
    const env = { ...process.env, PYTHONPATH: here, AUTOBAHN_SITE: site, PYTHONDONTWRITEBYTECODE: '1' };
    const child = spawn(program, words, { cwd: reports, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    const timer = setTimeout(() => child.kill('SIGKILL'), RUN_MS_MAX);
    for (const output of [child.stdout, child.stderr]) output.on('data', (bytes) => (said = (said + bytes).slice(-100_000)));
    child.once('error', (error) => resolve({ how: error.message, said }));
    child.once('close', (code, signal) => (clearTimeout(timer), resolve({ how: signal ?? code, said })));
  });
}
