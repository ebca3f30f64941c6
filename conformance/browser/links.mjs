// Measures a page with many links: 10,000 of them on one WebSocket, 1,000 updates a second. A measurement, not a test: it prints what it saw.
//
//   node conformance/browser/links.mjs [LINKS] [UPDATES_PER_S]       with the client built (npm run build in clients/typescript)
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { send } from '../lib/http.mjs';
import { startServer } from '../lib/server.mjs';

const links = Number(process.argv[2] ?? 10_000);
const updates = Number(process.argv[3] ?? 1_000);
const TICK_MS = 50;
const SECONDS = 10;

const client = readFileSync(fileURLToPath(new URL('../../clients/typescript/dist/index.js', import.meta.url)), 'utf8');
const server = await startServer();
const value = (n, round) => ({ id: n, status: 'moving', position: { lat: 48 + n / 1e5, lon: 9 + round / 1e4 }, speed_mps: round % 20 });
// In parts: one commit writes no more than some thousand members.
for (let first = 0; first < links; first += 1000) {
  const part = Array.from({ length: Math.min(1000, links - first) }, (_, n) => [`v${first + n}`, value(first + n, 0)]);
  await send('PATCH', `${server.url}/vehicles`, { body: JSON.stringify(Object.fromEntries(part)), type: 'application/merge-patch+json' });
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--enable-precise-memory-info', '--js-flags=--expose-gc', ...(process.getuid?.() === 0 ? ['--no-sandbox'] : [])],
});
const page = await browser.newPage();
await page.route('**/halfping.js', (route) => route.fulfill({ contentType: 'text/javascript', body: client }));
await page.goto(`${server.url}/_health`);

const opened = await page.evaluate(async (links) => {
  const { connect } = await import('/halfping.js');
  const heap = () => (gc(), performance.memory.usedJSHeapSize);
  const before = heap();
  const started = performance.now();
  const api = connect('/');
  const seen = { updates: 0, delay: 0, worst: 0, longest: 0, frames: 0 };
  window.seen = seen;
  for (let n = 0; n < links; n++) {
    api.on(`/vehicles/v${n}`, (_, change) => {
      if (!change.previous) return;
      seen.updates++;
      const delay = Date.now() - change.t;
      seen.delay += delay;
      seen.worst = Math.max(seen.worst, delay);
    });
  }
  await new Promise((resolve) => api.onStatus(({ synced }) => synced && resolve()));
  const ms = performance.now() - started;
  const bytes = heap() - before;
  let last = performance.now();
  const frame = (now) => {
    seen.frames++;
    seen.longest = Math.max(seen.longest, now - last);
    last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  window.api = api;
  return { ms, bytes };
}, links);

const per = Math.round((updates * TICK_MS) / 1000);
await page.evaluate(() => Object.assign(window.seen, { updates: 0, delay: 0, worst: 0, longest: 0, frames: 0 }));
const started = Date.now();
let written = 0;
for (let tick = 0; Date.now() - started < SECONDS * 1000; tick++) {
  const some = {};
  for (let k = 0; k < per; k++) {
    const n = (tick * per + k) % links;
    some[`v${n}`] = value(n, tick + 1);
  }
  await send('PATCH', `${server.url}/vehicles`, { body: JSON.stringify(some), type: 'application/merge-patch+json' });
  written += per;
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, started + (tick + 1) * TICK_MS - Date.now())));
}
const seconds = (Date.now() - started) / 1000;
await page.waitForFunction(() => window.api.status.synced);
const seen = await page.evaluate(() => window.seen);
console.log(`${links} links: in step after ${opened.ms.toFixed(0)} ms, ${(opened.bytes / links / 1024).toFixed(2)} KiB of heap each, with their values`);
console.log(
  `${(written / seconds).toFixed(0)} updates/s for ${seconds.toFixed(0)} s: ${seen.updates} of ${written} told, ${(seen.frames / seconds).toFixed(0)} frames/s, the longest ${seen.longest.toFixed(0)} ms; ` +
    `from commit to handler ${(seen.delay / seen.updates).toFixed(1)} ms, at most ${seen.worst}`,
);
await browser.close();
await server.stop();
