/**
 * What this page shows of who is logged in: a token, or one to look as somebody else. Both are kept for this tab, and for this server, until the tab is
 * closed.
 */

/** The page stands at `…/_console/`: the API is one level up, wherever that is mounted. */
export const root: string = new URL('..', location.href.replace(/[?#].*$/, '')).href;

const TOKEN = `halfping token ${root}`;
const CLAIMS = `halfping look ${root}`;
/** The part of its time for which the token of a look is shown again. */
const USED_FOR = 0.5;

export const token = (): string | undefined => stored()?.getItem(TOKEN) ?? undefined;
/** The claims of somebody else as whom one looks, in JSON. */
export const claims = (): string | undefined => stored()?.getItem(CLAIMS) ?? undefined;

/** Is somebody else from here on, or nobody, and loads the page anew: nothing stays of what another one was shown. */
export function become(token: string | undefined, claims?: string): void {
  keep(TOKEN, token);
  keep(CLAIMS, claims);
  location.reload();
}

function keep(name: string, text: string | undefined): void {
  if (text === undefined) stored()?.removeItem(name);
  else sessionStorage.setItem(name, text);
}

/** Some browsers are told to keep nothing: then nobody is logged in. */
function stored(): Storage | undefined {
  try {
    return sessionStorage;
  } catch {
    return undefined;
  }
}

interface Look {
  readonly token: string;
  readonly until: number;
}
let look: Look | undefined;

/** What requests show; `anew`: not what was shown before, if that is made here. */
export async function credential(anew = false): Promise<string | undefined> {
  const [mine, as] = [token(), claims()];
  if (mine === undefined || as === undefined) return mine;
  if (anew || !look || look.until < Date.now()) look = await begin(mine, as);
  return look.token;
}

/** Begins a look as somebody with these claims (PROTOCOL I33a). */
export async function begin(mine: string, as: string): Promise<Look> {
  const headers = { authorization: `Bearer ${mine}`, 'content-type': 'application/json' };
  const response = await fetch(`${root}_auth/look`, { method: 'POST', headers, body: as, cache: 'no-store' });
  const answer = (await response.json()) as { token: string; expires_ms: number; detail?: string; hint?: string };
  if (!response.ok) throw new Error([answer.detail, answer.hint].filter(Boolean).join('. '));
  return { token: answer.token, until: Date.now() + USED_FOR * answer.expires_ms };
}
