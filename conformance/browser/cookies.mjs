// A browser that sends cookies to whatever site any page asks, as browsers did and some still do. Profiles that are thrown away after use keep
// cookies from other sites, so this one is on disk while it is used.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

/** Opens it. Its `close` removes it. */
export async function withCookies(args = []) {
  const folder = mkdtempSync(join(tmpdir(), 'halfping-cookies-'));
  mkdirSync(join(folder, 'Default'));
  writeFileSync(join(folder, 'Default/Preferences'), JSON.stringify({ profile: { cookie_controls_mode: 0, block_third_party_cookies: false } }));
  const context = await chromium.launchPersistentContext(folder, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [...(process.getuid?.() === 0 ? ['--no-sandbox'] : []), ...args],
  });
  return {
    context,
    async close() {
      await context.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Has a server's own answer set a cookie that goes along with all requests, of pages of other sites too. (Loopback addresses count as secure.) */
export async function setCookie(context, url, name, value) {
  const page = await context.newPage();
  const headers = { 'set-cookie': `${name}=${value}; Path=/; SameSite=None; Secure; HttpOnly` };
  await page.route(`${url}/set-cookie`, (route) => route.fulfill({ contentType: 'text/html', headers, body: '<!doctype html>' }));
  await page.goto(`${url}/set-cookie`);
  await page.close();
}
