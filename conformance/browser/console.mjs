// The console where values and names are not the usual ones.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { send } from '../lib/http.mjs';
import { startServer } from '../lib/server.mjs';
import { inPage, until } from './page.mjs';

const BIG = '12345678901234567890';
const OTHER = '98765432109876543210';
const put = (url, body) => send('PUT', url, { body, type: 'application/json' });
const hash = (page, hash) => page.evaluate((hash) => (location.hash = hash), hash);

async function inConsole(look, hash, state, use, allowed, ...words) {
  const server = await startServer(...words);
  try {
    await put(`${server.url}/t`, state);
    await inPage(`${server.url}/_console/${hash}`, look, (page) => use(page, server.url), allowed);
  } finally {
    await server.stop();
  }
}

/** Fills the write box with the present value. */
async function load(page, text) {
  await page.getByRole('button', { name: 'Load value' }).click();
  await until(page, `${text} is loaded`, (text) => document.querySelector('.write textarea').value === text, text);
}

/** Sends what is in the box, and waits for the outcome. */
async function write(page, method, outcome = '.done') {
  await page.locator('.methods label', { hasText: new RegExp(`^${method}$`) }).click();
  await page.locator('.write [type=submit]').click();
  await page.locator('.write [type=submit]:not(:disabled)').waitFor();
  return page.locator(outcome).innerText();
}

/** Numbers stay as they were written (PROTOCOL V1), and a value that is written again changes nothing (V5). */
export async function digits(look) {
  const nested = `{"a":[1.10,{"b":${BIG}}],"c":{},"d":[],"e":"\\u202e x"}`;
  const use = async (page, url) => {
    const at = async (path) => (await send('GET', url + path)).text;
    await until(page, 'a number that is not exact is marked', () => document.querySelector('.value').innerText.startsWith('≈'));
    assert.match(await page.getAttribute('.value .number', 'title'), /curl/);
    await until(page, 'in the tree, too', () => document.querySelector('.row.selected .row-value').innerText.startsWith('≈'));

    await page.getByRole('tab', { name: 'Write' }).click();
    const { etag } = await send('GET', `${url}/t/big`);
    await load(page, BIG);
    await write(page, 'PUT');
    assert.deepEqual([await at('/t/big'), (await send('GET', `${url}/t/big`)).etag], [BIG, etag]);
    await page.fill('.write textarea', OTHER);
    await write(page, 'PUT');
    assert.equal(await at('/t/big'), OTHER);

    // Compared with what was loaded.
    await load(page, OTHER);
    await page.getByLabel('only if unchanged').check();
    await write(page, 'PUT');
    await put(`${url}/t/big`, '1');
    assert.match(await write(page, 'PUT', '.write .problem'), /412 precondition-failed/);
    assert.equal(await at('/t/big'), '1');

    await hash(page, '#/t/nested');
    await until(page, 'the other', () => window.halfpingConsole.state().value?.c !== undefined);
    await load(page, JSON.stringify(JSON.parse(nested), null, 2).replace('1.1', '1.10').replace(/"b": \d+/, `"b": ${BIG}`).replace('\u202e', '\\u202e'));
    await write(page, 'PUT');
    assert.equal(await at('/t/nested'), nested.replace('\\u202e', '\u202e'));
    await page.fill('.write textarea', `{"a":${OTHER},"d":null}`);
    await write(page, 'MERGE');
    assert.equal(await at('/t/nested?depth=1'), `{"a":${OTHER},"c":{},"e":"\u202e x"}`);
    await page.fill('.write textarea', `[{"op":"add","path":"/c","value":${BIG}}]`);
    await write(page, 'JSON PATCH');
    assert.equal(await at('/t/nested/c'), BIG);
    assert.ok(!(await page.innerText('body')).includes('\u202e'), 'nothing turns the order of a line');

    await hash(page, '#/t/nothing');
    await until(page, 'nothing', () => document.querySelector('.value').innerText.startsWith('Nothing is here'));
    await page.fill('.write textarea', ' ');
    await load(page, '');
    await page.fill('.write textarea', BIG);
    assert.match(await write(page, 'POST'), /^Created .*\/t\/nothing\/\S+, rev/);
    assert.equal(Object.keys(JSON.parse(await at('/t/nothing'))).length, 1);
    assert.ok((await at('/t/nothing')).endsWith(`:${BIG}}`));
  };
  await inConsole(look, '#/t/big', `{"big":${BIG},"nested":${nested}}`, use, /status of 412/);
}

