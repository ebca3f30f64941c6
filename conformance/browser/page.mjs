// Helpers that the tests of pages share: the browser, a page that is watched for errors, and the demo.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { binary, startProgram } from '../lib/server.mjs';

const MS_MAX = 30_000;
export const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
});

/** Opens a page and lets `use` look at it; fails when anything was thrown or logged as an error there, but for what `allowed` fits. */
export async function inPage(url, look, use, allowed = /^$/) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: 'light', ...look });
  page.setDefaultTimeout(MS_MAX);
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && !allowed.test(message.text()) && wrong.push(message.text()));
  page.on('requestfailed', (request) => new URL(request.url()).host !== new URL(url).host && wrong.push(`asked another host: ${request.url()}`));
  try {
    await page.goto(url);
    await use(page);
    assert.deepEqual(wrong, [], 'errors in the page');
  } catch (error) {
    error.message += `\n  errors in the page: ${wrong.join('; ') || 'none'}\n  it shows: ${(await page.innerText('body').catch(() => '')).slice(0, 500)}`;
    throw error;
  } finally {
    if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, `${look.name}.png`) });
    await page.close();
  }
}

/** Waits until the page's own account of itself is as wanted. */
export const until = (page, what, wanted, argument) => page.waitForFunction(wanted, argument).catch((error) => {
  throw new Error(`${what}: ${error.message}`);
});

export async function withDemo(words, use) {
  const server = await startProgram(binary, ['demo', '--memory', '--listen', '127.0.0.1:0', ...words]);
  try {
    await use(server);
    assert.equal(server.complaint(), undefined);
  } finally {
    await server.stop();
  }
}
