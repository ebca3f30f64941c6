import { describe, isObject, kindOf, preview, type Preview } from '../lib/json';
import { hasUrl } from '../lib/paths';
import type { Row } from '../lib/rows';
import { APPROXIMATE, nameText } from '../lib/shown';

const VALUE_CHARS = 160;

interface Props {
  id: string;
  row: Row;
  value: unknown;
  expanded: boolean;
  /** Members, when the node is open and its first state is there. */
  members: number | undefined;
  problem: string | undefined;
  selected: boolean;
  active: boolean;
  flash: string;
  onToggle: () => void;
  onSelect: () => void;
}

export function TreeRow({ id, row, value, expanded, members, problem, selected, active, flash, onToggle, onSelect }: Props) {
  const reachable = row.branch.path === '' || hasUrl(row.key);
  const canOpen = isObject(value) && reachable;
  const kind = kindOf(value);
  const { text, approximate } = shown(value, members, problem);
  const about = kind === 'object' || kind === 'array' || (kind === 'string' && (value as string).length > 40) ? describe(value, members) : kind;
  return (
    <div
      id={id}
      class={`row ${selected ? 'selected' : ''} ${active ? 'active' : ''}`}
      role="treeitem"
      aria-level={row.level}
      aria-setsize={row.siblings}
      aria-posinset={row.position}
      aria-selected={selected}
      aria-expanded={canOpen ? expanded : undefined}
      title={reachable ? undefined : 'A member with this name has no address of its own'}
      onClick={onSelect}
      onDblClick={canOpen ? onToggle : undefined}
    >
      <span class="row-name" style={{ paddingInlineStart: `${(row.level - 1) * 14}px` }}>
        <span
          class={`caret ${canOpen ? (expanded ? 'down' : 'right') : ''}`}
          onClick={(event) => {
            if (!canOpen) return;
            event.stopPropagation();
            onToggle();
          }}
        />
        <span class="row-key" title={reachable ? row.key : undefined}>
          {nameText(row.key)}
        </span>
      </span>
      <span class={`row-value ${problem ? 'bad' : kind} ${flash}`} title={approximate ? APPROXIMATE : undefined}>
        {text}
      </span>
      <span class="row-about">{about}</span>
    </div>
  );
}

/** The text in the row. Of an object that is nothing: its members have rows of their own. */
function shown(value: unknown, members: number | undefined, problem: string | undefined): Preview {
  if (problem === undefined && !isObject(value)) return preview(value, VALUE_CHARS);
  return { text: problem ?? (members === 0 ? '{}' : ''), approximate: false };
}
