// Runs every example and every sample of the documentation against `halfping demo`, and asserts by data what it did.
// `cargo xtask test examples` sets up what this needs; HALFPING_BIN says which binary. `node test.mjs NAME` runs what has NAME in its name.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { connect } from 'halfping';
import { chromium } from 'playwright-core';
import { build } from 'vite';
import { binary, startProgram } from '../conformance/lib/server.mjs';
import { installations } from './install.mjs';
import { proxies, RESOLVED } from './proxies.mjs';
import { samples, typedSamples } from './samples.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const MS_MAX = 20_000;
const only = process.argv[2] ?? '';

const made = mkdtempSync(join(tmpdir(), 'halfping-examples-'));
const server = await startProgram(binary, ['demo', '--memory', '--listen', '127.0.0.1:0']);
const api = connect(server.url);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [RESOLVED, ...(process.getuid?.() === 0 ? ['--no-sandbox'] : [])],
});

// Pages have another origin than the API, as they do for whoever tries them.
const texts = new Map(); // what is served besides files, by path
let pageOfReact = made; // where the page in React was built
const files = createServer((request, answer) => {
  const path = new URL(request.url, 'http://here').pathname;
  try {
    const body = texts.get(path) ?? readFileSync(path.startsWith('/react/') ? join(pageOfReact, path.slice(7) || 'index.html') : join(here, path));
    const type = { '.js': 'text/javascript', '.mjs': 'text/javascript', '.css': 'text/css' }[extname(path)] ?? 'text/html';
    answer.writeHead(200, { 'content-type': `${type}; charset=utf-8` }).end(body);
  } catch {
    answer.writeHead(404).end();
  }
}).listen(0, '127.0.0.1');
await new Promise((resolve) => files.once('listening', resolve));
const origin = `http://127.0.0.1:${files.address().port}`;

/** Opens a page, lets `use` look at it, and fails when anything was thrown or logged as an error there. */
async function inPage(path, use) {
  const page = await browser.newPage();
  page.setDefaultTimeout(MS_MAX);
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && wrong.push(message.text()));
  try {
    await page.goto(`${origin}${path}?api=${encodeURIComponent(server.url)}`);
    await use(page);
    assert.deepEqual(wrong, [], 'errors in the page');
  } catch (error) {
    error.message += `\n  errors in the page: ${wrong.join('; ') || 'none'}\n  it shows: ${(await page.innerText('body')).slice(0, 500)}`;
    throw error;
  } finally {
    if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, `${path.replaceAll(/\W+/g, '-')}.png`) });
    await page.close();
  }
}

const shows = (page, selector, text) =>
  page.waitForFunction(([selector, text]) => document.querySelector(selector)?.textContent.includes(text), [selector, text]);

/** The first state of a path that is as wanted. */
async function becomes(path, wanted) {
  const signal = AbortSignal.timeout(MS_MAX);
  let last;
  for await (const { value } of api.watch(path, { signal })) if (wanted((last = value))) return value;
  throw new Error(`${path} did not become so: ${JSON.stringify(last)}`);
}

/** Runs a program to its end, or until its output is `enough`; gives what it printed. */
function run(program, words, { enough = () => false, env = {}, cwd = here, msMax = MS_MAX } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, words, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    let out = '';
    let errors = '';
    let done = false;
    const end = () => {
      try {
        process.kill(-child.pid, 'SIGTERM'); // with all that it started
      } catch {} // gone already
    };
    const timer = setTimeout(end, msMax);
    child.stderr.on('data', (bytes) => (errors += bytes));
    child.stdout.on('data', (bytes) => {
      out += bytes;
      if (!done && enough(out)) {
        done = true;
        end();
      }
    });
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      if (code === 0 || done) resolve(out);
      else reject(new Error(`${program} ${words.join(' ')}: ended with ${signal ?? code}\n${out}${errors}`));
    });
  });
}

/** Looks at the page in React that was built into a folder. */
async function usesReact(folder) {
  pageOfReact = folder;
  await inPage('/react/', async (page) => {
    await page.waitForFunction(() => Number(document.querySelector('#moving')?.textContent) > 0);
    // The five fastest, in order.
    await page.waitForFunction(() => {
      const speeds = [...document.querySelectorAll('#fastest li')].map(({ textContent }) => Number(/ on line .*: ([\d.]+) m\/s$/.exec(textContent)?.[1]));
      return speeds.length === 5 && speeds.every((speed, n) => speed > 0 && speed <= (speeds[n - 1] ?? Infinity));
    });
    await shows(page, '#bus', 'next stop ');
    await page.fill('input', 'lost umbrella');
    await page.click('button');
    await becomes('/vehicles/bus-017/note', (note) => note === 'lost umbrella');
    await shows(page, 'output', 'lost umbrella');
    await api.delete('/vehicles/bus-017/note');
    await shows(page, 'output', 'none');
    await shows(page, '#state', 'in step');
  });
}

const installed = installations({ run, usesPage: usesReact });

