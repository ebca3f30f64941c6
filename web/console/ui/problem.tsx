import type { Problem } from '../state/problem';

export function ProblemBox({ problem }: { problem: Problem }) {
  return (
    <div class="problem" role="alert">
      <strong>{problem.title}</strong>
      <p>{problem.detail}</p>
      {problem.hint && <p class="hint">{problem.hint}</p>}
    </div>
  );
}
