// The console where values and names are not the usual ones.
import assert from 'node:assert/strict';
import { send } from '../lib/http.mjs';
import { startServer } from '../lib/server.mjs';
import { inPage, until } from './page.mjs';

const BIG = '12345678901234567890';
const OTHER = '98765432109876543210';
const put = (url, body) => send('PUT', url, { body, type: 'application/json' });
const hash = (page, hash) => page.evaluate((hash) => (location.hash = hash), hash);

async function inConsole(look, hash, state, use, allowed) {
  const server = await startServer();
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

/** What would be gone for everybody is asked about, once and for one resource. */
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

/** What the server would refuse is said before it is asked. */
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

/** Where there is room for the tree or the resource. */
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
