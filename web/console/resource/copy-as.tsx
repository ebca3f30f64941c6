import { useSignal } from '@preact/signals';
import { mayBeCut } from '../lib/json';
import { isAll, type Query } from '../lib/query';
import { hasInexact } from '../lib/shown';
import { snippets } from '../snippets';
import { root } from '../state/connection';
import { CopyButton } from '../ui/copy-button';
import type { Resource } from './resource';

/** The choice outlives the resource: whoever wants Python wants it everywhere. */
const KEPT = 'halfping-console-snippet';

function kept(): string {
  try {
    return localStorage.getItem(KEPT) ?? '';
  } catch {
    // Storage may be switched off.
    return '';
  }
}

interface Props {
  resource: Resource;
  query: Query;
  depth: number | undefined;
}

export function CopyAs({ resource, query, depth }: Props) {
  resource.beat.value;
  const chosen = useSignal(kept());
  const snippet = snippets.find(({ id }) => id === chosen.value) ?? snippets[0]!;
  // A value that is cut would, put back, remove what is missing from it; one that is not exact would change digits.
  const value = !isAll(query) || mayBeCut(resource.value, depth) || hasInexact(resource.value) ? undefined : resource.value;
  const code = snippet.code({ root, path: resource.path, query, value });
  const choose = (id: string) => {
    chosen.value = id;
    try {
      localStorage.setItem(KEPT, id);
    } catch {
      // Then it is forgotten with the page.
    }
  };
  return (
    <div class="copy-as">
      <div class="copy-bar">
        <select aria-label="Language and tool" value={snippet.id} onChange={(event) => choose(event.currentTarget.value)}>
          {snippets.map(({ id, name }) => (
            <option key={id} value={id}>
              {name}
            </option>
          ))}
        </select>
        <CopyButton text={() => code} />
      </div>
      <pre class="code" tabIndex={0} aria-label={snippet.name}>
        {code}
      </pre>
    </div>
  );
}
