import { ProblemBox } from '../ui/problem';
import type { Followed } from './follow';

/** The text that a view shows instead of values. */
export function Absent({ followed }: { followed: Exclude<Followed<unknown>, { state: 'here' }> }) {
  switch (followed.state) {
    case 'waiting':
      return <p class="absent dim">Waiting for the first sample</p>;
    case 'failed':
      return <ProblemBox problem={followed.problem} />;
    case 'absent':
      return <SwitchedOff hint={followed.hint} />;
  }
}

function SwitchedOff({ hint }: { hint: string | undefined }) {
  return (
    <div class="absent">
      <h2>Not served here</h2>
      <p>
        This server does not show this page what it is doing (<code>/_server</code>). To switch that on, start it with
      </p>
      <pre class="code">halfping serve --console on</pre>
      <p>or say so in its configuration:</p>
      <pre class="code">{'[console]\nenabled = true'}</pre>
      <p class="dim">
        {hint ?? 'Unless told, it is on where the server listens on a loopback address, for pages that were opened as localhost or 127.0.0.1. Everybody who can read may then see who else does.'}
      </p>
      <p class="dim">The tree and everything in it work without.</p>
    </div>
  );
}
