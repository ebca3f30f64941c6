/**
 * The part of a resource that is shown: of the members for which `where` is true the first `limit` in this `order`, and what `select` names of each.
 * All as text, as it is typed. Empty text asks for all.
 */
export interface Query {
  readonly where: string;
  readonly order: string;
  readonly limit: string;
  readonly select: string;
}

export const ALL: Query = { where: '', order: '', limit: '', select: '' };

export const NAMES = Object.keys(ALL) as readonly (keyof Query)[];

export function isAll(query: Query): boolean {
  return isSame(query, ALL);
}

export function isSame(one: Query, other: Query): boolean {
  return NAMES.every((name) => one[name] === other[name]);
}

/** Each of its texts as this function has it. */
export function mapped(map: (name: keyof Query) => string | null | undefined): Query {
  return Object.fromEntries(NAMES.map((name) => [name, map(name) ?? ''])) as unknown as Query;
}

/** The options of a client that asks for it: what is not said is not there, and a number is one. */
export function optionsOf(query: Query): { [name in keyof Query]?: string | number } {
  const said = NAMES.filter((name) => query[name] !== '');
  // What is no number is left to the server, which says so.
  return Object.fromEntries(said.map((name) => [name, name === 'limit' && /^\d+$/.test(query[name]) ? Number(query[name]) : query[name]]));
}

/** The part of a URL behind the path: from `?` on, or nothing. */
export function searchOf(query: Query): string {
  const search = new URLSearchParams(NAMES.filter((name) => query[name] !== '').map((name) => [name, query[name]]));
  // A space as people know it from URLs. (A plus is `%2B` here.) Commas mean nothing there.
  return isAll(query) ? '' : `?${search.toString().replaceAll('+', '%20').replaceAll('%2C', ',')}`;
}

/** Reads how a server writes the view of a link: `limit=20&order=-speed&where=speed > 50`, the condition last and nothing encoded. */
export function readView(view = ''): Query {
  // A name in backticks may have anything in it.
  const [, before = '', where = ''] = /^((?:(?!where=)\w+(?:=(?:`[^`]*`|[^`&])*)?(?:&|$))*)(?:where=(.*))?$/s.exec(view) ?? [];
  const said = new Map(Array.from(before.matchAll(/(\w+)=((?:`[^`]*`|[^`&])*)/g), ([, name, text]) => [name!, text!]));
  return { ...mapped((name) => said.get(name)), where };
}

export function readSearch(search: string): Query {
  const given = new URLSearchParams(search);
  return mapped((name) => given.get(name));
}
