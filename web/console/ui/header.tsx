import { hrefOf, route, type View } from '../state/route';
import { Login } from './login';
import { StatusLine } from './status';

const VIEWS: readonly { view: View; name: string }[] = [
  { view: 'tree', name: 'Tree' },
  { view: 'server', name: 'Server' },
  { view: 'sessions', name: 'Sessions' },
];

export function Header() {
  const { view: open, path, query } = route.value;
  return (
    <header class="header">
      <h1>
        halfping <span class="dim">console</span>
      </h1>
      <nav aria-label="Views">
        {VIEWS.map(({ view, name }) => (
          <a key={view} href={view === 'tree' ? hrefOf(path, query) : `#${view}`} aria-current={view === open ? 'page' : undefined}>
            {name}
          </a>
        ))}
      </nav>
      <StatusLine />
      <Login />
    </header>
  );
}
