// The configurations of docs/guides/proxies, each with the real proxy in front of the real server, as a page sees them: by which transport,
// piece by piece, and whether the client's names stay what they are. (What else could change a name: conformance/proxies.)
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { ask } from '../conformance/proxies/request.mjs';
import { areUnpacked, NAME, startProxy } from '../conformance/proxies/start.mjs';
import { startServer } from '../conformance/lib/server.mjs';

const { paths } = JSON.parse(readFileSync(new URL('../conformance/proxies/paths.json', import.meta.url)));
/** Names as a program may have them. */
const NAMES = [...new Set(paths.filter(({ names, may }) => names?.length === 2 && !may).map(({ names }) => names[1]))];

const CONFIGURATIONS = {
  'nginx.conf': {},
  'nginx-prefix.conf': { mount: '/live' },
  'nginx-read-only.conf': { isReadOnly: true },
  Caddyfile: {},
  'Caddyfile-prefix': { mount: '/live' },
  'haproxy.cfg': {},
  'haproxy-prefix.cfg': { mount: '/live' },
  'apache.conf': {},
  'apache-prefix.conf': { mount: '/live' },
  // What happens without those lines.
  'nginx without a line more than proxy_pass': { text: 'server { listen 8080; location / { proxy_pass http://127.0.0.1:7070; } }' },
};

/** The address at which the browser looks for the name that the configurations answer to. */
export const RESOLVED = `--host-resolver-rules=MAP ${NAME} 127.0.0.1`;

/** Tests, by name; none where the proxies are not unpacked. */
export function proxies({ browser, halfping }) {
  if (!areUnpacked()) return console.log('the configurations of proxies are not tried: .tools/proxies is not there');
  return Object.fromEntries(
    Object.entries(CONFIGURATIONS).map(([name, configuration]) => [
      `proxies: ${name}`,
      async () => {
        const server = await startServer('--cors', 'none', '--console', 'off', '--allowed-host', NAME);
        const proxy = await startProxy(name, server.port, configuration.text);
        try {
          await through({ ...configuration, browser, halfping, server, proxy });
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
}

/** The state that a page of the proxy's own origin sees, and whether pieces of a stream come one by one. */
async function through({ mount = '', isReadOnly = false, text: bare, browser, halfping, server, proxy }) {
  const hasSockets = !isReadOnly && !bare;
  const direct = { port: server.port, host: `127.0.0.1:${server.port}` };
  const put = (at, path, value) => ask(at, 'PUT', path, { body: JSON.stringify(value) });

  await put(direct, '/n', 1);
  let n = 1;
  const writes = [];
  const pieces = await ask(proxy, 'GET', `${mount}/n?watch`, {
    until: (text) => {
      // The next is written when the one before is here: none can have been held back.
      if (!text.includes(`"value":${n}}`)) return false;
      if (++n <= 5) writes.push(put(direct, '/n', n));
      return n > 5;
    },
  });
  await Promise.all(writes);
  assert.equal(n, 6, `each piece arrives by itself: ${pieces.text}`);

  const written = await put(proxy, `${mount}/written`, 1);
  assert.equal(written.status, isReadOnly ? 403 : 201, 'a write from outside');
  const created = await ask(proxy, 'POST', `${mount}/inbox`, { body: '1' });
  if (!isReadOnly) {
    const { host, pathname } = new URL(created.headers.location, `http://${proxy.host}${mount}/inbox`);
    assert.equal(host, proxy.host);
    assert.match(pathname, new RegExp(`^${mount}/inbox/\\w+$`), 'where the new member is, seen from outside');
    assert.equal((await ask(proxy, 'GET', pathname)).text, '1');
  }

  // Without a line for `Host`, the server can only believe browsers that say that a page is its own: they do that on loopback addresses, and with TLS.
  const origin = bare ? `http://127.0.0.1:${proxy.port}` : `http://${proxy.host}`;
  const page = await browser.newPage();
  try {
    await page.route('**/halfping.js', (route) => route.fulfill({ contentType: 'text/javascript', body: halfping }));
    await page.goto(`${origin}${mount}/_health`); // a page that really comes from there, so that the browser lets it connect
    const seen = await page.evaluate(
      async ({ mount, isReadOnly }) => {
        const { connect } = await import('/halfping.js');
        const api = connect(mount || '/');
        const last = await new Promise((resolve) => api.on('/n', (n) => n === 5 && resolve(n)));
        const { transport, hint } = api.status;
        const wrote = await api.put('/by-page', 1).then(() => 'wrote', (error) => error.type);
        const back = isReadOnly || (await new Promise((resolve) => api.on('/by-page', resolve)));
        api.close();
        return { last, transport, hint, wrote, back: back === true || back === 1 };
      },
      { mount, isReadOnly },
    );
    assert.equal(seen.last, 5);
    assert.equal(seen.transport, hasSockets ? 'websocket' : 'events');
    // In one sentence, what somebody could change.
    assert.equal(/ let the proxy pass upgrades \(nginx: .*proxy_set_header Upgrade/.test(seen.hint ?? ''), !hasSockets, `the hint: ${seen.hint}`);
    assert.equal(seen.wrote === 'wrote', !isReadOnly, `the page's write: ${seen.wrote}`);
    assert.ok(seen.back, 'what the page wrote comes back to it');
    if (hasSockets) await names(page, mount, direct);
  } finally {
    await page.close();
  }
}

/** Whatever the client writes under a name with one transport it reads under that name with the other, and nothing is anywhere else. */
async function names(page, mount, direct) {
  const wrong = await page.evaluate(
    async ({ mount, names }) => {
      const { connect, path } = await import('/halfping.js');
      const [socket, events] = ['websocket', 'events'].map((transport) => connect(mount || '/', { transport }));
      const wrong = [];
      for (const [n, name] of names.entries()) {
        for (const [writer, reader, value] of [[events, socket, `by events ${n}`], [socket, events, `by socket ${n}`]]) {
          const read = await writer.put(path('px', name), value).then(() => reader.get(path('px', name)));
          if (read.value !== value) wrong.push(`${name}: ${value} reads as ${JSON.stringify(read.value)}`);
        }
      }
      for (const reader of [socket, events]) {
        const heard = names.map((name, n) => new Promise((resolve) => reader.on(path('px', name), (value) => value === `by socket ${n}` && resolve())));
        await Promise.all(heard);
      }
      for (const api of [socket, events]) api.close();
      return wrong;
    },
    { mount, names: NAMES },
  );
  assert.deepEqual(wrong, [], 'names that the client writes and reads');
  const tree = JSON.parse((await ask(direct, 'GET', '/px')).text);
  assert.deepEqual(tree, Object.fromEntries(NAMES.map((name, n) => [name, `by socket ${n}`])));
}
