/** The panel beside the map. */

import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import * as demo from './demo';
import { fastest } from './fastest';
import type { Entity } from './fleet';
import { Json } from './json';
import type { Report } from './network';
import { Spark } from './spark';
import { bytes, count, duration } from './text';

export function Panel() {
  return (
    <aside class="panel" aria-label="Figures and controls">
      <Head />
      <Eyes />
      <Freshness />
      <Costs />
      <Controls />
      <Fastest />
    </aside>
  );
}

function Head() {
  const { title, source, credit } = demo.description.value ?? {};
  const recorded = demo.summary.value?.['recorded_ms'];
  const speed = demo.description.value?.speed ?? 1;
  return (
    <header>
      <p class="brand">
        Halfping {demo.hasConsole.value && <a href="../_console/">console</a>}
      </p>
      <h1>{title ?? 'Demo'}</h1>
      <p class="source">
        {count(demo.now.value.entities)} live entities · {source}
        {credit && ` (${credit})`}
      </p>
      {typeof recorded === 'number' && (
        <p class="source">
          recorded <time>{new Date(recorded).toISOString().slice(0, 16).replace('T', ' ')} UTC</time>, {count(speed)}× as fast
        </p>
      )}
    </header>
  );
}

/** The operators, in whose name one can look. */
function Eyes() {
  const { description, operator } = demo;
  const operators = description.value?.operators ?? [];
  if (operators.length === 0) return null;
  const all = [undefined, ...operators];
  return (
    <section aria-labelledby="eyes-title">
      <h2 id="eyes-title">Who is looking?</h2>
      <div id="eyes" class="eyes" role="group" aria-labelledby="eyes-title">
        {all.map((one) => (
          <button key={one?.sub} data-sub={one?.sub ?? ''} aria-pressed={operator.value?.sub === one?.sub} onClick={() => demo.lookAs(one)}>
            <b>{one?.name ?? 'Everybody'}</b>
            <span>{one?.runs ?? 'sees all'}</span>
          </button>
        ))}
      </div>
      {operator.value && (
        <p class="note">
          The same connection, another key: a rule shows {operator.value.name} what has <code>operator: {JSON.stringify(operator.value.sub)}</code>. Nothing else is sent.
        </p>
      )}
    </section>
  );
}

const STATES: Record<string, string> = {
  idle: 'Not connected',
  opening: 'Connecting',
  live: 'Catching up',
  waiting: 'Reconnecting',
  off: 'Switched off',
  refused: 'Refused',
  closed: 'Closed',
};

function Freshness() {
  const { inStep, behindMs, ageMs, frozenMs, state, hint } = demo.now.value;
  const delay = demo.meter.delay_ms;
  const word = inStep ? 'In step' : frozenMs !== undefined ? 'Frozen' : (STATES[state] ?? state);
  return (
    <section aria-label="Freshness" class={inStep ? 'fresh ok' : 'fresh late'}>
      <div class="status">
        <span class="dot" aria-hidden="true" />
        <strong id="status">{word}</strong>
        {!inStep && behindMs > 0 && <span>for {duration(behindMs)}</span>}
      </div>
      {hint && (
        <p id="hint" class="said" role="note">
          {hint}
        </p>
      )}
      <div class="pair">
        <Figure id="delay" value={inStep && delay !== undefined ? duration(delay) : '–'} label="from commit to this page" />
        <Figure id="age" value={duration(ageMs)} label="age of the newest change shown" />
      </div>
      <Spark points={demo.meter.ages} least={400} label="Age of the newest change, over the last half minute" />
    </section>
  );
}

function Figure({ id, value, label }: { id: string; value: string; label: string }) {
  return (
    <div class="figure">
      <output id={id} aria-live="off">
        {value}
      </output>
      <span>{label}</span>
    </div>
  );
}

