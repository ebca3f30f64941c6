// The pages in the binary, in a real browser: each button does what it says, asserted by data, and nothing is logged as an error. And pages of
// others, which can do nothing.
//
//   node conformance/browser/run.mjs [NAME...]          all, or those whose name has one of these words in it
//   SHOTS=folder node conformance/browser/run.mjs       with a picture of each page at its end
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { send } from '../lib/http.mjs';
import { startServer } from '../lib/server.mjs';
import { deletion, digits, mistakes, namedViews, narrow, unaddressed, views, windows } from './console.mjs';
import { eventSources, login, operators } from './identity.mjs';
import { browser, inPage, until, withDemo } from './page.mjs';
import { strangers } from './strangers.mjs';

const wanted = process.argv.slice(2);
const made = mkdtempSync(join(tmpdir(), 'halfping-browser-'));
const demo = (page) => page.evaluate(() => window.halfpingDemo.state());
const console_ = (page) => page.evaluate(() => window.halfpingConsole.state());

/** The city, and every button. */
async function city(look) {
  await withDemo([], ({ url }) =>
    inPage(`${url}/_demo/`, look, async (page) => {
      await until(page, 'the city is there and in step', () => {
        const { entities, in_step, updates, bytes_per_s, polling_bytes_per_s, links } = window.halfpingDemo.state();
        return entities === 300 && links >= 300 && in_step && updates > 50 && bytes_per_s > 0 && polling_bytes_per_s > bytes_per_s;
      });

      // What the page shows of an entity is what a GET says.
      await page.evaluate(() => window.halfpingDemo.select('bus-017'));
      await send('PUT', `${url}/vehicles/bus-017/note`, { body: '"lost umbrella"', type: 'application/json' });
      await until(page, 'a note arrives', () => window.halfpingDemo.value('bus-017').note === 'lost umbrella');
      assert.equal((await demo(page)).selected, 'bus-017');

      await ranked(page);

      await page.click('#freeze');
      await until(page, 'the network is frozen', () => window.halfpingDemo.state().frozen);
      const written = (await demo(page)).updates;
      await until(page, 'the freeze is over', () => window.halfpingDemo.state().freeze !== undefined && !window.halfpingDemo.state().busy);
      const { freeze } = await demo(page);
      assert.ok(freeze.ms_to_step < 3_000, `in step ${freeze.ms_to_step} ms after a freeze`);
      assert.ok(freeze.updates > 50, `${freeze.updates} updates were made meanwhile`);
      // Beside what it took stands what so much time brings without a freeze.
      const told = await page.innerText('#freeze-report');
      assert.match(told, /came in [\d,]+ messages.* Without a freeze, so much time brings about [\d.]+ [KM]?B/);
      assert.ok(!told.includes('backlog') && freeze.usual_bytes > 0, told);
      await until(page, 'it goes on', (written) => window.halfpingDemo.state().updates > written, written);

      await page.click('#cut');
      await until(page, 'the cut is over', () => window.halfpingDemo.state().cut !== undefined && !window.halfpingDemo.state().busy);
      const { cut } = await demo(page);
      assert.equal(cut.resumed, true, JSON.stringify(cut));
      assert.ok(cut.messages >= 1 && cut.bytes > 0, JSON.stringify(cut));

      await page.click('#more');
      await until(page, '1,000 more', () => window.halfpingDemo.state().entities === 1_300 && window.halfpingDemo.state().links >= 1_300);
      assert.equal(JSON.parse((await send('GET', `${url}/demo/vehicles`)).text), 1_300);
      const known = Object.keys(JSON.parse((await send('GET', `${url}/vehicles?depth=1`)).text));
      assert.equal(known.length, 1_300);
      await until(page, 'every vehicle that there is is shown', (ids) => ids.every((id) => window.halfpingDemo.value(id) !== undefined), known);
      await page.click('#back');
      await until(page, 'back to 300', () => window.halfpingDemo.state().entities === 300);

      await page.click('#slow');
      await until(page, 'slower', () => window.halfpingDemo.state().rate === 0.2);
      await until(page, 'in step all the while', () => window.halfpingDemo.state().in_step);
      // Vehicles move each second, and are shown as they were up to 5 s ago.
      await until(page, 'what is shown is older', () => window.halfpingDemo.state().shown_ms > 1_500);
      assert.match(await page.innerText('#shown-age'), /^[1-4]\.\d s$/);

      await chosen(page, known.slice(0, 300));
    }),
  );
}

