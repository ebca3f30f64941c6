// The work of every JavaScript client here on an event: apply it, with other people's appliers, and print the state.
import jsonPatch from 'fast-json-patch';
import mergePatch from 'json-merge-patch';

/** The state that one event leads to. `undefined` is absence. */
export function applied(value, kind, change) {
  if (kind === 'snapshot') return change;
  if (kind === 'merge') return mergePatch.apply(value, change);
  if (kind === 'patch') return change.reduce(appliedOperation, value);
  if (kind === 'gone') return undefined;
  if (kind === 'synced') return value;
  throw new Error(`an event of unknown kind ${kind}: ${JSON.stringify(change)}`);
}

function appliedOperation(value, operation) {
  try {
    return jsonPatch.applyOperation(value, operation, true).newDocument;
  } catch (error) {
    // PROTOCOL S7: what is to be removed may be gone already.
    if (operation.op === 'remove' && error.name === 'OPERATION_PATH_UNRESOLVABLE') return value;
    throw error;
  }
}

/** Follows one resource: feed it events, it prints `{"id", "value"}` for each state that has a cursor. */
export class Follower {
  id = '';
  value = undefined;

  /** Takes an event's kind, its id (the newest one that was seen, or none) and its data as text. */
  take(kind, id, data) {
    this.value = applied(this.value, kind, JSON.parse(data));
    this.reached(id);
  }

  /** Prints the state if it is complete: an event of a change in parts brings no new cursor (PROTOCOL S5). */
  reached(id) {
    if (!id || id === this.id) return;
    this.id = id;
    process.stdout.write(`${JSON.stringify({ id, value: this.value })}\n`, () => {
      if (this.ended()) process.exit(0);
    });
  }

  /** True if this is the last state of a run. */
  ended() {
    return this.value?.end === true;
  }
}
