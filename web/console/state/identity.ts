/** Who is logged in, as the server says, and how somebody else logs in. */

import { computed, signal } from '@preact/signals';
import { HalfpingError } from 'halfping';
import { api, denied, status } from './connection';
import { request } from './request';
import { become, begin, root, token } from './token';

/** True where the server tells its clients apart (PROTOCOL I9). */
export const tellsApart = signal(token() !== undefined);
void fetch(`${root}_health`, { cache: 'no-store' })
  .then(({ headers }) => (tellsApart.value ||= /\bauthorization\b/i.test(headers.get('vary') ?? '')))
  .catch(() => {}); // the connection says that there is none

export interface Who {
  /** The name, if the token has one. */
  sub: string | undefined;
  /** The end of the token: milliseconds since 1970. */
  until: number | undefined;
}

export const who = signal<Who | undefined>(undefined);
let told: unknown;
api.onStatus(({ identity }) => {
  if (identity === told) return;
  told = identity;
  who.value = identity ? { sub: identity.sub, until: identity.expires_ms === undefined ? undefined : Date.now() + identity.expires_ms } : undefined;
});

/** The reason to log in, or to do so again; undefined if there is none. */
export const reason = computed<string | undefined>(() => {
  const { error } = status.value;
  if (error?.status === 401) return `The server does not take the token: ${error.detail}. Log in again.`;
  if (denied.value?.status !== 401) return undefined;
  return token() === undefined ? 'This server shows nothing to who has not logged in.' : 'The server does not take the token any more. Log in again.';
});

/** Logs in, if the server takes the token. Rejects with its reason if it does not. */
export async function logIn(token: string): Promise<void> {
  try {
    await request('GET', '/?depth=0', { authorization: `Bearer ${token}` });
  } catch (error) {
    // Who may not see everything is somebody all the same.
    if (!(error instanceof HalfpingError && [403, 404].includes(error.status))) throw error;
  }
  become(token);
}

export const logOut = (): void => become(undefined);

/** Looks as somebody with these claims, if the server lets one. Rejects with its reason if it does not. */
export async function lookAs(claims: string): Promise<void> {
  const mine = token();
  if (mine === undefined) return;
  await begin(mine, claims);
  become(mine, claims);
}

export const lookAsOneself = (): void => become(token());
