// The configurations of docs/guides/proxies, each with the real proxy in front of the real server: what reaches a page, and how.
// The proxies are unpacked in .tools/proxies (`cargo xtask test examples` does it), so that nothing is installed or started by itself.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { connect as dial, createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startServer } from '../conformance/lib/server.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const unpacked = `${root}.tools/proxies/root`;
const MS_MAX = 20_000;

const modules = (names) => names.map((name) => `LoadModule ${name}_module ${unpacked}/usr/lib/apache2/modules/mod_${name}.so\n`).join('');
const nginx = (server) => (folder) => ({
  program: 'usr/sbin/nginx',
  words: ['-e', 'stderr', '-p', folder, '-c', `${folder}/whole`],
  whole: `daemon off; pid pid; error_log stderr; events {}
    http { access_log off; ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${name};`).join(' ')} ${server} }`,
});

/** How each is started with a configuration: in a folder of its own, in the foreground. */
const PROXIES = {
  'nginx.conf': (text) => nginx(text),
  'nginx-read-only.conf': (text) => nginx(text),
  Caddyfile: (text) => (folder) => ({ program: 'usr/bin/caddy', words: ['run', '--adapter', 'caddyfile', '--config', `${folder}/whole`], whole: `{\n\tadmin off\n}\n${text}` }),
  'haproxy.cfg': (text) => (folder) => ({ program: 'usr/sbin/haproxy', words: ['-db', '-f', `${folder}/whole`], whole: text }),
  'apache.conf': (text, port) => (folder) => ({
    program: 'usr/sbin/apache2',
    words: ['-X', '-f', `${folder}/whole`],
    whole: `${modules(['mpm_event', 'authz_core', 'proxy', 'proxy_http'])}Listen ${port}\nServerName here\nPidFile ${folder}/pid\nErrorLog ${folder}/log\nDefaultRuntimeDir ${folder}\n
      User nobody\nGroup nogroup\n${text}`,
  }),
  // What happens without those lines.
  'nginx without a line more than proxy_pass': () => (folder, port, to) => nginx(`server { listen ${port}; location / { proxy_pass http://127.0.0.1:${to}; } }`)(folder),
};

/** Tests, by name; none where the proxies are not unpacked. */
export function proxies({ browser, made, halfping }) {
  if (!existsSync(unpacked)) return console.log(`the configurations of proxies are not tried: there is no ${unpacked}`);
  return Object.fromEntries(
    Object.entries(PROXIES).map(([name, start]) => [
      `proxies: ${name}`,
      async () => {
        // No page of another origin may use it: so the proxy has to pass on under which name it was asked.
        const config = join(made, 'no-cors.toml');
        writeFileSync(config, '[cors]\norigins = []\n');
        const server = await startServer('--config', config);
        const proxy = await startProxy(name, start, server.port);
        try {
          await through({ name, browser, halfping, server, origin: `http://127.0.0.1:${proxy.port}` });
        } catch (error) {
          error.message += `\n  ${name} said: ${proxy.said()}`;
          throw error;
        } finally {
          await proxy.stop();
          await server.stop();
        }
      },
    ]),
  );

  async function startProxy(name, start, to) {
    const port = await freePort();
    const folder = mkdtempSync(join(made, 'proxy-'));
    mkdirSync(join(folder, 'logs'));
    const text = name.includes(' ') ? '' : readFileSync(`${root}docs/guides/proxies/${name}`, 'utf8');
    const { program, words, whole } = start(text.replaceAll('7070', to).replaceAll('8080', port), port)(folder, port, to);
    writeFileSync(join(folder, 'whole'), whole);
    const env = { ...process.env, HOME: folder, LD_LIBRARY_PATH: `${unpacked}/usr/lib/x86_64-linux-gnu:${unpacked}/usr/lib/aarch64-linux-gnu` };
    const child = spawn(`${unpacked}/${program}`, words, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    let ended = false;
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (said += bytes));
    const end = new Promise((resolve) => ['exit', 'error'].forEach((event) => child.once(event, (why) => ((ended = true), (said += why), resolve()))));
    for (const deadline = Date.now() + MS_MAX; !(await listens(port)); ) {
      if (ended || Date.now() > deadline) throw new Error(`${name} does not listen: ${said}`);
    }
    const kill = () => child.kill('SIGKILL');
    process.once('exit', kill);
    return {
      port,
      said: () => said.slice(-2000),
      async stop() {
        child.kill('SIGTERM');
        const timer = setTimeout(kill, 3000);
        await end;
        clearTimeout(timer);
        process.off('exit', kill);
      },
    };
  }
}

/** What a page of the proxy's own origin sees, and whether pieces of a stream come one by one. */
async function through({ name, browser, halfping, server, origin }) {
  const readOnly = name.includes('read-only');
  const sockets = !readOnly && !name.includes(' ');
  const put = (n) => fetch(`${server.url}/n`, { method: 'PUT', body: String(n), headers: { 'content-type': 'application/json' } });

  await put(1);
  const stream = await fetch(`${origin}/n?watch`, { signal: AbortSignal.timeout(MS_MAX) });
  let text = '';
  let n = 1;
  for await (const bytes of stream.body) {
    text += Buffer.from(bytes);
    // The next is written when the one before is here: none can have been held back.
    if (!text.includes(`"value":${n}}`)) continue;
    if (++n > 5) break;
    await put(n);
  }
  assert.equal(n, 6, `each piece arrives by itself: ${text}`);

  const written = await fetch(`${origin}/written`, { method: 'PUT', body: '1', headers: { 'content-type': 'application/json' } });
  assert.equal(written.status, readOnly ? 403 : 201, 'a write from outside');
  if (readOnly) {
    for (const [path, status] of [['/_metrics', 403], ['/_server', 403], ['/_health', 200]]) assert.equal((await fetch(origin + path)).status, status, path);
  }

  const page = await browser.newPage();
  try {
    await page.route('**/halfping.js', (route) => route.fulfill({ contentType: 'text/javascript', body: halfping }));
    await page.goto(`${origin}/_health`); // a page that really comes from there, so that the browser lets it connect
    const seen = await page.evaluate(async (readOnly) => {
      const { connect } = await import('/halfping.js');
      const api = connect('/');
      const last = await new Promise((resolve) => api.on('/n', (n) => n === 5 && resolve(n)));
      const { transport, hint } = api.status;
      const wrote = await api.put('/by-page', 1).then(() => 'wrote', (error) => error.type);
      const back = readOnly || (await new Promise((resolve) => api.on('/by-page', resolve)));
      return { last, transport, hint, wrote, back: back === true || back === 1 };
    }, readOnly);
    assert.equal(seen.last, 5);
    assert.equal(seen.transport, sockets ? 'websocket' : 'events');
    // In one sentence, what somebody could change.
    assert.equal(/ let the proxy pass upgrades \(nginx: .*proxy_set_header Upgrade/.test(seen.hint ?? ''), !sockets, `the hint: ${seen.hint}`);
    assert.equal(seen.wrote === 'wrote', !readOnly, `the page's write: ${seen.wrote}`);
    assert.ok(seen.back, 'what the page wrote comes back to it');
  } finally {
    await page.close();
  }
}

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

const listens = (port) =>
  new Promise((resolve) => {
    const socket = dial(port, '127.0.0.1', () => (socket.destroy(), resolve(true)));
    socket.once('error', () => setTimeout(resolve, 20, false));
  });