function Costs() {
  const { links } = demo.now.value;
  const { updates_per_s, bytes_per_s, poll_bytes, shown_ms } = demo.meter;
  const collection = demo.description.value?.collection ?? '';
  const times = poll_bytes !== undefined && bytes_per_s > 0 ? poll_bytes / bytes_per_s : undefined;
  return (
    <section aria-label="Costs">
      <table>
        <thead>
          <tr>
            <td />
            <th scope="col">this page</th>
            <th scope="col">polling, 1/s</th>
          </tr>
        </thead>
        <tbody>
          <tr>
            <th scope="row">received</th>
            <td id="bytes">{bytes(bytes_per_s)}/s</td>
            <td id="polling-bytes">{poll_bytes === undefined ? '–' : `${bytes(poll_bytes)}/s`}</td>
          </tr>
          <tr>
            <th scope="row">age, on average</th>
            <td id="shown-age">{shown_ms === undefined ? '–' : duration(shown_ms)}</td>
            <td>500 ms</td>
          </tr>
          <tr>
            <th scope="row">updates</th>
            <td id="updates">{count(updates_per_s)}/s</td>
            <td>each second</td>
          </tr>
          <tr>
            <th scope="row">asked for</th>
            <td id="links">{count(links)} links</td>
            <td>1 request/s</td>
          </tr>
        </tbody>
      </table>
      <Spark
        points={demo.meter.bytes}
        level={poll_bytes}
        least={1000}
        label={`Bytes received a second over the last half minute; the dashed line is what polling costs`}
      />
      <p class="note">
        bytes a second; dashed: polling
        {times !== undefined && times >= 1.05 && ` (${times.toFixed(1)} times as many)`}
      </p>
      <details>
        <summary>How this is measured</summary>
        <p>
          <b>This page:</b> one WebSocket with a link for each entity, one for the list of them (<code>{collection}?depth=1</code>), one for the fastest and two more.
          Counted are whole messages with their frames before compression, over the last 3 s: on the wire the larger ones are smaller.
        </p>
        <p>
          <b>Polling:</b> one real <code>GET {collection}</code>, tried every 20 s, plus 400 bytes for the heads of request and answer, times one a
          second; also without compression, and as if an answer took no time. What it shows is then 0 to 1,000 ms old: 500 on average, 1,000 at worst.
        </p>
        <p>
          <b>Age:</b> that of what is shown: from the commit on the server until the page has it, the median of 3 s; and, where updates are held back
          (<i>Slow</i>, a frozen network), for how long an entity has been shown that may have changed since. If the server's clock is not this one's, as far as
          can be told from what comes.
        </p>
      </details>
    </section>
  );
}

function Controls() {
  const { wished, busy, now } = demo;
  const isBusy = busy.value !== undefined;
  const frozenMs = now.value.frozenMs;
  const canGrow = wished.value !== undefined;
  const why = canGrow ? undefined : 'A recording has as many entities as were recorded';
  const first = demo.backTo();
  return (
    <section aria-label="Try it">
      <div class="buttons">
        <button id="freeze" class="main" disabled={isBusy} onClick={() => void demo.freeze()} aria-label="Freeze this tab's network for 5 seconds">
          {frozenMs === undefined ? 'Freeze this tab’s network for 5 s' : `Frozen: ${Math.max(0, (demo.FREEZE_MS - frozenMs) / 1000).toFixed(1)} s left`}
        </button>
        <button id="cut" disabled={isBusy} onClick={() => void demo.cutConnection()}>
          Cut the connection
        </button>
        <button id="slow" aria-label={`Slow: one update of each entity in ${demo.SLOW_S} seconds`} aria-pressed={demo.slow.value} onClick={() => demo.setSlow(!demo.slow.value)}>
          Slow: every {demo.SLOW_S} s
        </button>
        <button id="more" disabled={!canGrow} title={why} onClick={() => void demo.more()}>
          Add 1,000 entities
        </button>
        <button id="back" disabled={!canGrow || wished.value === first} title={why} onClick={() => void demo.back()}>
          {canGrow ? `Back to ${count(first)}` : 'Back'}
        </button>
      </div>
      <Told report={demo.frozen.value} id="freeze-report" title="After the freeze">
        {(report) => (
          <>
            In step <b>{duration(report.ms_to_step)}</b> after the network was back.
            {report.updates !== undefined && (
              <>
                {' '}
                Meanwhile <b>{count(report.updates)}</b> updates happened on the server;
              </>
            )}{' '}
            <b id="freeze-bytes">{bytes(report.bytes)}</b> came in {count(report.messages)} messages: what was on its way, then the newest state. Without a freeze, so much time
            brings about <b id="usual-bytes">{bytes(report.usual_bytes)}</b>.
          </>
        )}
      </Told>
      <Told report={demo.cut.value} id="cut-report" title="After the cut">
        {(report) => (
          <>
            Connected again after <b>{duration(report.away_ms)}</b>, in step after <b>{duration(report.ms_to_step)}</b>.{' '}
            {report.resumed ? 'Resumed with one cursor' : 'Begun anew'}: <b>{bytes(report.bytes)}</b> in {count(report.messages)} messages
            {report.updates !== undefined && ` for ${count(report.updates)} updates that were missed`} ({bytes(report.bytes_sent)} sent to ask for all links).
          </>
        )}
      </Told>
      <p class="said" role="status" aria-live="polite">
        {demo.said.value}
      </p>
    </section>
  );
}

