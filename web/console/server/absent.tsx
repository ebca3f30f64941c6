import { ProblemBox } from '../ui/problem';
import type { Followed } from './follow';

/** What a view shows instead of values. */
export function Absent({ followed }: { followed: Followed<unknown> }) {
  switch (followed.state) {
    case 'waiting':
      return <p class="absent dim">Waiting for the first sample</p>;
    case 'failed':
      return <ProblemBox problem={followed.problem} />;
    default:
      return (
        <div class="absent">
          <h2>Not served here</h2>
          <p>
            This server does not show its own state (<code>/_server</code>). It is switched on in the configuration file:
          </p>
          <pre class="code">{'[pages]\nserver = true'}</pre>
          <p class="dim">The tree and everything in it work without.</p>
        </div>
      );
  }
}
