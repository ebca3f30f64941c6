import { signal } from '@preact/signals';
import { ancestors, hasUrl, nameOf, parent, ROOT, type Path } from '../lib/paths';
import { layOut, Rows, top } from '../lib/rows';
import { isObject } from '../lib/json';
import { perFrame } from '../state/frame';
import type { Api } from '../state/connection';
import { TreeNode } from './node';

/**
 * The open nodes, and a link for each of them that is in the tree: not for one beneath a node that is closed, nor while the tree is not
 * shown. That a node was open is remembered all the same.
 */
export class Tree {
  readonly rows = signal<Rows>(new Rows([], 0));
  /** Goes up when values changed, the rows being the same. */
  readonly beat = signal(0);
  readonly filter = signal('');
  readonly expanded = new Set<Path>([ROOT]);
  #root: TreeNode | undefined;
  #shown = false;
  #stale = false;
  readonly #draw = perFrame(() => {
    if (this.#stale) this.#layOut();
    this.beat.value++;
  });

  constructor(private readonly api: Api) {}

  show(shown: boolean): void {
    if (this.#shown === shown) return;
    this.#shown = shown;
    this.#layOut();
  }

  setFilter(text: string): void {
    this.filter.value = text;
    this.#layOut();
  }

  isExpanded(path: Path): boolean {
    return this.expanded.has(path);
  }

  toggle(path: Path, open = !this.expanded.has(path)): void {
    if (open) this.expanded.add(path);
    else this.expanded.delete(path);
    this.#layOut();
  }

  /** Opens everything above a path, for a deep link. */
  reveal(path: Path): void {
    for (const above of ancestors(path)) this.expanded.add(above);
    this.#layOut();
  }

  collapseAll(): void {
    this.expanded.clear();
    this.expanded.add(ROOT);
    this.#layOut();
  }

  /** The open node at a path, if it has a link. */
  node(path: Path): TreeNode | undefined {
    let found: TreeNode | undefined;
    this.#each((node) => {
      if (node.path === path) found = node;
    });
    return found;
  }

  get links(): number {
    let links = 0;
    this.#each(() => links++);
    return links;
  }

  #each(visit: (node: TreeNode) => void): void {
    const walk = (node: TreeNode) => {
      visit(node);
      for (const child of node.open.values()) walk(child);
    };
    if (this.#root) walk(this.#root);
  }

  #layOut(): void {
    this.#stale = false;
    this.#reconcile();
    this.rows.value = layOut(top(this.#root), this.filter.peek());
  }

  /** Opens and closes links until they are those of the open nodes. */
  #reconcile(): void {
    if (!this.#shown || !this.expanded.has(ROOT)) {
      this.#root?.close();
      this.#root = undefined;
      return;
    }
    this.#root ??= this.#open(ROOT, 1);
    const wanted = this.#expandedByParent();
    const walk = (node: TreeNode) => {
      for (const [key, child] of node.open) {
        if (this.expanded.has(child.path) && isObject(node.value?.[key])) continue;
        child.close();
        node.open.delete(key);
      }
      for (const path of wanted.get(node.path) ?? []) {
        const key = nameOf(path);
        if (!node.open.has(key) && hasUrl(key) && node.value && Object.hasOwn(node.value, key) && isObject(node.value[key])) {
          node.open.set(key, this.#open(path, node.level + 1));
        }
      }
      for (const child of node.open.values()) walk(child);
    };
    walk(this.#root);
  }

  #expandedByParent(): Map<Path, Path[]> {
    const found = new Map<Path, Path[]>();
    for (const path of this.expanded) {
      if (path === ROOT) continue;
      const above = parent(path);
      const siblings = found.get(above);
      if (siblings) siblings.push(path);
      else found.set(above, [path]);
    }
    return found;
  }

  #open(path: Path, level: number): TreeNode {
    return new TreeNode(this.api, path, level, (members) => {
      this.#stale ||= members;
      this.#draw();
    });
  }
}
