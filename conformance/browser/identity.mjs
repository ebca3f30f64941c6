// Identity in the pages: the demo's operators, the console's login, and native EventSources that show who they are by a cookie or by a ticket.
import assert from 'node:assert/strict';
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { send } from '../lib/http.mjs';
import { startServer } from '../lib/server.mjs';
import { setCookie, withCookies } from './cookies.mjs';
import { inPage, until, withDemo } from './page.mjs';

const KIM = `hpk_${randomBytes(24).toString('hex')}`;
const ROOT = `hpk_${randomBytes(24).toString('hex')}`;
const SECRET = randomBytes(32).toString('hex');
const ISSUER = 'https://id.example.org/';
const hash = (key) => createHash('sha256').update(key).digest('hex');
const json = (url, token) => send('GET', url, { token }).then(({ text }) => JSON.parse(text));

/** A server with two tenants, of one of which Kim is; the root sees and does all. Who shows nothing is refused. */
async function withTenants(folder, settings, use) {
  writeFileSync(join(folder, 'hs256.key'), SECRET, { mode: 0o600 });
  const config = `
${settings.top ?? ''}
[auth]
anonymous = false
${settings.auth ?? ''}
[[auth.issuer]]
issuer = "${ISSUER}"
audience = ["halfping"]
secret_file = "hs256.key"
algorithms = ["HS256"]
claims = ["tenant"]
[[auth.key]]
sha256 = "${hash(KIM)}"
claims = { sub = "kim", tenant = "a" }
[[auth.key]]
sha256 = "${hash(ROOT)}"
claims = { sub = "root", admin = true }
[[rule]]
allow = ["read", "write"]
path = "/tenants/{tenant}"
when = "tenant == claims.tenant"
[[rule]]
allow = ["read", "write"]
path = "/"
when = "claims.admin"
`;
  writeFileSync(join(folder, 'tenants.toml'), config);
  const server = await startServer('--config', join(folder, 'tenants.toml'));
  try {
    const body = JSON.stringify({ tenants: { a: { plan: 'gold' }, b: { plan: 's3cret' } } });
    await send('PUT', `${server.url}/`, { body, type: 'application/json', token: ROOT });
    await use(server.url);
    assert.equal(server.complaint(), undefined);
  } finally {
    await server.stop();
  }
}

/** A token of Kim's that is good for so long. */
function tokenFor(seconds) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1000) + seconds;
  const signed = `${part({ alg: 'HS256' })}.${part({ iss: ISSUER, aud: 'halfping', sub: 'kim', tenant: 'a', exp })}`;
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
}

