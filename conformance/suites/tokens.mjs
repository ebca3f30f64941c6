// Tokens that npm jose and PyPI PyJWT make are believed, and forgeries are not (PROTOCOL I2, I3).
import { execFileSync } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { base64url, exportJWK, exportPKCS8, exportSPKI, generateKeyPair, SignJWT } from 'jose';
import { problemName, send } from '../lib/http.mjs';
import { python } from '../lib/python.mjs';
import { startServer } from '../lib/server.mjs';

const PUBLIC = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'EdDSA'];
const SECRET = ['HS256', 'HS384', 'HS512'];
const BY_KEYS = 'https://keys.example.org/';
const BY_SECRET = 'https://secret.example.org/';

/** The server with issuers of its own, whatever the other suites use. */
export async function run() {
  const folder = mkdtempSync(join(tmpdir(), 'halfping-tokens-'));
  try {
    const { pairs, secret } = await settings(folder);
    const server = await startServer('--config', join(folder, 'halfping.toml'));
    try {
      const good = [...(await byJose(pairs, secret)), ...(await byPyJwt(pairs, secret))];
      const { found, passed } = await judged(server.url, good, await forgeries(pairs));
      const complaint = server.complaint();
      return { passed, failures: complaint ? [...found, complaint] : found, notes: [] };
    } finally {
      await server.stop();
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Writes the keys and the configuration. */
async function settings(folder) {
  const pairs = {};
  for (const alg of PUBLIC) pairs[alg] = await generateKeyPair(alg, { extractable: true });
  const secret = randomBytes(64).toString('hex');
  const keys = await Promise.all(PUBLIC.map(async (alg) => ({ ...(await exportJWK(pairs[alg].publicKey)), alg, kid: alg, use: 'sig' })));
  writeFileSync(join(folder, 'jwks.json'), JSON.stringify({ keys }));
  writeFileSync(join(folder, 'secret.key'), secret, { mode: 0o600 });
  const issuer = (name, source, algorithms) => `
[[auth.issuer]]
issuer = "${name}"
audience = ["halfping"]
${source}
algorithms = ${JSON.stringify(algorithms)}
`;
  const file = (name) => JSON.stringify(join(folder, name));
  writeFileSync(
    join(folder, 'halfping.toml'),
    issuer(BY_KEYS, `file = ${file('jwks.json')}`, PUBLIC) + issuer(BY_SECRET, `secret_file = ${file('secret.key')}`, SECRET),
  );
  return { pairs, secret };
}

const inSeconds = (seconds) => Math.floor(Date.now() / 1000) + seconds;
const claims = (iss, sub) => ({ iss, sub, aud: 'halfping', exp: inSeconds(600) });

/** Cases are a name, a token, and who it is of, or for a forgery the problem that refuses it. */
async function byJose(pairs, secret) {
  const cases = [];
  const key = new TextEncoder().encode(secret);
  for (const alg of [...PUBLIC, ...SECRET]) {
    const isPublic = alg in pairs;
    const head = isPublic ? { alg, kid: alg } : { alg };
    const signed = new SignJWT(claims(isPublic ? BY_KEYS : BY_SECRET, `jose-${alg}`)).setProtectedHeader(head);
    cases.push([`jose ${alg}`, await signed.sign(isPublic ? pairs[alg].privateKey : key), `jose-${alg}`]);
  }
  return cases;
}

async function byPyJwt(pairs, secret) {
  const wanted = [];
  for (const alg of PUBLIC) wanted.push([alg, alg, await exportPKCS8(pairs[alg].privateKey), claims(BY_KEYS, `pyjwt-${alg}`)]);
  for (const alg of SECRET) wanted.push([alg, null, secret, claims(BY_SECRET, `pyjwt-${alg}`)]);
  const [program, env] = python();
  const script = fileURLToPath(new URL('tokens.py', import.meta.url));
  const made = execFileSync(program, [script], { input: JSON.stringify(wanted), env: { ...process.env, ...env } });
  return JSON.parse(made).map((token, index) => [`PyJWT ${wanted[index][0]}`, token, `pyjwt-${wanted[index][0]}`]);
}

async function forgeries(pairs) {
  const mine = claims(BY_KEYS, 'forged');
  const part = (value) => base64url.encode(JSON.stringify(value));
  const sign = (given, head = {}, key = pairs.ES256.privateKey) =>
    new SignJWT({ ...mine, ...given }).setProtectedHeader({ alg: 'ES256', kid: 'ES256', ...head }).sign(key);
  const spki = await exportSPKI(pairs.RS256.publicKey);
  const confused = (iss) => {
    const text = `${part({ alg: 'HS256', kid: 'RS256' })}.${part({ ...mine, iss })}`;
    return `${text}.${createHmac('sha256', spki).update(text).digest('base64url')}`;
  };
  const stranger = await generateKeyPair('ES256', { extractable: true });
  const jwk = await exportJWK(stranger.publicKey);
  const [head, , signature] = (await sign({})).split('.');
  return [
    ['alg none', `${part({ alg: 'none' })}.${part(mine)}.`],
    ['alg none in place of the key', `${part({ alg: 'none', kid: 'ES256' })}.${part(mine)}.${signature}`],
    ['HS256 with the public key', confused(BY_KEYS)],
    ['HS256 with the public key, of the issuer with a secret', confused(BY_SECRET)],
    ['a changed payload', `${head}.${part({ ...mine, sub: 'root' })}.${signature}`],
    ['another audience', await sign({ aud: 'elsewhere' })],
    ['another issuer', await sign({ iss: 'https://elsewhere.example.org/' })],
    ['the keys of one issuer in the name of the other', await sign({ iss: BY_SECRET })],
    ['expired', await sign({ exp: inSeconds(-60) }), 'token-expired'],
    ['the name of another key', await sign({}, { kid: 'ES384' })],
    ['the name of no key', await sign({}, { kid: 'nobody' })],
    ['the key of a stranger', await sign({}, {}, stranger.privateKey)],
    ['a key in the header', await sign({}, { jwk }, stranger.privateKey)],
    ['the URL of a key in the header', await sign({}, { jku: 'http://127.0.0.1:9/' }, stranger.privateKey)],
  ].map(([name, token, problem = 'unauthorized']) => [name, token, problem]);
}

/** Shows each, and says what came of it. */
async function judged(url, good, forged) {
  const found = [];
  for (const [name, token, sub] of good) {
    const { status, subject, text } = await send('GET', `${url}/`, { token });
    if (status === 401 || subject !== sub) found.push(`${name}: is ${status} as ${subject}, not as ${sub}: ${text}`);
  }
  for (const [name, token, problem] of forged) {
    const answer = await send('GET', `${url}/`, { token });
    if (answer.status !== 401 || problemName(answer) !== problem) {
      found.push(`${name}: is ${answer.status} ${answer.text}, not 401 ${problem}`);
    }
  }
  return { found, passed: good.length + forged.length - found.length };
}