/** The ten fastest: those of a GET of the same view, in its order, while their places change. */
async function ranked(page) {
  await until(page, 'ten are ranked, as a GET of the view ranks them', async () => {
    const { fastest } = window.halfpingDemo.state();
    if (fastest?.rows.length !== 10) return false;
    const list = await (await fetch(`../vehicles?${fastest.search}&as=list`)).json();
    return `${list.map(([id]) => id)}` === `${fastest.rows.map(({ id }) => id)}`;
  });
  const { rows, search } = (await demo(page)).fastest;
  assert.equal(search, 'order=-speed_mps&limit=10&select=route');
  await until(page, 'places change', (before) => `${window.halfpingDemo.state().fastest.rows.map(({ id }) => id)}` !== before, `${rows.map(({ id }) => id)}`);
  await until(page, 'the list shows them, the fastest first', () => {
    const { rows } = window.halfpingDemo.state().fastest;
    const shown = [...document.querySelectorAll('#fastest li')].map((row) => row.innerText.split(/\s+/).join(' ').trim());
    return `${shown}` === `${rows.map(({ id, label, speed }, n) => `${n + 1} ${id} ${label} ${speed.toFixed(1)} m/s`)}`;
  });
  const wide = await page.locator('#fastest button').evaluateAll((all) => all.filter((row) => row.scrollWidth > row.clientWidth || row.offsetHeight > 40).length);
  assert.equal(wide, 0, 'each is one line');
  await page.evaluate(() => document.querySelector('#fastest button').click());
  await until(page, 'a click chooses one', () => document.querySelector('#fastest .chosen .name')?.innerText === window.halfpingDemo.state().selected || window.halfpingDemo.state().selected?.match(/^(bus|tram)-(?!017)/));
  await page.evaluate(() => window.halfpingDemo.select('bus-017'));
}

/** A thing that is chosen can be seen, on the map and as a value; a name that nothing has chooses nothing. */
async function chosen(page, ids) {
  const { width, height } = page.viewportSize();
  await page.evaluate(() => window.halfpingDemo.select('bus-017'));
  await page.locator('.inspector .json').waitFor();
  const covered = await page.evaluate((ids) => {
    const [map, box] = ['#map', '.inspector'].map((name) => document.querySelector(name).getBoundingClientRect());
    return ids.filter((id) => {
      const { x, y } = window.halfpingDemo.place(id) ?? {};
      return x + map.left > box.left && x + map.left < box.right && y + map.top > box.top && y + map.top < box.bottom;
    });
  }, ids);
  assert.ok(covered.length > 0 || width < 1_000, 'the panel lies over some of them');
  for (const id of [...covered.slice(0, 3), 'bus-017']) {
    await page.evaluate((id) => window.halfpingDemo.select(id), id);
    await until(page, `${id} is on the map, and nothing lies over it`, (id) => {
      const [map, box] = ['#map', '.inspector'].map((name) => document.querySelector(name).getBoundingClientRect());
      const place = window.halfpingDemo.place(id);
      const [x, y] = [place.x + map.left, place.y + map.top];
      const isIn = ({ left, right, top, bottom }) => x > left && x < right && y > top && y < bottom;
      return isIn(map) && !isIn(box);
    }, id);
    const { y } = await page.locator('.inspector .json').boundingBox();
    assert.ok(y > 0 && y < height - 40, `the value of ${id} begins at ${y} of ${height}`);
  }
  await page.fill('#pick', 'horse-1');
  await page.press('#pick', 'Enter');
  await until(page, 'nothing is chosen', () => window.halfpingDemo.state().selected === undefined && window.halfpingDemo.state().said.includes('no horse-1'));
  assert.equal(await page.locator('.inspector .json').count(), 0);
}

