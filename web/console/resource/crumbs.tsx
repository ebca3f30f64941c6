import { ancestors, nameOf, ROOT, type Path } from '../lib/paths';
import { nameText } from '../lib/shown';
import { hrefOf } from '../state/route';

/** The way to a resource. Long names are cut. */
export function Crumbs({ path }: { path: Path }) {
  return (
    <nav class="crumbs" aria-label="Path">
      {path === ROOT ? (
        <span aria-current="page">/</span>
      ) : (
        <>
          {ancestors(path).map((above) => (
            <span key={above}>
              <a href={hrefOf(above)} title={above === ROOT ? above : nameText(nameOf(above))}>
                {above === ROOT ? 'root' : nameText(nameOf(above))}
              </a>
              <span class="dim"> / </span>
            </span>
          ))}
          <span aria-current="page" title={nameText(nameOf(path))}>
            {nameText(nameOf(path))}
          </span>
        </>
      )}
    </nav>
  );
}
