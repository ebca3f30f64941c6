// Pages of other origins, in a real browser: whatever such a page tries, it neither writes nor reads nor follows anything. The same tries by a page
// that may use the API do all of that, so that it is the server that makes the difference. The same once more where the browser has somebody's cookie,
// and sends it with all that any page asks (PROTOCOL I7).
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { send } from '../lib/http.mjs';
import { binary, startProgram } from '../lib/server.mjs';
import { setCookie, withCookies } from './cookies.mjs';

const MS_MAX = 20_000;
const SECRET = 's3cret';
const PAGE = '<!doctype html><title>a page</title><body>';
/** The cookie in which the server finds tokens. */
const COOKIE = 'halfping';
const NAMES = ['evil.example', 'app.example', 'rebind.example'];
/** Every request gets to the server: none is left out because of where its page is. */
const ARGS = [
  `--host-resolver-rules=${NAMES.map((name) => `MAP ${name} 127.0.0.1`).join(', ')}`,
  '--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests,PrivateNetworkAccessSendPreflights',
];

/** Everything that a page can try, in the page: what it could read of it, and which ways did something visible. */
async function tries({ base, MS_MAX, credentials }) {
  const seen = [];
  const open = [];
  const inTime = (what) => Promise.race([what, new Promise((resolve) => setTimeout(resolve, MS_MAX, 'nothing came of it'))]);
  const json = '{"by":"page"}';
  const form = () => {
    const data = new FormData();
    data.append('by', 'page');
    return data;
  };
  const bodies = {
    text: () => json,
    blob: () => new Blob([json]),
    'blob of JSON': () => new Blob([json], { type: 'application/json' }),
    'blob of text': () => new Blob([json], { type: 'text/plain' }),
    bytes: () => new TextEncoder().encode(json),
    buffer: () => new TextEncoder().encode(json).buffer,
    form,
    parameters: () => new URLSearchParams({ by: 'page' }),
  };
  const watch = '{"watch":1,"path":"/secret"}';

  // fetch: what it reads is in `seen`. A stream is read up to its first piece.
  const ask = async (name, path, options) => {
    try {
      const answer = await fetch(base + path, { credentials, ...options, signal: AbortSignal.timeout(MS_MAX) });
      const reader = answer.body?.getReader();
      const piece = reader && (await reader.read());
      await reader?.cancel();
      seen.push(`${name}: ${answer.type} ${answer.status} ${new TextDecoder().decode(piece?.value)}`);
    } catch (error) {
      seen.push(`${name}: ${error.name}`);
    }
  };
  const modes = ['cors', 'no-cors', 'same-origin', 'navigate'];
  const asked = [];
  for (const mode of modes) {
    for (const path of ['/secret', '/secret?watch', '/_streams?path=/secret', '/_server', '/_metrics']) asked.push(ask(`GET ${path} ${mode}`, path, { mode }));
    asked.push(ask(`HEAD ${mode}`, '/secret', { mode, method: 'HEAD' }), ask(`DELETE ${mode}`, '/doomed', { mode, method: 'DELETE' }));
    asked.push(ask(`events ${mode}`, '/secret', { mode, headers: { accept: 'text/event-stream' } }));
    for (const [kind, body] of Object.entries(bodies)) {
      for (const [method, path] of [['POST', '/inbox'], ['PUT', '/put'], ['PATCH', '/put']]) asked.push(ask(`${method} ${kind} ${mode}`, path, { mode, method, body: body() }));
    }
    for (const type of ['application/json', 'application/merge-patch+json', 'application/json-patch+json']) {
      asked.push(ask(`PATCH ${type} ${mode}`, '/put', { mode, method: 'PATCH', body: json, headers: { 'content-type': type } }));
      asked.push(ask(`POST ${type} ${mode}`, '/inbox', { mode, method: 'POST', body: json, headers: { 'content-type': type } }));
    }
    asked.push(ask(`session ${mode}`, '/_streams', { mode, method: 'POST', body: new Blob([watch]) }));
    asked.push(ask(`session of JSON ${mode}`, '/_streams', { mode, method: 'POST', body: watch, headers: { 'content-type': 'application/json' } }));
    asked.push(ask(`kept alive ${mode}`, '/inbox', { mode, method: 'POST', body: new Blob([json]), keepalive: true }));
  }
  await Promise.all(asked);

  for (const [kind, body] of Object.entries(bodies)) {
    try {
      navigator.sendBeacon(`${base}/inbox`, body());
      navigator.sendBeacon(`${base}/_streams`, new Blob([watch]));
    } catch (error) {
      seen.push(`beacon of ${kind}: ${error.name}`);
    }
  }

  await new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open('POST', `${base}/inbox`);
    request.withCredentials = credentials === 'include';
    request.onloadend = () => (seen.push(`XMLHttpRequest: ${request.status} ${request.responseText}`), resolve());
    request.send(new Blob([json]));
  });

  // Elements that load something. Whether they could is all that they tell.
  const element = (tag, attributes) =>
    inTime(
      new Promise((resolve) => {
        const it = Object.assign(document.createElement(tag), attributes);
        it.onload = () => resolve('loaded');
        it.onerror = () => resolve('failed');
        document.body.append(it);
      }),
    );
  const loads = {};
  for (const path of ['/secret', '/none', '/secret?watch']) {
    loads[path] = await Promise.all([
      element('img', { src: base + path }),
      element('script', { src: base + path }),
      element('link', { rel: 'stylesheet', href: base + path }),
    ]);
  }

  // Forms, each into a frame of its own. A name and a value can make JSON of text/plain.
  for (const enctype of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
    for (const [path, name, value] of [['/inbox', '{"by":"page', '"}'], ['/_streams', '{"watch":1,"path":"/secret","since":"', '"}']]) {
      const frame = document.createElement('iframe');
      frame.name = `frame-${enctype}-${path}`;
      const loaded = inTime(new Promise((resolve) => (frame.onload = resolve)));
      document.body.append(frame);
      const it = Object.assign(document.createElement('form'), { method: 'post', enctype, action: base + path, target: frame.name });
      it.append(Object.assign(document.createElement('input'), { name, value }));
      document.body.append(it);
      it.submit();
      await loaded;
      open.push(() => frame.remove());
    }
  }

  // Connections that stay.
  for (const path of ['/secret?delta=false', '/_streams?path=/secret']) {
    await inTime(
      new Promise((resolve) => {
        const source = new EventSource(base + path, { withCredentials: credentials === 'include' });
        for (const kind of ['message', 'snapshot']) source.addEventListener(kind, (event) => (seen.push(`EventSource ${path}: ${event.data}`), resolve()));
        source.onerror = () => (seen.push(`EventSource ${path}: failed`), source.close(), resolve());
        open.push(() => source.close());
      }),
    );
  }
  for (const path of ['/', '/secret?watch']) {
    await inTime(
      new Promise((resolve) => {
        const socket = new WebSocket(base.replace('http', 'ws') + path);
        socket.onopen = () => {
          seen.push(`WebSocket ${path}: open`);
          socket.send('[{"post":"/inbox","value":1,"ref":1},{"get":"/secret","ref":2}]');
        };
        socket.onmessage = ({ data }) => (seen.push(`WebSocket ${path}: ${data}`), data.includes('"ref":2') && resolve());
        socket.onclose = () => (seen.push(`WebSocket ${path}: closed`), resolve());
        open.push(() => socket.close());
      }),
    );
  }
  window.leave = () => open.forEach((close) => close());
  return { seen, loads };
}