/** The demo's operators: each is sent its own vehicles and no others, at once, on the same connection. */
export async function operators(look) {
  await withDemo([], ({ url }) =>
    inPage(`${url}/_demo/`, look, async (page) => {
      // The page that was opened first may open its connection at any time until it goes.
      await page.goto('about:blank');
      const sockets = [];
      const heard = [];
      page.on('websocket', (socket) => {
        sockets.push(socket);
        socket.on('framereceived', ({ payload }) => heard.push(String(payload)));
      });
      await page.goto(`${url}/_demo/`);
      const shows = async (sub) => {
        const all = await json(`${url}/vehicles`);
        const mine = Object.keys(all).filter((id) => sub === '' || all[id].operator === sub);
        await until(
          page,
          `${sub || 'everybody'} sees ${mine.length} vehicles, in step, and they move`,
          ([sub, ids, updates]) => {
            const state = window.halfpingDemo.state();
            const isThem = (state.operator ?? '') === sub && (state.identity ?? '') === sub && state.entities === ids.length && ids.every((id) => window.halfpingDemo.value(id) !== undefined);
            return isThem && state.in_step && `${state.owners}` === (sub || 'ada,grace') && state.updates > updates;
          },
          [sub, mine, (await page.evaluate(() => window.halfpingDemo.state())).updates],
        );
        return mine;
      };
      const look = (sub) => page.click(`#eyes [data-sub="${sub}"]`);
      const all = await shows('');
      assert.equal(all.length, 300);

      await look('ada');
      const trams = await shows('ada');
      assert.ok(trams.length > 20 && trams.every((id) => id.startsWith('tram-')), `${trams}`);
      heard.length = 0;
      await until(page, 'the fastest are hers', () => {
        const { fastest } = window.halfpingDemo.state();
        return fastest?.rows.length === 10 && fastest.rows.every(({ id }) => id.startsWith('tram-'));
      });
      await until(page, 'polling costs what she would poll', () => window.halfpingDemo.state().polling_bytes_per_s < 30_000);
      await until(page, 'time passes', (updates) => window.halfpingDemo.state().updates > updates + 100, (await page.evaluate(() => window.halfpingDemo.state())).updates);
      assert.ok(heard.length > 1, `something is sent: ${heard.length}`);
      assert.deepEqual(heard.filter((text) => /bus-|"grace"/.test(text)).map((text) => text.slice(0, 300)), [], 'nothing of the other is sent');

      // What belongs to somebody else from now on goes, and comes there.
      const [tram] = trams;
      await page.evaluate((id) => window.halfpingDemo.select(id), tram);
      await page.getByRole('button', { name: 'Hand over to Grace' }).click();
      await until(page, 'it is gone from her map', (id) => window.halfpingDemo.value(id) === undefined, tram);
      await look('grace');
      assert.ok((await shows('grace')).includes(tram), 'Grace has it');
      await page.click('#cut');
      await until(page, 'the cut is over', () => window.halfpingDemo.state().cut !== undefined && !window.halfpingDemo.state().busy);
      await shows('grace');
      assert.equal(sockets.length, 2, 'one connection, and one more after the cut');

      // However fast somebody changes their mind.
      await page.evaluate(() => ['ada', '', 'grace', '', 'ada'].forEach((sub) => document.querySelector(`#eyes [data-sub="${sub}"]`).click()));
      await shows('ada');
      await look('grace');
      await page.click('#more');
      await until(page, 'a thousand more, of which most are hers', () => window.halfpingDemo.state().entities > 900);
      await shows('grace');
      await page.click('#back');
      await look('');
      await until(page, 'everybody sees all again', () => window.halfpingDemo.state().entities === 300);
      await shows('');
      assert.equal(sockets.length, 2);
    }),
  );
}

