import { canonical } from '../lib/paths';
import { readView } from '../lib/query';
import { hrefOf } from '../state/route';
import type { Own } from './own';

/** The views that have URLs of their own, each with what it is a view of. */
export function NamedViews({ own }: { own: Own }) {
  if (Object.keys(own.views ?? {}).length === 0) return null;
  return (
    <section class="card wide">
      <h2>Named views</h2>
      <table>
        <thead>
          <tr>
            <th scope="col">View</th>
            <th scope="col">Of</th>
            <th scope="col">Shows</th>
          </tr>
        </thead>
        <tbody>
          {Object.entries(own.views ?? {}).map(([path, of]) => (
            <NamedView key={path} path={path} of={of} />
          ))}
        </tbody>
      </table>
    </section>
  );
}

function NamedView({ path, of }: { path: string; of: string }) {
  // A condition may have a `?` in it.
  const [, from = '', view = ''] = /^([^?]*)\??(.*)$/s.exec(of) ?? [];
  return (
    <tr>
      <th scope="row" class="mono">
        <a href={hrefOf(canonical(path))}>{path}</a>
      </th>
      <td class="mono">
        <a href={hrefOf(canonical(from), readView(view))}>{from}</a>
      </td>
      <td class="mono">{view || 'all'}</td>
    </tr>
  );
}
