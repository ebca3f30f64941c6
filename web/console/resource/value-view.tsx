import { useMemo } from 'preact/hooks';
import { linesOf, type Line } from '../lib/lines';
import { APPROXIMATE, quoted } from '../lib/shown';
import { VirtualList } from '../ui/virtual-list';
import type { Resource } from './resource';

const LINE_PX = 20;

/** The live value, laid out, with what changed flashing. */
export function ValueView({ resource, depth }: { resource: Resource; depth: number | undefined }) {
  resource.beat.value;
  const { value, known, order } = resource;
  const lines = useMemo(() => (known && value !== undefined ? linesOf(value, depth, order) : []), [value, known, depth, order]);
  if (!known) return <p class="value empty dim">Waiting for the first state</p>;
  if (value === undefined) return <p class="value empty dim">Nothing is here now. It will show as soon as something is written.</p>;
  if (lines.length === 1) return <Single value={value} line={lines[0]!} flash={resource.flashes.className('', performance.now())} />;
  const now = performance.now();
  return (
    <VirtualList
      class="value code"
      style={{ height: `${Math.max(3, lines.length) * LINE_PX + 8}px` }}
      role="group"
      aria-label="Value"
      tabIndex={0}
      count={lines.length}
      rowHeight={LINE_PX}
      row={(index) => {
        const line = lines[index]!;
        return <ValueLine key={`${line.kind === 'end' ? 'end' : ''}${line.pointer}`} line={line} flash={resource.flashes.className(line.pointer, now)} />;
      }}
    />
  );
}

function ValueLine({ line, flash }: { line: Line; flash: string }) {
  return (
    <div class="line">
      <span style={{ paddingInlineStart: `${line.indent * 2}ch` }} />
      {line.key !== undefined && (
        <>
          <span class="key">{quoted(line.key)}</span>:{' '}
        </>
      )}
      <span class={`${line.kind} ${line.kind === 'end' ? '' : flash}`} title={line.approximate ? APPROXIMATE : undefined}>
        {line.text}
      </span>
      {line.comma && ','}
    </div>
  );
}

/** Shown of one string, so that a megabyte of text does not stop the page. */
const TEXT_CHARS_MAX = 20_000;

const SINGLE_CHARS_MAX = 40;

/** A value of one line: large, or wrapped when it is a long text. */
function Single({ value, line, flash }: { value: unknown; line: Line; flash: string }) {
  const long = typeof value === 'string' && value.length > SINGLE_CHARS_MAX;
  return (
    <div class={`value code ${long ? 'text' : 'single'}`} tabIndex={0} role="group" aria-label="Value">
      <span class={`${line.kind} ${flash}`} title={line.approximate ? APPROXIMATE : undefined}>
        {long ? quoted(value.slice(0, TEXT_CHARS_MAX)) : line.text}
      </span>
      {long && value.length > TEXT_CHARS_MAX && <span class="dim"> … {value.length.toLocaleString('en')} characters</span>}
    </div>
  );
}