/** The console where nobody gets in without a token: in, out, and what is no good. */
export async function login(look, folder) {
  const state = (page) => page.evaluate(() => window.halfpingConsole.state());
  const logIn = async (page, token) => {
    const input = page.locator('.login-form input');
    if (!(await input.isVisible())) await page.getByRole('button', { name: 'Log in' }).first().click();
    await input.fill(token);
    await page.locator('.login-form [type=submit]').click();
  };
  const viewAs = async (page, claims) => {
    await page.getByRole('button', { name: 'View as…' }).click();
    await page.locator('.login-form textarea').fill(claims);
    await page.getByRole('button', { name: 'View', exact: true }).click();
  };
  const isKim = () => window.halfpingConsole?.state().who === 'kim' && window.halfpingConsole.state().value?.plan === 'gold';
  // That requests without a token are refused is what the page is for; the browser logs them.
  const allowed = /status of 40[13]|halfping/;
  await withTenants(folder, {}, (url) =>
    inPage(
      `${url}/_console/#/tenants/a`,
      look,
      async (page) => {
        await page.locator('#login-reason', { hasText: 'has not logged in' }).waitFor();
        assert.ok(!(await page.innerText('body')).includes('gold'));
        await logIn(page, 'hpk_forged');
        await page.locator('.login-mistake', { hasText: '401 unauthorized' }).waitFor();
        assert.equal((await state(page)).who, undefined);

        await logIn(page, `Bearer ${KIM}`);
        await until(page, 'Kim is in, where she wanted to be', isKim);
        assert.equal(await page.innerText('#who'), 'kim');
        assert.equal(await page.getAttribute('#who', 'title'), 'the token does not end');
        const kept = await page.evaluate(() => [sessionStorage.length, localStorage.length, document.cookie]);
        assert.deepEqual(kept, [1, 0, '']);
        await page.evaluate(() => (location.hash = '#/tenants'));
        await until(page, 'her tenant is all that there is', () => JSON.stringify(window.halfpingConsole?.state().value) === '{"a":{"plan":"gold"}}');
        // Plain requests are hers, too: what is written is read as text first.
        await page.evaluate(() => (location.hash = '#/tenants/a/plan'));
        await page.getByRole('tab', { name: 'Write' }).click();
        await page.getByRole('button', { name: 'Load value' }).click();
        await until(page, 'it is loaded', () => document.querySelector('.write textarea').value === '"gold"');
        await page.locator('.methods label', { hasText: /^PUT$/ }).click();
        await page.fill('.write textarea', '"iron"');
        await page.locator('.write [type=submit]').click();
        await until(page, 'it is written', () => window.halfpingConsole.state().value === 'iron');
        assert.equal(await json(`${url}/tenants/a/plan`, ROOT), 'iron');

        await viewAs(page, '{"tenant":"b"}');
        await page.locator('.login-mistake', { hasText: 'only who may read everything' }).waitFor();

        const opened = page.context().waitForEvent('page');
        await page.evaluate(() => void window.open(location.href, '_blank', 'noopener'));
        const other = await opened;
        await other.locator('#login-reason').waitFor();
        await other.close();

        await page.getByRole('button', { name: 'Log out' }).click();
        await page.locator('#login-reason', { hasText: 'has not logged in' }).waitFor();
        const left = await state(page);
        assert.deepEqual([left.who, left.value], [undefined, undefined]);
        assert.ok(!(await page.innerText('body')).includes('iron'));

        // Who may read everything sees what somebody else would see, and writes nothing meanwhile.
        await logIn(page, ROOT);
        await until(page, 'the root is in', () => window.halfpingConsole?.state().who === 'root');
        await page.evaluate(() => (location.hash = '#/tenants'));
        await until(page, 'the root sees all', () => window.halfpingConsole?.state().value?.b?.plan === 's3cret');
        await viewAs(page, '{"sub":"lee","tenant":"a"}');
        await page.locator('#looking', { hasText: '"tenant":"a"' }).waitFor();
        await until(page, 'no more than Lee would', () => JSON.stringify(window.halfpingConsole?.state().value) === '{"a":{"plan":"iron"}}');
        assert.equal((await state(page)).who, 'root', 'it is said who looks');
        await page.evaluate(() => (location.hash = '#/tenants/a/plan'));
        await page.getByRole('tab', { name: 'Write' }).click();
        await page.getByRole('button', { name: 'Load value' }).click();
        await until(page, 'it is loaded', () => document.querySelector('.write textarea').value === '"iron"');
        await page.locator('.methods label', { hasText: /^PUT$/ }).click();
        await page.locator('.write [type=submit]').click();
        await page.locator('.write .problem', { hasText: '403 forbidden' }).waitFor();
        await page.evaluate(() => (location.hash = '#/tenants'));
        await page.getByRole('button', { name: 'Stop' }).click();
        await until(page, 'the root sees all again', () => window.halfpingConsole?.state().value?.b?.plan === 's3cret');
        assert.equal(await page.locator('#looking').count(), 0);
        await page.getByRole('button', { name: 'Log out' }).click();
        await page.locator('#login-reason', { hasText: 'has not logged in' }).waitFor();

        await logIn(page, tokenFor(4));
        await until(page, 'Kim is in for a while', () => window.halfpingConsole?.state().who === 'kim');
        await page.locator('#login-reason', { hasText: 'Log in again' }).waitFor();
      },
      allowed,
    ),
  );
  // Where nobody is told apart, there is nothing to log in to.
  const server = await startServer();
  try {
    await inPage(`${server.url}/_console/`, { ...look, name: `${look.name}-nobody` }, async (page) => {
      await until(page, 'it is in step', () => window.halfpingConsole.state().status.synced);
      assert.equal(await page.getByRole('button', { name: 'Log in' }).count(), 0);
    });
  } finally {
    await server.stop();
  }
}