/** A removal for everybody is asked about, once and for one resource. */
export async function deletion(look) {
  await inConsole(look, '#/t/a', '{"a":1,"b":2}', async (page, url) => {
    const state = async () => (await send('GET', `${url}/t`)).text;
    const button = page.locator('.write [type=submit]');
    await page.getByRole('tab', { name: 'Write' }).click();
    await page.locator('.methods label', { hasText: /^DELETE$/ }).click();
    await button.click();
    await page.getByRole('alert').getByText('/t/a and everything beneath it').waitFor();
    assert.equal(await button.innerText(), 'Yes, delete /t/a');
    await page.getByRole('button', { name: 'Keep it' }).click();
    assert.equal(await button.innerText(), 'DELETE');
    await button.click();
    // The question was about another.
    await hash(page, '#/t/b');
    await until(page, 'the other', () => window.halfpingConsole.state().value === 2);
    await page.locator('.methods label', { hasText: /^DELETE$/ }).click();
    assert.equal(await button.innerText(), 'DELETE');
    assert.equal(await state(), '{"a":1,"b":2}');
    await button.click();
    await button.click();
    await page.locator('.done').getByText('Deleted').waitFor();
    assert.equal(await state(), '{"a":1}');
  });
}

/** A refusal that the server would give is said before it is asked. */
export async function mistakes(look) {
  await inConsole(look, '#/t', '{}', async (page) => {
    await page.getByRole('tab', { name: 'Write' }).click();
    const cases = [
      ['{\n  "a": "x\\ud800"\n}', 'line 2, column 10:'],
      ['"\\ude00"', 'line 1, column 2:'],
      ['"\\ud83d\\u0041"', 'line 1, column 2:'],
      ['{"\\ud800": 1}', 'line 1, column 3:'],
    ];
    for (const [text, place] of cases) {
      await page.fill('.write textarea', text);
      await until(page, `${text} is refused`, (place) => document.querySelector('#mistake')?.innerText.startsWith(place), place);
      assert.ok(await page.locator('.write [type=submit]').isDisabled());
    }
    await page.fill('.write textarea', '"\\ud83d\\ude00 😀"');
    await until(page, 'a pair is none', () => !document.querySelector('#mistake'));
    await page.fill('.filter input', 'no such name');
    await until(page, 'a filter that fits nothing says so', () => document.querySelector('.filter').innerText.includes('nothing matches'));
  });
}

