/** Tokens that end, against the real binary, over both ways. */
import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
// @ts-expect-error: it has no types
import { startServer } from '../../../conformance/lib/server.mjs';
import { connect } from '../src/index.js';

const SECRET = 'a secret of 32 characters or more';
const directory = mkdtempSync(join(tmpdir(), 'halfping-identity-'));
let server: { url: string; stop(): Promise<void>; complaint(): string | undefined };

const CONFIG = `
[auth]
[[auth.issuer]]
issuer = "https://id.test/"
audience = ["halfping"]
secret_file = "hs256.key"
algorithms = ["HS256"]
claims = ["tenant"]
[[rule]]
allow = ["read", "write"]
path = "/tenants/{tenant}"
when = "tenant == claims.tenant"
[[rule]]
allow = ["read"]
path = "/public"
`;

beforeAll(async () => {
  writeFileSync(join(directory, 'hs256.key'), SECRET);
  writeFileSync(join(directory, 'halfping.toml'), CONFIG);
  server = await startServer('--config', join(directory, 'halfping.toml'));
});
afterAll(async () => {
  expect(server.complaint()).toBeUndefined();
  await server.stop();
  rmSync(directory, { recursive: true });
});

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
function tokenOf(tenant: string, seconds: number): string {
  const exp = Math.floor(Date.now() / 1000) + seconds;
  const signed = `${part({ alg: 'HS256' })}.${part({ iss: 'https://id.test/', aud: 'halfping', sub: 'kim', exp, tenant })}`;
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
}

describe.each(['websocket', 'events'] as const)('over %s', (transport) => {
  test('a page goes on while its tokens end, one after the other', async () => {
    const errors: unknown[] = [];
    const values: any[] = [];
    const token = vi.fn(() => tokenOf(transport, 3));
    const api = connect(server.url, { WebSocket, transport, token, onError: (error) => errors.push(error) });
    api.on(`/tenants/${transport}`, (value) => values.push(value));
    api.on('/public', () => {});
    const started = Date.now();
    for (let n = 0; Date.now() - started < 7_000; n++) {
      await api.put(`/tenants/${transport}`, n);
      await vi.waitFor(() => expect(values.at(-1)).toBe(n), 5_000);
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    expect(errors).toEqual([]);
    expect(token.mock.calls.length).toBeGreaterThan(2);
    api.close();
  }, 20_000);

  test('a token with other rights ends what these do not allow, with an error', async () => {
    let tenant = 'a';
    const errors: any[] = [];
    const api = connect(server.url, { WebSocket, transport, token: () => tokenOf(tenant, 3) });
    const mine = api.live('/tenants/a', { onError: (error) => errors.push(error) });
    await mine.ready;
    tenant = 'b';
    await vi.waitFor(() => expect(errors).toMatchObject([{ type: 'forbidden', status: 403 }]), 10_000);
    api.close();
  }, 20_000);
});
