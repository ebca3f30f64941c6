/** The token of who is logged in. It is kept for this tab, and for this server, until the tab is closed. */

/** The page stands at `…/_console/`: the API is one level up, wherever that is mounted. */
export const root: string = new URL('..', location.href.replace(/[?#].*$/, '')).href;

const NAME = `halfping token ${root}`;

export function token(): string | undefined {
  return stored()?.getItem(NAME) ?? undefined;
}

/** Keeps a token, or none any more, and loads the page anew: nothing stays of what somebody else was shown. */
export function become(token: string | undefined): void {
  if (token === undefined) stored()?.removeItem(NAME);
  else sessionStorage.setItem(NAME, token);
  location.reload();
}

/** Some browsers are told to keep nothing: then nobody is logged in. */
function stored(): Storage | undefined {
  try {
    return sessionStorage;
  } catch {
    return undefined;
  }
}
