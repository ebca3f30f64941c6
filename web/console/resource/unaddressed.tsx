import { useEffect } from 'preact/hooks';
import { ancestors, hasAddress, type Path } from '../lib/paths';
import { hrefOf } from '../state/route';
import { Crumbs } from './crumbs';
import { current } from './current';

/** In place of a resource whose name no URL can have (PROTOCOL P3). */
export function Unaddressed({ path, onBack }: { path: Path; onBack: () => void }) {
  const above = ancestors(path).filter(hasAddress).at(-1)!;
  useEffect(() => {
    current.value = undefined;
  }, []);
  return (
    <section class="panel" aria-label="A member without an address">
      <div class="panel-head">
        <button type="button" class="back" onClick={onBack}>
          ← Tree
        </button>
        <Crumbs path={path} />
      </div>
      <div class="absent">
        <h2>This member has no address of its own</h2>
        <p>
          In a URL, names that are empty, <code>.</code> or <code>..</code>, or hold the character U+0000 would lead elsewhere, so the server refuses them. Such a member can be kept, and
          is seen in the tree.
        </p>
        <p>
          It is read and edited through its parent: <a href={hrefOf(above)}>{above}</a>
        </p>
      </div>
    </section>
  );
}
