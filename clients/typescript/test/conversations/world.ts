/** The state of a played server: a tree, a revision that rises with every write, and what each link was last sent. */
import mergePatch from 'json-merge-patch';
import { applyPatch } from 'rfc6902';

type Maybe = any;

export class World {
  revision = 1;
  #root: Maybe = {};

  get rev(): string {
    return `e.${this.revision}`;
  }

  at(path: string, depth = Infinity): Maybe {
    const value = names(path).reduce((inner: Maybe, name) => (isObject(inner) ? inner[name] : undefined), this.#root);
    return cut(structuredClone(value), depth);
  }

  write(method: string, path: string, body: Maybe): void {
    this.revision++;
    const old = this.at(path);
    if (method === 'PUT') this.#set(path, body);
    else if (method === 'MERGE') this.#set(path, mergePatch.apply(old, body));
    else if (method === 'PATCH') {
      const document = { at: old };
      applyPatch(document, body.map((operation: Maybe) => ({ ...operation, path: `/at${operation.path}` })));
      this.#set(path, document.at);
    } else if (method === 'DELETE') this.#set(path, undefined);
    else if (method !== 'POST') throw new Error(`no such method: ${method}`);
  }

  #set(path: string, value: Maybe): void {
    const way = names(path);
    const last = way.pop();
    if (last === undefined) this.#root = value;
    else {
      let inner = this.#root;
      for (const name of way) inner = inner[name] = isObject(inner[name]) ? inner[name] : {};
      if (value === undefined) delete inner[last];
      else inner[last] = value;
    }
  }
}

/** A merge patch that leads from one value to another. */
export function difference(from: Maybe, to: Maybe): Maybe {
  return isObject(from) && isObject(to) ? (mergePatch.generate(from, to) ?? {}) : to;
}

const names = (path: string) => path.split('/').slice(1).filter((name) => name !== '').map(decodeURIComponent);
export const isObject = (value: Maybe): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);

function cut(value: Maybe, depth: number): Maybe {
  if (!isObject(value)) return value;
  return depth === 0 ? {} : Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, cut(inner, depth - 1)]));
}
