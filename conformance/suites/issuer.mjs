// An issuer of npm, oauth2-mock-server, whose keys are fetched from its URL: they are rotated while the server runs, and the issuer goes away
// (PROTOCOL I2). A page waits for nothing of that but for a token with a key that nobody has seen.
import { createServer } from 'node:http';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OAuth2Server } from 'oauth2-mock-server';
import { problemName, send } from '../lib/http.mjs';
import { startServer } from '../lib/server.mjs';

/** The server may have asked just before, and waits until it asks again: a minute, and as long again where it was in vain. */
const KEY_MS_MAX = 150_000;
const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA'];

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** An issuer with a new key for each algorithm, on this port. */
async function issuerAt(port, algorithms) {
  const server = new OAuth2Server();
  const kids = {};
  for (const alg of algorithms) kids[alg] = (await server.issuer.keys.generate(alg)).kid;
  await server.start(port, '127.0.0.1');
  server.issuer.url = urlOf(port);
  const token = (alg, claims = {}) =>
    server.issuer.buildToken({
      kid: kids[alg],
      expiresIn: 600,
      scopesOrTransform: (_, payload) => Object.assign(payload, { sub: `kim-${alg}`, aud: 'halfping' }, claims),
    });
  const add = async (alg) => (kids[alg] = (await server.issuer.keys.generate(alg)).kid);
  return { token, add, stop: () => server.stop() };
}

const urlOf = (port) => `http://127.0.0.1:${port}`;

export async function run() {
  const folder = mkdtempSync(join(tmpdir(), 'halfping-issuer-'));
  const port = await freePort();
  const config = `
[[auth.issuer]]
issuer = "${urlOf(port)}"
audience = ["halfping"]
jwks = "${urlOf(port)}/jwks"
algorithms = ${JSON.stringify(ALGORITHMS)}
`;
  writeFileSync(join(folder, 'halfping.toml'), config);
  const failures = [];
  let passed = 0;
  const check = (what, isSo, found) => (isSo ? passed++ : failures.push(`${what}: ${found}`));
  let issuer = await issuerAt(port, ['RS256', 'ES256']);
  let server;
  try {
    server = await startServer('--config', join(folder, 'halfping.toml'));
    const ask = (token) => send('GET', `${server.url}/`, { token });
    const is = async (what, token, sub) => {
      const { status, subject, text } = await ask(token);
      check(what, status < 400 || (status === 404 && subject === sub), `is ${status} as ${subject}, not as ${sub}: ${text}`);
    };
    const isRefused = async (what, token) => {
      const answer = await ask(token);
      check(what, answer.status === 401 && problemName(answer) === 'unauthorized', `is ${answer.status}: ${answer.text}`);
    };
    /** Waits until a token is taken, or is not any more. */
    const becomes = async (what, token, isGood) => {
      let answer;
      for (const until = Date.now() + KEY_MS_MAX; Date.now() < until; ) {
        answer = await ask(token);
        if ((answer.status !== 401) === isGood) return passed++;
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
      failures.push(`${what}: is ${answer.status} after ${KEY_MS_MAX / 1000} s: ${answer.text}`);
    };

    const first = { RS256: await issuer.token('RS256'), ES256: await issuer.token('ES256') };
    for (const [alg, token] of Object.entries(first)) await becomes(`the first key, ${alg}`, token, true);
    await is('who it is', first.RS256, 'kim-RS256');
    await isRefused('another audience', await issuer.token('RS256', { aud: 'elsewhere' }));
    await isRefused('another issuer', await issuer.token('RS256', { iss: 'http://127.0.0.1:9' }));

    // A key that comes while it runs; those that are known are not held up meanwhile.
    for (const alg of ['PS256', 'EdDSA']) await issuer.add(alg);
    const second = { PS256: await issuer.token('PS256'), EdDSA: await issuer.token('EdDSA') };
    for (const [alg, token] of Object.entries(second)) await becomes(`a key that was added, ${alg}`, token, true);
    await is('the first key beside it', await issuer.token('ES256'), 'kim-ES256');

    // The issuer is down: whoever has a token of its keys gets in.
    const fresh = await issuer.token('RS256', { sub: 'lee' });
    await issuer.stop();
    await is('a known token while the issuer is down', first.RS256, 'kim-RS256');
    await is('a new token of a known key while the issuer is down', fresh, 'lee');

    // It comes back with other keys: what was signed with the old ones is worth nothing once that is known.
    const stranger = await issuerAt(0, ['RS256']);
    await isRefused('a key of somebody else', await stranger.token('RS256', { iss: urlOf(port) }));
    await stranger.stop();
    issuer = await issuerAt(port, ['RS256', 'ES256']);
    await becomes('the key after a rotation', await issuer.token('ES256'), true);
    await becomes('the key before the rotation', first.RS256, false);
    await isRefused('another token of the key before the rotation', second.EdDSA);
    const complaint = server.complaint();
    return { passed, failures: complaint ? [...failures, complaint] : failures, notes: [] };
  } finally {
    await server?.stop();
    await issuer.stop().catch(() => {}); // it may be down
    rmSync(folder, { recursive: true });
  }
}