/** A file of twelve boats that tell where they are sixty times, so far apart. */
function boats(every_ms) {
  const lines = [];
  for (let step = 0; step < 60; step++) {
    const t = 1_533_110_400_000 + step * every_ms;
    for (let n = 0; n < 12; n++) lines.push(JSON.stringify({ t, path: `/boats/b${n}`, value: { lat: 47 + n / 100 + step / 1e4, lon: 8 + step / 1e3, speed_mps: n } }));
  }
  const file = join(made, `boats-${every_ms}.ndjson`);
  writeFileSync(file, `${lines.join('\n')}\n`);
  return file;
}

/** A recording, on the same page. */
async function recording(look) {
  await withDemo(['--data-file', boats(1_000)], ({ url }) =>
    inPage(`${url}/_demo/`, look, async (page) => {
      await until(page, 'the boats are there and move', () => window.halfpingDemo.state().entities === 12 && window.halfpingDemo.state().updates > 30);
      assert.ok(await page.isDisabled('#more'), 'a recording cannot be made longer');
      const tenOfThem = Array.from({ length: 10 }, (_, n) => `b${11 - n}`);
      await until(page, 'the fastest, in order', (ids) => `${[...document.querySelectorAll('#fastest .name')].map(({ innerText }) => innerText)}` === ids, `${tenOfThem}`);
    }),
  );
}

/** Nothing moves any more, and there is no console: no link leads there, and nothing is asked for that is not there. */
async function deserted(look) {
  // Of an hour's silence 5 s are played: when they have just moved, that long nothing brings them back.
  await withDemo(['--console', 'off', '--data-file', boats(3_600_000)], ({ url }) =>
    inPage(`${url}/_demo/`, look, async (page) => {
      await until(page, 'there is something to compare with', () => window.halfpingDemo.state().in_step && window.halfpingDemo.state().polling_bytes_per_s > 0);
      assert.equal(await page.getByRole('link', { name: 'console' }).count(), 0);
      const { updates } = await demo(page);
      await until(page, 'the boats move', (updates) => window.halfpingDemo.state().updates > updates, updates);
      await send('DELETE', `${url}/boats`);
      await until(page, 'and then there is not', () => window.halfpingDemo.state().entities === 0 && window.halfpingDemo.state().polling_bytes_per_s === undefined);
      await until(page, 'nor is any the fastest', () => !document.querySelector('#fastest'));
    }),
  );
}

/** The console: the tree, one resource, writing, the server's own state. */
async function theConsole(look) {
  await withDemo([], ({ url }) =>
    inPage(`${url}/_console/#/vehicles/bus-017`, look, async (page) => {
      await until(page, 'the resource of the address is shown', () => {
        const { path, value, status } = window.halfpingConsole.state();
        return path === '/vehicles/bus-017' && value?.route !== undefined && status.synced;
      });
      await send('PUT', `${url}/vehicles/bus-017/note`, { body: '"seen"', type: 'application/json' });
      await until(page, 'a change arrives, and is remembered', () => window.halfpingConsole.state().value.note === 'seen' && window.halfpingConsole.state().history > 0);
      await until(page, 'the note is in the page', () => document.body.innerText.includes('seen'));

      // With the keyboard alone: the tree opens what is selected.
      await page.focus('[role=tree], [role=treegrid]');
      await page.keyboard.press('Home');
      await page.keyboard.press('ArrowRight');
      await until(page, 'the root is open', () => window.halfpingConsole.state().expanded.includes('/'));
      const { links } = await console_(page);
      assert.ok(links >= 1 && links <= 4, `${links} links: one for each open node`);

      await page.goto(`${url}/_console/#/fleet`);
      await until(page, 'another address, another resource', () => window.halfpingConsole.state().value?.vehicles === 300);
      await page.goBack();
      await until(page, 'and back', () => window.halfpingConsole.state().path === '/vehicles/bus-017');

      for (const [view, text] of [['Server', 'memory'], ['Sessions', 'websocket']]) {
        await page.getByRole('link', { name: view }).or(page.getByRole('tab', { name: view })).or(page.getByRole('button', { name: view })).first().click();
        if (view === 'Server') await page.locator('.plot-empty').first().waitFor();
        await until(page, `the view ${view}`, (text) => document.body.innerText.toLowerCase().includes(text), text);
      }
      if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, `${look.name}-sessions.png`) });
    }),
  );
}

