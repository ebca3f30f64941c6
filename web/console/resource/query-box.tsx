import { useSignal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { isObject } from '../lib/json';
import { ALL, isAll, mapped, searchOf, type Query } from '../lib/query';
import { root } from '../state/connection';
import { CopyButton } from '../ui/copy-button';
import { MistakeLine } from '../ui/mistake-line';
import { mistakeIn } from './query';
import type { Resource } from './resource';

interface Field {
  name: keyof Query;
  does: string;
  example: string;
}

const FIELDS: readonly Field[] = [
  { name: 'where', does: 'Shows the members for which this is true (a condition in CEL)', example: 'speed > 50 && line == "U4"' },
  { name: 'order', does: 'Shows the members in this order, - for the largest first; with limit, the first of them', example: '-speed,driver.name' },
  { name: 'limit', does: 'Shows only so many members: the first in order, or by name', example: '20' },
  { name: 'select', does: 'Shows these members of each member; with slashes (/a,/b), of the resource itself', example: 'speed,driver(name)' },
];

const MISTAKE = 'query-mistake';

interface Props {
  resource: Resource;
  query: Query;
  onAsk: (query: Query) => void;
}

/** Asks for a part of an object: the same `where`, `order`, `limit` and `select` that any reader can ask for. Enter applies them. */
export function QueryBox({ resource, query, onAsk }: Props) {
  resource.beat.value;
  const texts = useSignal(query);
  const form = useRef<HTMLFormElement>(null);
  // The address can change by itself: by a link, or on the way back. An effect after painting would come when somebody may have typed on.
  useLayoutEffect(() => {
    texts.value = query;
  }, Object.values(query));

  if (isAll(query) && !isObject(resource.value)) return null;
  const mistake = mistakeIn(query, resource.problem.value);
  const absent = resource.absent.value;
  const input = (name: keyof Query) => form.current?.querySelector<HTMLInputElement>(`[name=${name}]`) ?? null;
  return (
    <>
      <form
        ref={form}
        class="query"
        aria-label="Part of the resource"
        onSubmit={(event) => {
          event.preventDefault();
          onAsk(mapped((name) => texts.value[name].trim()));
        }}
      >
        {FIELDS.map(({ name, does, example }) => (
          <label key={name} class={name} title={does}>
            {name}
            <input
              type="search"
              class="code"
              name={name}
              placeholder={example}
              spellcheck={false}
              inputMode={name === 'limit' ? 'numeric' : undefined}
              autocomplete="off"
              autocapitalize="off"
              aria-invalid={mistake?.field === name}
              aria-describedby={mistake?.field === name ? MISTAKE : undefined}
              value={texts.value[name]}
              onInput={(event) => (texts.value = { ...texts.value, [name]: event.currentTarget.value })}
            />
          </label>
        ))}
        <button type="submit" title="Enter">
          Apply
        </button>
        {!isAll(query) && (
          <button type="button" onClick={() => onAsk(ALL)} title="Every member, whole">
            Show all
          </button>
        )}
        <CopyButton name="Copy URL" text={() => root + resource.path.slice(1) + searchOf(query)} />
      </form>
      {!mistake && absent.length > 0 && (
        <p class="query-note dim" role="status">
          No member has {absent.join(', ')}. Is it spelt right?
        </p>
      )}
      {mistake && (
        <div class="query-mistake" role="alert">
          <MistakeLine id={MISTAKE} message={mistake.message} at={mistake.at} editor={() => input(mistake.field)} />
        </div>
      )}
    </>
  );
}
