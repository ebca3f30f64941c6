import { useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import { clockMs } from '../lib/format';
import type { Path } from '../lib/paths';
import { api } from '../state/connection';
import { problemOf, type Problem } from '../state/problem';
import { hrefOf } from '../state/route';
import { MistakeLine } from '../ui/mistake-line';
import { ProblemBox } from '../ui/problem';
import { baseOf, canCompare, check, hasBody, load, METHODS, write, type Base, type Method } from './write';

type Outcome = { said: string; at: Path; rev: string; when: number } | { problem: Problem } | undefined;

export function WriteBox({ path }: { path: Path }) {
  const method = useSignal<Method>('put');
  const text = useSignal('');
  const base = useSignal<Base | undefined>(undefined);
  const guarded = useSignal(false);
  const busy = useSignal(false);
  const outcome = useSignal<Outcome>(undefined);
  /** Of what it was asked once to be deleted. */
  const asked = useSignal<Path | undefined>(undefined);
  const editor = useRef<HTMLTextAreaElement>(null);

  const info = METHODS.find((entry) => entry.method === method.value)!;
  const mistake = check(method.value, text.value);
  const isSure = asked.value === path;
  const ready = !busy.value && !mistake && (!hasBody(method.value) || text.value.trim() !== '');

  const attempt = async (action: () => Promise<Outcome>) => {
    busy.value = true;
    try {
      outcome.value = await action();
    } catch (error) {
      outcome.value = { problem: problemOf(error) };
    } finally {
      busy.value = false;
    }
  };
  const fill = () =>
    attempt(async () => {
      const loaded = await load(api, path);
      base.value = loaded.base;
      text.value = loaded.text;
      return undefined;
    });
  const guard = (on: boolean) => {
    guarded.value = on;
    // The panel's own revision is that of a message, which may be newer than the resource's: ask for the resource's.
    if (on && !base.value) {
      void attempt(async () => {
        base.value = await baseOf(api, path);
        return undefined;
      });
    }
  };
  const send = () => {
    if (!ready) return;
    // Everything beneath it goes, and nothing brings it back.
    asked.value = method.value === 'delete' && !isSure ? path : undefined;
    if (asked.value !== undefined) return;
    void attempt(async () => {
      const done = await write(api, method.value, path, text.value, guarded.value ? base.value : undefined);
      // The next write is compared with what this one made.
      if (method.value !== 'post') base.value = { rev: done.rev, present: method.value !== 'delete' };
      return { ...done, when: Date.now() };
    });
  };

  const choose = (other: Method) => {
    method.value = other;
    asked.value = undefined;
  };

  return (
    <form
      class="write"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div class="methods" role="radiogroup" aria-label="How to write">
        {METHODS.map((entry) => (
          <label key={entry.method} class={entry.method === method.value ? 'on' : ''}>
            <input type="radio" name="method" checked={entry.method === method.value} onChange={() => choose(entry.method)} />
            {entry.name}
          </label>
        ))}
      </div>
      <p class="note dim">{info.does}.</p>
      {hasBody(method.value) && (
        <textarea
          ref={editor}
          class="code"
          rows={8}
          spellcheck={false}
          aria-label="JSON body"
          aria-invalid={mistake !== undefined}
          aria-describedby={mistake ? 'mistake' : undefined}
          placeholder={info.example}
          value={text.value}
          onInput={(event) => (text.value = event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) send();
          }}
        />
      )}
      {mistake && (
        <MistakeLine
          id="mistake"
          message={mistake.message}
          at={{ place: `line ${mistake.line}, column ${mistake.column}`, offset: mistake.offset }}
          editor={() => editor.current}
        />
      )}
      <div class="write-actions">
        <button type="submit" class={`primary ${method.value === 'delete' ? 'danger' : ''}`} disabled={!ready} title="Ctrl+Enter">
          {isSure ? `Yes, delete ${path}` : info.name}
        </button>
        {isSure && (
          <button type="button" onClick={() => (asked.value = undefined)}>
            Keep it
          </button>
        )}
        {hasBody(method.value) && (
          <button type="button" onClick={fill} disabled={busy.value} title="Fills the box with the present value, whole">
            Load value
          </button>
        )}
        {canCompare(method.value) && (
          <label class="guard">
            <input type="checkbox" checked={guarded.value} onChange={(event) => guard(event.currentTarget.checked)} />
            only if unchanged{guarded.value && base.value && <Since base={base.value} />}
          </label>
        )}
      </div>
      {isSure && (
        <p class="note" role="alert">
          {path} and everything beneath it is deleted for everybody. Sure?
        </p>
      )}
      <OutcomeLine outcome={outcome.value} />
    </form>
  );
}

function Since({ base }: { base: Base }) {
  return base.present ? (
    <>
      {' '}
      since <span class="mono">{base.rev}</span>
    </>
  ) : (
    <> (nothing there)</>
  );
}

function OutcomeLine({ outcome }: { outcome: Outcome }) {
  if (!outcome) return null;
  if ('problem' in outcome) {
    const { problem } = outcome;
    return <ProblemBox problem={problem.rev ? { ...problem, hint: problem.hint ?? `It is at ${problem.rev} now: load the value and try again.` } : problem} />;
  }
  return (
    <p class="done" role="status">
      {outcome.said} at <span class="number">{clockMs(outcome.when)}</span>: <a href={hrefOf(outcome.at)}>{outcome.at}</a>, rev <span class="mono">{outcome.rev}</span>
    </p>
  );
}
