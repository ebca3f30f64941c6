// Strangers who may only read: through nginx-read-only.conf to a server that takes writes, and through each proxy to one that takes none (PROTOCOL W14).
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { startServer } from '../lib/server.mjs';
import { ask, askStream, openSession } from './request.mjs';
import { behind, MOUNTS, READ_ONLY } from './start.mjs';

const cases = JSON.parse(readFileSync(new URL('read-only.json', import.meta.url)));
const isSynced = (text) => text.includes('synced');

export const readOnly = {
  [`only reading through ${READ_ONLY}`]: () =>
    behind(READ_ONLY, ['--console', 'off'], async ({ proxy, direct, must }) => {
      await write(direct);
      await attack({ proxy, direct, must, mount: '', restore: () => write(direct) });
      for (const target of cases.closed) {
        const { status } = await ask(proxy, 'GET', target);
        must(status === 403, `GET ${target}`, 403, status);
      }
      for (const target of ['/', '/orders?watch', '/?watch', '/orders/x%2F..%2F..%2F_streams?watch']) {
        const session = await openSession(proxy, target);
        session.cut();
        must(session.status !== 101, `WebSocket ${target}`, 'no session', session.status);
      }
    }),
  ...Object.fromEntries(
    Object.entries(MOUNTS).map(([file, mount]) => [
      `serve --read-only behind ${file}`,
      async () => {
        const folder = mkdtempSync(join(tmpdir(), 'halfping-read-only-'));
        try {
          const server = await startServer('--data', folder);
          await write({ port: server.port, host: 'localhost' });
          await server.stop();
          return await behind(file, ['--data', folder, '--console', 'off', '--read-only'], async ({ proxy, direct, must }) => {
            await attack({ proxy, direct, must, mount, restore: () => {} });
            await inSession({ proxy, direct, must, mount });
          });
        } finally {
          rmSync(folder, { recursive: true, force: true });
        }
      },
    ]),
  ),
};

/** Writes the tree that has to stay. */
async function write(direct) {
  const { status } = await ask(direct, 'PUT', '/', { body: JSON.stringify(cases.tree) });
  if (status >= 300) throw new Error(`the tree could not be written: ${status}`);
}

async function unchanged(direct, must, what) {
  const tree = JSON.parse((await ask(direct, 'GET', '/')).text);
  const is = isDeepStrictEqual(tree, cases.tree);
  must(is, what, 'an unchanged tree', JSON.stringify(tree));
  return is;
}

/** Every method at every path writes nothing; what reads is answered. */
async function attack({ proxy, direct, must, mount, restore }) {
  const here = (target) => (target.startsWith('/') ? mount + target : target.replace('HOST', proxy.host + mount));
  for (const target of cases.writes.paths.map(here)) {
    for (const method of cases.writes.methods) {
      const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
      const headers = { 'content-type': type, 'x-http-method-override': 'PUT' };
      const answer = await ask(proxy, method, target, { body: '{"status":"FORGED"}', headers, until: () => true });
      // What is `/_streams` in other words may be answered as `/_streams` is.
      const isRead = method === 'POST' && answer.headers['content-type'] === 'text/event-stream';
      must(answer.status >= 400 || isRead, `${method} ${target}`, 'a refusal', answer.status);
      if (!(await unchanged(direct, must, `${method} ${target}`))) await restore();
    }
  }
  for (const { method, target, body, status, says = '' } of cases.reads) {
    const options = { until: isSynced };
    const asked = method === 'POST' ? askStream(proxy, mount + target, body, options) : ask(proxy, method, mount + target, options);
    const answer = await asked;
    must(answer.status === status && answer.text.includes(says), `${method} ${mount}${target}`, `${status} ${says}`, `${answer.status} ${answer.text}`);
  }
}

/** A session reads, and none of its commands writes. */
async function inSession({ proxy, direct, must, mount }) {
  const session = await openSession(proxy, `${mount}/`);
  const answerTo = (ref) => session.next((message) => (message.ref === ref ? message : undefined));
  must(session.status === 101, 'WebSocket', 101, session.status);
  if (session.status !== 101) return;
  session.say({ watch: 0, path: '/orders' });
  const seen = await session.next(({ set }) => set && JSON.stringify(set));
  must(seen.includes('"open"'), 'watch in a session', 'the state', seen);
  for (const [ref, command] of cases.commands.entries()) {
    session.say({ ...command, ref });
    const answer = await answerTo(ref);
    must(answer.status >= 400, JSON.stringify(command), 'a refusal', JSON.stringify(answer));
    await unchanged(direct, must, JSON.stringify(command));
  }
  const ref = cases.commands.length;
  session.say({ get: '/orders/x', ref });
  const got = await answerTo(ref);
  must(got.status === 200, 'get in a session', 200, JSON.stringify(got));
  session.cut();
}