/** A part of a collection: what is typed is applied by Enter, stands in the address, and is told where it is wrong. */
export async function views(look) {
  const vehicles = {
    'bus-1': { line: '7', speed: 62, driver: { name: 'Ada', age: 36 } },
    'bus-2': { line: '7', speed: 20, driver: { name: 'Bo', age: 51 } },
    'tram-1': { line: 'U4', speed: 55, driver: { name: 'Cy', age: 44 } },
  };
  const where = 'speed > 50 && driver.age < 40';
  const names = (page, names) => until(page, `these are shown: ${names}`, (names) => `${Object.keys(window.halfpingConsole.state().value ?? {}).sort()}` === names, `${names}`);
  await inConsole(look, '#/t', JSON.stringify(vehicles), async (page, url) => {
    await names(page, Object.keys(vehicles));
    const [condition, selection] = [page.getByLabel('where'), page.getByLabel('select')];
    const told = page.locator('#query-mistake');

    // Typing asks for nothing; Enter does.
    await condition.fill('speed > 50');
    await condition.press('Enter');
    await names(page, ['bus-1', 'tram-1']);
    await page.locator('.facts').getByText('2 members').waitFor();
    assert.equal(new URLSearchParams(new URL(page.url()).hash.split('?')[1]).get('where'), 'speed > 50');
    await put(`${url}/t/bus-2/speed`, '51');
    await names(page, ['bus-1', 'bus-2', 'tram-1']);
    await put(`${url}/t/bus-1/speed`, '49');
    await names(page, ['bus-2', 'tram-1']);
    const isGone = () => [...document.querySelectorAll('.value .line .key')].every((name) => name.innerText !== '"bus-1"');
    await until(page, 'what has left is not shown', isGone);

    await page.getByLabel('depth').selectOption('all');
    await selection.fill('line,driver(name)');
    await selection.press('Enter');
    await until(page, 'these parts are shown', () => JSON.stringify(window.halfpingConsole.state().value['tram-1']) === '{"line":"U4","driver":{"name":"Cy"}}');

    // A mistake is told where it is, and nothing is shown that was not asked for.
    await condition.fill('speed > 50 line');
    await condition.press('Enter');
    await told.getByText(/^where, column 12:/).waitFor();
    assert.equal(await condition.getAttribute('aria-invalid'), 'true');
    assert.equal(await selection.getAttribute('aria-invalid'), 'false');
    assert.equal(await page.locator('.panel .value').count(), 0);
    await page.locator('.facts dd').first().getByText('…', { exact: true }).waitFor();
    await told.getByRole('button').click();
    assert.deepEqual(await condition.evaluate((box) => [document.activeElement === box, box.selectionStart]), [true, 11]);
    await condition.fill('');
    await selection.fill('line,driver(name');
    await selection.press('Enter');
    await told.getByText(/^select, column/).waitFor();
    assert.equal(await condition.getAttribute('aria-invalid'), 'false');

    // The way back leads to the view before the mistakes; a link leads to a view, with all of its characters.
    await page.goBack();
    await told.getByText(/^where, column 12:/).waitFor();
    await page.goBack();
    await names(page, ['bus-2', 'tram-1']);
    assert.equal(await condition.inputValue(), 'speed > 50');
    assert.equal(await told.count(), 0);
    await put(`${url}/t/bus-1/speed`, '62');
    await hash(page, `#/t?${new URLSearchParams({ where })}`);
    await names(page, ['bus-1']);
    assert.deepEqual([await condition.inputValue(), await selection.inputValue()], [where, '']);

    // It survives other pages, and a reload; its URL is that of the view.
    const other = await fetch(`${url}/t?${new URLSearchParams({ where: "line == 'U4'", select: 'line' })}`, { headers: { accept: 'application/x-ndjson' } });
    await page.getByRole('link', { name: 'Sessions' }).click();
    await page.locator('.panel').waitFor({ state: 'detached' });
    await page.getByRole('link', { name: 'Tree' }).click();
    await names(page, ['bus-1']);
    // So do those of others.
    await page.getByRole('link', { name: 'Sessions' }).click();
    const carets = page.getByRole('button', { name: /^Links of session/ });
    await carets.nth(1).waitFor();
    for (const caret of await carets.all()) await caret.click();
    await page.locator('.sub-cell', { hasText: 'where line == "U4", select line' }).getByRole('link').click();
    await names(page, ['tram-1']);
    assert.deepEqual([await condition.inputValue(), await selection.inputValue()], ['line == "U4"', 'line']);
    await other.body.cancel();
    await page.goBack();
    await page.goBack();
    await names(page, ['bus-1']);
    await page.reload();
    await names(page, ['bus-1']);
    await page.evaluate(() => (navigator.clipboard.writeText = async (text) => (window.copied = text)));
    await page.getByRole('button', { name: 'Copy URL' }).click();
    await until(page, 'a URL is copied', () => window.copied);
    const copied = await send('GET', await page.evaluate(() => window.copied));
    assert.deepEqual(JSON.parse(copied.text), { 'bus-1': vehicles['bus-1'] });
    await page.getByRole('tab', { name: 'Copy as' }).click();
    const snippet = async (id) => {
      await page.getByLabel('Language and tool').selectOption(id);
      return page.locator('.copy-as pre').innerText();
    };
    assert.equal(await snippet('curl'), `curl '${await page.evaluate(() => window.copied)}'`);
    assert.match(await snippet('curl-watch'), /\?where=[^ ]*&watch'$/);
    assert.ok((await snippet('js')).includes(`}, { where: ${JSON.stringify(where)} });`));
    assert.ok((await snippet('rust')).includes(`WatchOptions { filter: Some(${JSON.stringify(where)}.into()), ..`));
    // What is put back would remove what is not shown.
    assert.equal(await snippet('curl-put'), `curl -X PUT --json '"new value"' ${url}/t`);

    await page.getByRole('button', { name: 'Show all' }).click();
    await names(page, Object.keys(vehicles));
    assert.equal(await condition.inputValue(), '');
    await hash(page, '#/t/bus-1/speed');
    await until(page, 'a number has no parts to ask for', () => window.halfpingConsole.state().value === 62 && !document.querySelector('.query'));
  });
}

/** Views of the configuration are listed, and their links lead to what they say. */
export async function namedViews(look, config) {
  writeFileSync(config, '[[view]]\npath = "/fast"\nfrom = "/t"\norder = "-speed"\nlimit = 1\n[[view]]\npath = "/all"\nfrom = "/t"\n');
  const use = async (page) => {
    const rows = page.locator('section', { hasText: 'Named views' }).locator('tbody tr');
    await rows.first().waitFor();
    const told = await rows.evaluateAll((rows) => rows.map((row) => [...row.cells].map(({ innerText }) => innerText)));
    assert.deepEqual(told, [['/all', '/t', 'all'], ['/fast', '/t', 'limit=1&order=-speed']]);
    const shows = (names) => until(page, `${names} are shown`, (names) => `${Object.keys(window.halfpingConsole.state().value ?? {})}` === names, names);
    await rows.last().getByRole('link', { name: '/fast' }).click();
    await shows('b');
    await page.goBack();
    await rows.last().getByRole('link', { name: '/t' }).click();
    await shows('b');
    assert.equal(await page.getByLabel('order', { exact: true }).inputValue(), '-speed');
  };
  await inConsole(look, '#server', '{"a":{"speed":1},"b":{"speed":2}}', use, undefined, '--config', config);
}

/** The first members in an order: rows are in it and change places, their number stands beside that of all, and what is wrong is told where it is. */
export async function windows(look) {
  const vehicles = {
    10: { line: 'U4', speed: 20, driver: { name: { last: 'Abe' } } },
    9: { line: '7', speed: 62, driver: { name: { last: 'Cyd' } } },
    'bus-2': { line: '7', speed: 40, driver: { name: { last: 'Bo' } } },
    'bus-3': { line: '7', speed: 30, driver: { name: { last: 'Abe' } } },
  };
  const rows = (page, names) =>
    until(page, `these rows are shown, in this order: ${names}`, (names) => `${[...document.querySelectorAll('.value .line')].filter((line) => line.firstChild.style.paddingInlineStart === '2ch').flatMap((line) => [...line.querySelectorAll('.key')].map(({ innerText }) => JSON.parse(innerText)))}` === names, `${names}`);
  await inConsole(look, '#/t', JSON.stringify(vehicles), async (page, url) => {
    const box = Object.fromEntries(['where', 'order', 'limit', 'select'].map((name) => [name, page.getByLabel(name, { exact: true })]));
    const told = page.locator('#query-mistake');
    const facts = (text) => page.locator('.facts').getByText(text, { exact: true }).waitFor();
    const apply = async (query) => {
      for (const [name, text] of Object.entries(query)) await box[name].fill(text);
      await box.limit.press('Enter');
    };
    const invalid = async () => Promise.all(Object.values(box).map((input) => input.getAttribute('aria-invalid')));

    await facts('4 members');
    await apply({ order: '-speed', limit: '3' });
    // (An object of JavaScript would have 9 and 10 first.)
    await rows(page, [9, 'bus-2', 'bus-3']);
    await facts('3 of 4 members');
    await put(`${url}/t/bus-3/speed`, '70');
    await rows(page, ['bus-3', 9, 'bus-2']);
    await put(`${url}/t/10/speed`, '65');
    await rows(page, ['bus-3', 10, 9]);
    await put(`${url}/t/bus-4`, '{"line":"7","speed":1}');
    await facts('3 of 5 members');
    await apply({ where: 'line == "7"', limit: '2' });
    await rows(page, ['bus-3', 9]);
    await facts('2 of 4 members');

    // A name that is misspelt is no error, and is told.
    const note = page.locator('.query-note');
    await apply({ where: 'line.startsWith("7") && (sped > 1 || line in ["in", \'x\'])', order: '-speed,driver.nmae', limit: '2', select: 'line,driver(nmae),colour' });
    await note.getByText('No member has sped, driver.nmae, colour.').waitFor();
    await apply({ where: 'line.startsWith("7") && key() != "x" && speed > 1e0 && !(line == null)', order: '-speed', select: 'driver(name),line' });
    await rows(page, ['bus-3', 9]);
    await note.waitFor({ state: 'detached' });
    await apply({ select: '' });

    // What is typed on before the page has heard of its new address is kept.
    await box.order.evaluate(async (order) => {
      const type = (input, text) => {
        input.value = text;
        input.dispatchEvent(new Event('input', { bubbles: true }));
      };
      type(order, 'speed');
      order.form.requestSubmit();
      for (let n = 0; n < 10; n++) await null;
      type(order.form.elements.where, 'line == "U4"');
    });
    await rows(page, ['bus-2', 9]);
    assert.equal(await box.where.inputValue(), 'line == "U4"');

    // By what lies deeper than what is shown.
    await apply({ where: '', order: 'driver.name.last,-speed', limit: '4' });
    await rows(page, ['bus-4', 'bus-3', 10, 'bus-2']);

    // What is wrong is told where it is.
    await apply({ order: '-speed,,line' });
    await told.getByText(/^order, column 8:/).waitFor();
    assert.deepEqual(await invalid(), ['false', 'true', 'false', 'false']);
    assert.equal(await page.locator('.panel .value').count(), 0);
    await told.getByRole('button').click();
    assert.deepEqual(await box.order.evaluate((input) => [document.activeElement === input, input.selectionStart]), [true, 7]);
    await apply({ order: '-speed', limit: '' });
    await told.getByText(/'order' without 'limit'.*limit=20/).waitFor();
    await apply({ limit: '0' });
    await told.getByText(/at least 1/).waitFor();
    assert.deepEqual(await invalid(), ['false', 'false', 'true', 'false']);
    await apply({ limit: '9999' });
    await told.getByText(/at most 1000/).waitFor();
    await apply({ limit: 'ten' });
    await told.getByText(/number of members/).waitFor();
    assert.deepEqual(await invalid(), ['false', 'false', 'true', 'false']);

    // Its URL is that of the view, and so is what is copied as code.
    await apply({ limit: '2', select: 'line' });
    await rows(page, ['bus-3', 10]);
    assert.equal(new URL(page.url()).hash, '#/t?order=-speed&limit=2&select=line');
    await page.evaluate(() => (navigator.clipboard.writeText = async (text) => (window.copied = text)));
    await page.getByRole('button', { name: 'Copy URL' }).click();
    await until(page, 'a URL is copied', () => window.copied);
    const copied = await send('GET', await page.evaluate(() => window.copied));
    assert.equal(copied.text, '{"bus-3":{"line":"7","speed":70},"10":{"line":"U4","speed":65}}');
    await page.getByRole('tab', { name: 'Copy as' }).click();
    const snippet = async (id) => {
      await page.getByLabel('Language and tool').selectOption(id);
      return page.locator('.copy-as pre').innerText();
    };
    const js = await snippet('js');
    assert.ok(js.includes('import { connect, sorted }') && js.includes('sorted(value, "-speed")') && js.includes('}, { order: "-speed", limit: 2, select: "line" });'), js);
    assert.ok((await snippet('rust')).includes('WatchOptions { order: Some("-speed".into()), limit: Some(2), select: Some("line".into()), ..'));

    // It is a link in the list of sessions, and that is a way back to it.
    await page.getByRole('link', { name: 'Sessions' }).click();
    await page.getByRole('button', { name: /^Links of session/ }).first().click();
    await page.locator('.sub-cell', { hasText: 'count' }).waitFor();
    await page.locator('.sub-cell', { hasText: 'order -speed, limit 2, select' }).getByRole('link').click();
    await rows(page, ['bus-3', 10]);
    await page.reload();
    await rows(page, ['bus-3', 10]);
    await facts('2 of 5 members');
    await page.getByRole('button', { name: 'Show all' }).click();
    await facts('5 members');
  });
}

/** Members that no URL can name (PROTOCOL P3). */
export async function unaddressed(look) {
  const state = '{"odd":{".":3,"..":{"x":4},"":5,"ok":6}}';
  await inConsole(look, '#/t/odd/..', state, async (page) => {
    const said = () => document.querySelector('.panel').innerText.includes('no address of its own');
    const ok = async (why) => {
      await hash(page, '#/t/odd/ok');
      await until(page, why, () => window.halfpingConsole.state().value === 6 && document.querySelector('.value').innerText === '6');
    };
    await until(page, 'an address that cannot be one', said);
    await ok('the pane goes on with the next');
    await hash(page, '#/t/odd/%2E');
    await until(page, 'another spelling', said);
    await ok('and goes on');
    for (const [name, path] of [['.', '/t/odd/.'], ['..', '/t/odd/..'], ['""', '/t/odd//']]) {
      await page.locator('.row-key').getByText(name, { exact: true }).click();
      await until(page, `${name} is selected`, (path) => window.halfpingConsole.state().path === path, path);
      await until(page, `${name} has no address`, said);
      assert.equal(await page.locator('.row.selected .row-key').innerText(), name);
      await page.locator('.absent a').click();
      await until(page, 'its parent has', () => window.halfpingConsole.state().value?.ok === 6);
    }
  });
}

/** A window with room for the tree or the resource, not for both. */
export async function narrow(look) {
  const long = 'n'.repeat(1_000);
  await inConsole(look, '', `{"a":1,"${long}":2}`, async (page) => {
    const { width, height } = page.viewportSize();
    await until(page, 'the tree', () => document.querySelector('.row') && window.halfpingConsole.state().status.synced);
    assert.ok(!(await page.isVisible('.panel')));
    await hash(page, '#/t/a');
    await until(page, 'an address opens its resource', () => document.querySelector('.panel').offsetWidth > 0 && window.halfpingConsole.state().value === 1);
    await page.getByRole('button', { name: 'Tree' }).click();
    await page.locator('.panel').waitFor({ state: 'hidden' });
    await hash(page, `#/t/${long}`);
    await until(page, 'and the next', () => document.querySelector('.panel').offsetWidth > 0 && window.halfpingConsole.state().value === 2);
    const head = await page.locator('.panel-head').boundingBox();
    assert.ok(head.height < height / 5 && head.width <= width, `a long name is cut: ${JSON.stringify(head)}`);
    assert.equal(await page.getAttribute('.crumbs [aria-current]', 'title'), long);
  });
}