const tests = {
  async 'eventsource.html'() {
    await inPage('/eventsource.html', async (page) => {
      await page.waitForFunction(() => Number(document.querySelector('#fleet-moving')?.textContent) > 0);
      assert.equal(await page.textContent('#fleet-vehicles'), '300');
      await shows(page, '#bus', 'next stop ');
      await api.put('/vehicles/bus-017/note', 'a wet seat');
      await shows(page, '#bus', 'a wet seat');
      await api.delete('/vehicles/bus-017/note');
      await shows(page, '#state', 'live');
    });
  },

  async 'eventsource.html, opened as a file'() {
    const page = await browser.newPage();
    page.setDefaultTimeout(MS_MAX);
    try {
      await page.goto(`${pathToFileURL(join(here, 'eventsource.html'))}?api=${encodeURIComponent(server.url)}`);
      await shows(page, '#state', '--cors any');
    } finally {
      await page.close();
    }
  },

  async react() {
    await build({ root: join(here, 'react'), base: './', logLevel: 'warn', build: { outDir: made, emptyOutDir: true } });
    await usesReact(made);
  },

  async 'worker.mjs'() {
    const count = (stats) => Object.values(stats ?? {}).reduce((sum, n) => sum + n, 0);
    const worker = run('node', ['worker.mjs', server.url], { enough: (out) => out.includes('"retired":1') });
    await becomes('/stats/by-status', (stats) => count(stats) === 300);
    await api.put('/vehicles/horse-1', { status: 'retired' });
    const stats = await becomes('/stats/by-status', (stats) => stats.retired === 1);
    assert.equal(count(stats), 301);
    assert.match(await worker, /^\w+\.\d+ \{.*"moving":\d+/m);
    await api.delete('/vehicles/horse-1');
  },

  async types() {
    const folder = join(here, 'node_modules/.samples'); // where `halfping` is found from
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    const typed = ['react/main.tsx'];
    const untyped = []; // parameters are not declared there
    for (const [n, { kind, text }] of typedSamples().entries()) {
      const file = join(folder, `${n}.${kind === 'tsx' ? 'tsx' : 'ts'}`);
      writeFileSync(file, text);
      (kind === 'js' ? untyped : typed).push(file);
    }
    const options = '--noEmit --strict --skipLibCheck --target es2022 --module esnext --moduleResolution bundler --jsx react-jsx'.split(' ');
    await run('npx', ['tsc', ...options, ...typed]);
    await run('npx', ['tsc', ...options, '--noImplicitAny', 'false', ...untyped]);
  },

  async 'curl.sh'() {
    const out = await run('bash', ['curl.sh', server.url]);
    const recipes = Object.fromEntries(out.split('\n# ').slice(1).map((part) => [part.split('\n')[0].split(/[:,]/)[0], part.split('\n').slice(1).filter(Boolean)]));
    const said = (name, ...patterns) => {
      const lines = recipes[name];
      assert.ok(lines, `no recipe ${name} in:\n${out}`);
      assert.equal(lines.length, patterns.length, `${name}: ${lines.join('\n')}`);
      patterns.forEach((pattern, n) => assert.match(lines[n], pattern));
    };
    said('once', /^\{"lat":/);
    said('kept open', /"kind":"snapshot"/, /"kind":"synced"/, /"kind":"merge"/);
    said('as server-sent events', /^data: \{"vehicles":300/, /^data: null/, /^data: \{"vehicles":300/);
    said('long poll', /^\{"lat":/);
    said('what changed since a cursor', /"kind":"(synced|merge)"/, /"kind":"(synced|merge)"/);
    said('the names in a large collection', /^\{"bus-001":\{\}/);
    said('a part of it', /^\{"[a-z]+-\d+":\{"route":"\w+","speed_mps":/);
    said('put', /^201$/);
    said('put only if nobody else has changed it', /^200$/, /^412$/);
    said('merge', /^\{"title":"Lost umbrella","state":"closed","owner":"Ada"\}$/);
    said('merge at the root');
    said('JSON Patch');
    said('post', /^\/tickets\/7\/comments\/\w+$/);
    const ticket = /"path":"\/tickets\/7".*"value":\{"title":"Lost umbrella","state":"closed","comments":\{/;
    said('many paths on one connection', ticket, /"path":"\/open".*"value":1/, /"path":"\/fleet"/, /"kind":"synced"/);
    said('delete', /^204$/);
    assert.equal((await api.get('/tickets')).value, undefined);
  },

  ...samples({ url: server.url, run, inPage, texts }),
  ...installed.tests,
  ...proxies({ browser, halfping: texts.get('/halfping.js') }),
};

let [passed, failed] = [0, 0];
for (const [name, test] of Object.entries(tests).filter(([name]) => name.includes(only))) {
  const started = performance.now();
  let wrong;
  await test().catch((error) => (wrong = error.stack ?? error));
  wrong ??= server.complaint();
  wrong ? failed++ : passed++;
  console.log(`${wrong ? 'FAILED' : 'ok    '} ${name} (${Math.round(performance.now() - started)} ms)${wrong ? `\n${wrong}` : ''}`);
}
await browser.close();
api.close();
files.close();
await server.stop();
installed.end();
rmSync(made, { recursive: true, force: true });
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed || !passed ? 1 : 0;