/** The outcome of an EventSource in the page: the data of its first event of a kind, or that it failed. */
const listen = ([target, withCredentials]) =>
  new Promise((resolve) => {
    const source = new EventSource(target, { withCredentials });
    const done = (outcome) => (source.close(), resolve(outcome));
    source.addEventListener('snapshot', ({ data }) => done(data));
    source.onerror = () => done('failed');
    setTimeout(done, 10_000, 'nothing came of it');
  });

/** Native EventSources, which can send no header: a cookie, or a ticket, from the server's own origin and from another one that may. */
export async function eventSources(look, folder) {
  const pages = createServer((_, answer) => answer.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>a page</title>'));
  await new Promise((resolve) => pages.listen(0, '127.0.0.1', resolve));
  const at = (host) => `http://${host}:${pages.address().port}`;
  const [friend, stranger] = [at('localhost'), at('127.0.0.1')];
  try {
    const settings = { top: `[cors]\norigins = ["${friend}"]`, auth: 'cookie = "halfping"\n' };
    await withTenants(folder, settings, async (url) => {
      const { context, close } = await withCookies();
      try {
        const from = async (origin, use) => {
          const page = await context.newPage();
          try {
            await page.goto(`${origin}/_console/`);
            return await use(page);
          } finally {
            await page.close();
          }
        };
        const opens = (origin, target, withCredentials = true) => from(origin, (page) => page.evaluate(listen, [url + target, withCredentials]));
        const mine = '/tenants/a?watch';
        const gold = (data) => data.includes('"gold"') || data;
        const ticket = async (token) => JSON.parse((await send('POST', `${url}/_auth/ticket`, { token })).text).ticket;

        // By a ticket, with no cookie: once, from wherever the page may be.
        for (const origin of [url, friend]) {
          const target = `${mine}&ticket=${await ticket(KIM)}`;
          assert.equal(gold(await opens(origin, target, false)), true, `${origin}, by a ticket`);
          assert.equal(await opens(origin, target, false), 'failed', `${origin}, by a ticket that was used`);
          assert.equal(await opens(origin, `/tenants/b?watch&ticket=${await ticket(KIM)}`, false), 'failed', "of what is not Kim's");
        }
        assert.equal(await opens(stranger, `${mine}&ticket=${await ticket(KIM)}`, false), 'failed', 'a page that may not, by a ticket');
        assert.equal(await opens(url, mine), 'failed', 'by nothing');

        // By a cookie, which the browser sends along, from another site too.
        await setCookie(context, url, 'halfping', KIM);
        for (const origin of [url, friend]) {
          assert.equal(gold(await opens(origin, mine)), true, `${origin}, by a cookie`);
          assert.equal(await opens(origin, '/tenants/b?watch'), 'failed', `${origin}, of what is not Kim's`);
        }
        assert.equal(await opens(friend, mine, false), 'failed', 'a page of another origin that leaves the cookie at home');
        assert.equal(await opens(stranger, mine), 'failed', 'a page that may not, by a cookie');

        // A page of the server's own gets a ticket by its cookie; a stranger's does not.
        const asks = (origin) =>
          from(origin, (page) =>
            page.evaluate(
              (url) => fetch(`${url}/_auth/ticket`, { method: 'POST', credentials: 'include' }).then(async (answer) => (await answer.json()).ticket ?? answer.status, () => 'failed'),
              url,
            ),
          );
        for (const origin of [url, friend]) {
          const given = await asks(origin);
          assert.match(String(given), /^[\w-]{40,}$/, `${origin} asks for a ticket`);
        }
        assert.equal(await asks(stranger), 'failed');

        // It ends with the key: what was good is not, and nobody is taken for nobody.
        await context.clearCookies();
        await setCookie(context, url, 'halfping', 'hpk_forged');
        assert.equal(await opens(url, mine), 'failed', 'by a forged cookie');
      } finally {
        await close();
      }
    });
  } finally {
    pages.close();
  }
}