/** Milliseconds in which one moves to another place. */
const MOVE_MS = 350;

/** The fastest of them, as a view in the order that the server keeps. */
function Fastest() {
  const list = useRef<HTMLOListElement>(null);
  const tops = useRef(new Map<string, number>());
  useLayoutEffect(() => {
    const before = tops.current;
    const rows = [...(list.current?.children ?? [])] as HTMLElement[];
    tops.current = new Map(rows.map((row) => [row.dataset['id']!, row.offsetTop]));
    if (demo.fleet?.still || before.size === 0) return;
    for (const row of rows) {
      const top = before.get(row.dataset['id']!);
      const from = top === undefined ? { opacity: 0 } : { transform: `translateY(${top - row.offsetTop}px)` };
      if (top !== row.offsetTop) row.animate([from, {}], { duration: MOVE_MS, easing: 'ease-out' });
    }
  }, [fastest.value]);
  const { fleet } = demo;
  const shown = fastest.value;
  if (!shown || !fleet || shown.rows.length === 0) return null;
  const path = `${fleet.collection}?${shown.search}`;
  return (
    <section aria-labelledby="fastest-title">
      <h2 id="fastest-title">The {shown.rows.length === 10 ? 'ten ' : ''}fastest, live</h2>
      <ol id="fastest" ref={list} class="fastest">
        {shown.rows.map(({ id, label, speed }, n) => (
          <li key={id} data-id={id}>
            <button class={demo.selected.value?.id === id ? 'chosen' : ''} onClick={() => demo.select(id)} title={`Show ${id} on the map`}>
              <span class="rank">{n + 1}</span>
              <span class="name">{id}</span>
              <span class="label">{label}</span>
              <span class="speed">
                {speed.toFixed(1)} {fleet.unit.name}
              </span>
            </button>
          </li>
        ))}
      </ol>
      <p class="note">
        A view:{' '}
        <a href={`..${path}`} target="_blank" rel="noopener">
          GET {path}
        </a>
      </p>
    </section>
  );
}

function Told<R extends Report>({ report, id, title, children }: { report: R | undefined; id: string; title: string; children: (report: R) => ComponentChildren }) {
  if (!report) return null;
  return (
    <div class="report" id={id}>
      <h2>{title}</h2>
      <p>{children(report)}</p>
    </div>
  );
}

/** Gives what is selected to the other operator. */
function HandOver({ entity, value }: { entity: Entity; value: unknown }) {
  const owner = (value as { operator?: unknown } | undefined)?.operator;
  const others = demo.description.value?.operators?.filter(({ sub }) => sub !== owner) ?? [];
  return (
    <>
      {others.map((other) => (
        <button key={other.sub} class="hand-over" onClick={() => void demo.handOver(entity, other)}>
          Hand over to {other.name}
        </button>
      ))}
    </>
  );
}

/** The entity that is selected, as it is now. */
export function Selected() {
  const found = demo.selected.value;
  const entity = found && demo.fleet?.entities.get(found.id);
  const change = found?.change;
  const box = useRef<HTMLElement>(null);
  const shownId = useRef<string | undefined>(undefined);
  useEffect(() => {
    if (found) demo.map?.uncover(box.current!.getBoundingClientRect(), found.id !== shownId.current);
    shownId.current = found?.id;
  }, [found]);
  const pick = (event: SubmitEvent) => {
    event.preventDefault();
    const input = (event.currentTarget as HTMLFormElement).elements.namedItem('id') as HTMLInputElement;
    const id = input.value.trim();
    if (demo.select(id)) return;
    demo.select(undefined);
    demo.said.value = `There is no ${id} now.`;
  };
  return (
    <section ref={box} aria-label="Selected entity" class="inspector">
      <form onSubmit={pick}>
        <label for="pick">Entity</label>
        <input id="pick" name="id" autocomplete="off" spellcheck={false} placeholder="click one, or type its name" value={found?.id ?? ''} />
        {found && (
          <button type="button" aria-label="Select nothing" onClick={() => demo.select(undefined)}>
            ×
          </button>
        )}
      </form>
      {found && entity && (
        <>
          <HandOver entity={entity} value={found.value} />
          <Json value={found.value} news={new Set(change?.kind === 'snapshot' ? [] : (change?.keys ?? []))} stamp={change?.t ?? 0} />
          <p class="note">
            <a href={`..${entity.path}`} target="_blank" rel="noopener">
              GET {entity.path}
            </a>
            {change && ` · last: ${change.kind}, ${bytes(JSON.stringify(change.body ?? null).length)}`}
          </p>
        </>
      )}
    </section>
  );
}