/** A page that is closed to the world says so. */
async function closedConsole() {
  const server = await startServer('--console', 'off');
  try {
    assert.equal((await send('GET', `${server.url}/_console/`)).status, 404);
    assert.match((await send('GET', `${server.url}/_server`)).text, /--console on/);
  } finally {
    await server.stop();
  }
}

/** An object of 10,000 members, 1,000 of which change each second, opened in the console. */
async function manyMembers(look) {
  const server = await startServer();
  const members = Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`member-${String(n).padStart(5, '0')}`, n]));
  let busy = true;
  try {
    await send('PUT', `${server.url}/many`, { body: JSON.stringify(members), type: 'application/json' });
    const writing = (async () => {
      for (let round = 0; busy; round++) {
        const some = Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`member-${String((round * 100 + n) % 10_000).padStart(5, '0')}`, round]));
        await send('PATCH', `${server.url}/many`, { body: JSON.stringify(some), type: 'application/merge-patch+json' });
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    })();
    await inPage(`${server.url}/_console/#/many`, look, async (page) => {
      await page.locator('.row.selected').waitFor();
      await page.focus('[role=tree], [role=treegrid]');
      await page.keyboard.press('ArrowRight');
      await until(page, 'all of them are rows', () => window.halfpingConsole.state().rows > 10_000);
      const shown = await page.locator('[role=treeitem], [role=row]').count();
      assert.ok(shown < 500, `only those in sight are in the document: ${shown}`);
      // It answers while all that arrives.
      await page.keyboard.press('End');
      await until(page, 'the last is in sight', () => document.body.innerText.includes('member-09999'));
    });
    busy = false;
    await writing;
  } finally {
    busy = false;
    await server.stop();
  }
}

const tests = {
  'demo, light': () => city({ name: 'demo-light' }),
  'demo, dark and narrow': () => city({ name: 'demo-dark', colorScheme: 'dark', viewport: { width: 390, height: 780 } }),
  'demo, a recording': () => recording({ name: 'demo-recording' }),
  'demo, deserted': () => deserted({ name: 'demo-deserted' }),
  'console, light': () => theConsole({ name: 'console-light' }),
  'console, dark': () => theConsole({ name: 'console-dark', colorScheme: 'dark' }),
  'console, closed': closedConsole,
  'console, digits': () => digits({ name: 'console-digits' }),
  'console, deletion': () => deletion({ name: 'console-deletion' }),
  'console, mistakes': () => mistakes({ name: 'console-mistakes' }),
  'console, views': () => views({ name: 'console-views' }),
  'console, views, dark and narrow': () => views({ name: 'console-views-dark', colorScheme: 'dark', viewport: { width: 400, height: 800 } }),
  'console, windows': () => windows({ name: 'console-windows' }),
  'console, windows, dark and narrow': () => windows({ name: 'console-windows-dark', colorScheme: 'dark', viewport: { width: 400, height: 800 } }),
  'console, named views': () => namedViews({ name: 'console-named-views' }, join(made, 'named-views.toml')),
  'console, names without an address': () => unaddressed({ name: 'console-unaddressed' }),
  'console, narrow': () => narrow({ name: 'console-narrow', viewport: { width: 400, height: 800 } }),
  'console, 10,000 members': () => manyMembers({ name: 'console-many' }),
  'demo, operators': () => operators({ name: 'demo-operators' }),
  'console, login': () => login({ name: 'console-login' }, made),
  'console, login, dark and narrow': () => login({ name: 'console-login-dark', colorScheme: 'dark', viewport: { width: 400, height: 800 } }, made),
  'identity, EventSource': () => eventSources({ name: 'event-sources' }, made),
  strangers,
};

let failed = 0;
let passed = 0;
for (const [name, test] of Object.entries(tests)) {
  if (wanted.length > 0 && !wanted.some((word) => name.includes(word))) continue;
  const started = Date.now();
  try {
    await test();
    passed += 1;
    console.log(`ok    ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}\n  ${error.stack}`);
  }
}
await browser.close();
rmSync(made, { recursive: true });
console.log(`browser: ${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