/** The number of a metric, added up over its labels; 0 when it is not there. */
async function metric(url, name, token) {
  const { text } = await send('GET', `${url}/_metrics`, { token });
  const lines = text.split('\n').filter((line) => line.startsWith(name) && /[{ ]/.test(line[name.length]));
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

async function becomes(what, wanted) {
  for (const deadline = Date.now() + MS_MAX; ; ) {
    if (await wanted()) return;
    if (Date.now() > deadline) throw new Error(`${what}: not in time`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** This machine's address that others can reach, if it has one. */
const elsewhere = () => Object.values(networkInterfaces()).flat().find(({ family, internal }) => family === 'IPv4' && !internal)?.address;

export async function strangers() {
  const made = mkdtempSync(join(tmpdir(), 'halfping-strangers-'));
  const pages = createServer((_, answer) => answer.writeHead(200, { 'content-type': 'text/html' }).end(PAGE));
  await new Promise((resolve) => pages.listen(0, '127.0.0.1', resolve));
  const { port } = pages.address();
  const outside = elsewhere();
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [...(process.getuid?.() === 0 ? ['--no-sandbox'] : []), ...ARGS],
  });

  /** A server that has a secret; `use` is given pages that try it. `token`: of whom the server lets in. */
  async function withServer(address, settings, use, token) {
    const config = join(made, 'settings.toml');
    writeFileSync(config, settings);
    const server = await startProgram(binary, ['serve', '--memory', '--open', '--listen', `${address}:0`, '--config', config], address);
    const url = `http://${address}:${server.port}`;
    try {
      await send('PUT', `${url}/`, { body: JSON.stringify({ secret: SECRET, doomed: 1 }), type: 'application/json', token });
      await use(url);
      assert.equal(server.complaint(), undefined);
    } finally {
      await server.stop();
    }
  }

  /** Opens a page of an origin, perhaps in a sandbox, and has it try. `token`: of somebody who is logged in at the server, by a cookie for all pages. */
  async function attack(origin, url, { sandboxed = false, base = url, token } = {}) {
    const { context, close } = token ? await withCookies(ARGS) : { context: await browser.newContext() };
    if (token) await setCookie(context, url, COOKIE, token);
    const leave = close ?? (() => context.close());
    const page = await context.newPage();
    page.setDefaultTimeout(MS_MAX);
    try {
      // A page that was there before its name led to the server.
      if (origin === base) await page.route(`${origin}/`, (route) => route.fulfill({ contentType: 'text/html', body: PAGE }));
      await page.goto(`${origin}/`);
      await page.unrouteAll();
      let frame = page.mainFrame();
      if (sandboxed) {
        await page.evaluate(() => {
          const inner = Object.assign(document.createElement('iframe'), { srcdoc: '<!doctype html><body>' });
          inner.sandbox = 'allow-scripts allow-forms';
          document.body.append(inner);
        });
        frame = await (await page.waitForSelector('iframe')).contentFrame();
        await frame.waitForLoadState();
      }
      const requests = () => metric(url, 'halfping_requests_total', token);
      const before = await requests();
      const { seen, loads } = await frame.evaluate(tries, { base, MS_MAX: 3_000, credentials: token && 'include' });
      const asked = (await requests()) - before;
      return { seen, loads, asked, leave };
    } catch (error) {
      await leave();
      throw error;
    }
  }

  /** A page that may not: nothing has happened, and it knows nothing. */
  async function isKeptOut(origin, url, options) {
    const what = `${origin}${options?.sandboxed ? ' (sandboxed)' : ''} at ${url}`;
    const token = options?.token;
    const before = await send('GET', `${url}/`, { token });
    const { seen, loads, asked, leave } = await attack(origin, url, options);
    try {
      assert.ok(asked > 60, `${what}: the server was asked ${asked} times`);
      const known = seen.filter((line) => line.includes(SECRET) || /: open$|opened|"set":|cors 20\d/.test(line) || /halfping_/.test(line));
      assert.deepEqual(known, [], `${what}: it was told something`);
      assert.deepEqual(loads['/secret'], loads['/none'], `${what}: it learned what is there`);
      // In the browser's eyes a server elsewhere, without TLS, is not worth the header that tells of pages: a stream may begin then, and end
      // unread.
      if (url.includes('127.0.0.1')) assert.equal(await metric(url, 'halfping_frames_total', token), 0, `${what}: it was sent a frame`);
    } finally {
      await leave();
    }
    await becomes(`${what}: nothing is open`, async () => (await metric(url, 'halfping_links', token)) === 0 && (await metric(url, 'halfping_streams', token)) === 0);
    const after = await send('GET', `${url}/`, { token });
    assert.equal(after.text, before.text, `${what}: it wrote`);
    assert.equal(after.etag, before.etag, `${what}: it wrote`);
    assert.equal(await metric(url, 'halfping_commits_total', token), 1, `${what}: it wrote`);
  }

  /** A page that may: all of it works. */
  async function isLetIn(origin, url, options) {
    const token = options?.token;
    const { seen, leave } = await attack(origin, url, options);
    await leave();
    for (const way of ['GET /secret cors', 'GET /secret?watch cors', 'session of JSON cors', 'EventSource /secret', 'WebSocket /']) {
      assert.ok(seen.some((line) => line.startsWith(way) && line.includes(SECRET)), `${origin} reads by ${way}: ${seen.join('\n')}`);
    }
    assert.equal((await send('GET', `${url}/doomed`, { token })).status, 404, `${origin} deletes`);
    assert.equal((await send('GET', `${url}/put`, { token })).status, 200, `${origin} puts`);
    // By POST alone: with CORS and without it, beacons, a form, XMLHttpRequest, the session.
    const { text } = await send('GET', `${url}/inbox?depth=1`, { token });
    assert.ok(Object.keys(JSON.parse(text)).length > 10, `${origin} writes: ${text}`);
  }

  const app = `http://app.example:${port}`;
  const neighbour = `http://localhost:${port}`;
  const evil = `http://evil.example:${port}`;
  const closed = '[cors]\norigins = []\n';
  const one = `[cors]\norigins = ["${app}"]\n`;
  try {
    await withServer('127.0.0.1', closed, async (url) => {
      for (const origin of [evil, neighbour]) await isKeptOut(origin, url);
    });
    await withServer('127.0.0.1', one, async (url) => {
      for (const origin of [evil, neighbour]) await isKeptOut(origin, url);
      await isKeptOut(app, url, { sandboxed: true });
      await isLetIn(app, url);
    });
    await withServer('127.0.0.1', '', async (url) => {
      await isKeptOut(evil, url);
      await isKeptOut(neighbour, url, { sandboxed: true });
      // A name of its own that leads here: the same origin, as far as the browser knows.
      const rebound = url.replace('127.0.0.1', 'rebind.example');
      await isKeptOut(rebound, url, { base: rebound });
      await isLetIn(neighbour, url);
    });
    // Somebody is logged in: whoever shows nothing is refused, and the browser shows it for any page.
    const token = `hpk_${randomBytes(24).toString('hex')}`;
    const logged = `[auth]\nanonymous = false\ncookie = "${COOKIE}"\n[[auth.key]]\nsha256 = "${createHash('sha256').update(token).digest('hex')}"\nclaims = { sub = "victim" }\n`;
    await withServer(
      '127.0.0.1',
      `${logged}${one}`,
      async (url) => {
        for (const origin of [evil, neighbour]) await isKeptOut(origin, url, { token });
        await isKeptOut(app, url, { token, sandboxed: true });
        await isLetIn(app, url, { token });
      },
      token,
    );
    // That pages of loopback origins may use a server on a loopback address does not count for cookies.
    await withServer('127.0.0.1', logged, (url) => isKeptOut(neighbour, url, { token }), token);
    if (outside) {
      for (const settings of ['', closed]) await withServer(outside, settings, (url) => isKeptOut(evil, url));
      await withServer(outside, one, async (url) => {
        await isKeptOut(neighbour, url);
        await isLetIn(app, url);
      });
    } else {
      console.log('strangers: this machine has no address but loopback, so only that was tried');
    }
  } finally {
    await browser.close();
    pages.close();
    rmSync(made, { recursive: true });
  }
}
