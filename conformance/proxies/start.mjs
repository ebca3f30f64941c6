// Starts a real proxy with one of the documented configurations (docs/guides/proxies) in front of a server.
// The proxies are unpacked in .tools/proxies (`cargo xtask test proxies` does it), so that nothing is installed or started by itself.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startServer } from '../lib/server.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const unpacked = `${root}.tools/proxies/root`;
const START_MS_MAX = 20_000;
const STOP_MS_MAX = 3_000;

/** The name that the configurations answer to; with the port of the proxy, the `Host` that they pass on. */
export const NAME = 'live.example.org';

/** The documented configurations through which everything passes, and where each mounts the server. */
export const MOUNTS = {
  'nginx.conf': '',
  'nginx-prefix.conf': '/live',
  Caddyfile: '',
  'Caddyfile-prefix': '/live',
  'haproxy.cfg': '',
  'haproxy-prefix.cfg': '/live',
  'apache.conf': '',
  'apache-prefix.conf': '/live',
};
/** The one through which nothing is written. */
export const READ_ONLY = 'nginx-read-only.conf';

/** True if the proxies are there. */
export const areUnpacked = () => existsSync(unpacked);

const APACHE_MODULES = ['mpm_event', 'authz_core', 'headers', 'proxy', 'proxy_http'];
// Apache notices that a reader of a quiet stream has left when it next says something; until then a thread is taken.
const APACHE_THREADS = 1000;
const NGINX_PLACES = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];

/** By the beginning of a configuration's name: the program, its arguments, and what stands around the configuration. */
const PROGRAMS = {
  nginx: (text, { folder }) => ({
    program: 'usr/sbin/nginx',
    words: ['-e', 'stderr', '-p', folder, '-c', `${folder}/whole`],
    whole: `daemon off; pid pid; error_log stderr; events {}
      http { access_log off; ${NGINX_PLACES.map((name) => `${name}_temp_path ${name};`).join(' ')} ${text} }`,
  }),
  Caddyfile: (text, { folder }) => ({
    program: 'usr/bin/caddy',
    words: ['run', '--adapter', 'caddyfile', '--config', `${folder}/whole`],
    whole: `{\n\tadmin off\n}\n${text}`,
  }),
  haproxy: (text, { folder }) => ({ program: 'usr/sbin/haproxy', words: ['-db', '-f', `${folder}/whole`], whole: text }),
  apache: (text, { folder, port }) => ({
    program: 'usr/sbin/apache2',
    words: ['-X', '-f', `${folder}/whole`],
    whole: `${APACHE_MODULES.map((name) => `LoadModule ${name}_module ${unpacked}/usr/lib/apache2/modules/mod_${name}.so\n`).join('')}
      Listen ${port}\nServerName here\nPidFile ${folder}/pid\nErrorLog ${folder}/log\nDefaultRuntimeDir ${folder}
      User nobody\nGroup nogroup
      ThreadLimit ${APACHE_THREADS}\nThreadsPerChild ${APACHE_THREADS}\nMaxRequestWorkers ${APACHE_THREADS}\n${text}`,
  }),
};

/**
 * Starts a proxy that passes on to the port `to`: with the documented configuration `name`, or with `text` in its place. It runs in the
 * foreground and in a folder of its own. Resolves to its `port`, the `host` that it answers to, `said()` and `stop()`.
 */
export async function startProxy(name, to, text = readFileSync(`${root}docs/guides/proxies/${name}`, 'utf8')) {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'halfping-proxy-'));
  mkdirSync(join(folder, 'logs'));
  const [, start] = Object.entries(PROGRAMS).find(([beginning]) => name.startsWith(beginning));
  const { program, words, whole } = start(text.replaceAll('7070', to).replaceAll('8080', port), { folder, port });
  writeFileSync(join(folder, 'whole'), whole);
  const libraries = `${unpacked}/usr/lib/x86_64-linux-gnu:${unpacked}/usr/lib/aarch64-linux-gnu`;
  const env = { ...process.env, HOME: folder, LD_LIBRARY_PATH: libraries };
  const child = spawn(`${unpacked}/${program}`, words, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  let ended = false;
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (said = (said + bytes).slice(-2000)));
  const end = new Promise((resolve) => {
    for (const event of ['exit', 'error']) child.once(event, (why) => ((ended = true), (said += why), resolve()));
  });
  for (const deadline = Date.now() + START_MS_MAX; !(await listens(port)); ) {
    if (ended || Date.now() > deadline) throw new Error(`${name} does not listen: ${said}`);
  }
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  return {
    port,
    host: `${NAME}:${port}`,
    said: () => said,
    async stop() {
      child.kill('SIGTERM');
      const timer = setTimeout(kill, STOP_MS_MAX);
      await end;
      clearTimeout(timer);
      process.off('exit', kill);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/**
 * Has `use({server, proxy, direct, must})` look at a server, started with `words` as behind a proxy, through a documented configuration. `direct` is the
 * server itself; `must(holds, what, expected, got)` is how a check is made. Resolves to how many there were, and a line for each that did not hold.
 */
export async function behind(file, words, use) {
  const wrong = [];
  let count = 0;
  const must = (holds, what, expected, got) => {
    count++;
    if (!holds) wrong.push(`${file}: ${what}: expected ${expected}, got ${got}`);
  };
  const server = await startServer('--allowed-host', NAME, ...words);
  let proxy;
  try {
    proxy = await startProxy(file, server.port);
    await use({ server, proxy, direct: { port: server.port, host: `127.0.0.1:${server.port}` }, must });
    const complaint = server.complaint();
    return { count, wrong: complaint ? [...wrong, complaint] : wrong };
  } catch (error) {
    if (proxy) error.message += `\n  ${file} said: ${proxy.said()}`;
    throw error;
  } finally {
    await proxy?.stop();
    await server.stop();
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
    const socket = connect(port, '127.0.0.1', () => (socket.destroy(), resolve(true)));
    socket.once('error', () => setTimeout(resolve, 20, false));
  });
