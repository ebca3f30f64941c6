/** A value as JSON, its newest members marked. */

import type { ComponentChildren } from 'preact';

interface Props {
  readonly value: unknown;
  /** Members that came with the newest change. */
  readonly news: ReadonlySet<string>;
  /** Differs from one change to the next. */
  readonly stamp: number;
}

export function Json({ value, news, stamp }: Props) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return <pre class="json">{text(value)}</pre>;
  const members = Object.entries(value);
  return (
    <pre class="json">
      {'{\n'}
      {members.map(([name, member], n) => (
        // Another key each time, so that the mark is made anew.
        <span key={news.has(name) ? `${name} ${stamp}` : name} class={news.has(name) ? 'member news' : 'member'}>
          {'  '}
          <b>{JSON.stringify(name)}</b>: {text(member)}
          {n + 1 < members.length ? ',' : ''}
          {'\n'}
        </span>
      ))}
      {'}'}
    </pre>
  );
}

function text(value: unknown): ComponentChildren {
  if (typeof value === 'object' && value !== null) return <span>{JSON.stringify(value).replaceAll('":', '": ').replaceAll(',"', ', "')}</span>;
  return <span class={typeof value}>{JSON.stringify(value) ?? 'nothing'}</span>;
}
