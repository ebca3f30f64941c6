import { ago } from '../lib/format';
import { describe } from '../lib/json';
import { now } from '../state/clock';
import type { Resource } from './resource';

/** One line about the value: what it is, how old, and at which revision. */
export function Facts({ resource }: { resource: Resource }) {
  resource.beat.value;
  const { value, members, matching, rev, changedAt, known } = resource;
  return (
    <dl class="facts">
      <div>
        <dt>is</dt>
        <dd>{known ? describe(value, members, matching) : '…'}</dd>
      </div>
      <div>
        <dt>changed</dt>
        <dd class="number" title={changedAt === undefined ? undefined : new Date(changedAt).toISOString()}>
          {changedAt === undefined ? '…' : ago(now.value - changedAt)}
        </dd>
      </div>
      <div>
        <dt>rev</dt>
        <dd class="mono number">{rev ?? '…'}</dd>
      </div>
    </dl>
  );
}
