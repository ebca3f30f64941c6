// Installs the package as it would be published into an empty project, compiles strict TypeScript against it, and runs it in both module systems.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const project = mkdtempSync(join(tmpdir(), 'halfping-package-'));
const run = (program, words, cwd = project) => execFileSync(program, words, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
const file = (name, text) => writeFileSync(join(project, name), text);

const SAMPLE = `
interface Schema { orders: Record<string, { status: 'new' | 'shipped' }> }
const api = connect<Schema>('http://127.0.0.1:1', { token: () => 'me' });
const stop: () => void = api.on('/orders/42', (order, change) => { const status: 'new' | 'shipped' | undefined = order?.status; void [status, change.keys]; });
// @ts-expect-error: there is no such status
void api.put('/orders/42/status', 'lost').catch((error: unknown) => { if (error instanceof HalfpingError) console.error(error.type); });
stop();
api.close();
console.log(path('orders', 'a/b'), api.status.state);
`;

try {
  const [{ filename }] = JSON.parse(run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', project], root));
  file('package.json', '{"private":true}');
  run('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', `./${filename}`]);
  file('esm.mts', `import { connect, HalfpingError, path } from 'halfping';${SAMPLE}`);
  file('cjs.cts', `import halfping = require('halfping');\nconst { connect, HalfpingError, path } = halfping;${SAMPLE.replaceAll('instanceof HalfpingError', 'instanceof halfping.HalfpingError')}`);
  const options = ['--strict', '--target', 'es2022', '--module', 'nodenext', '--lib', 'es2022,dom'];
  run(join(root, 'node_modules/.bin/tsc'), [...options, 'esm.mts', 'cjs.cts']);
  for (const name of ['esm.mjs', 'cjs.cjs']) {
    const said = run('node', [name]).trim();
    if (said !== '/orders/a%2Fb closed') throw new Error(`${name} said: ${said}`);
  }
  // React is wanted only by those who ask for it.
  file('react.mjs', "await import('halfping/react').then(() => { throw new Error('react is there?'); }, (error) => console.log(error.code));");
  if (run('node', ['react.mjs']).trim() !== 'ERR_MODULE_NOT_FOUND') throw new Error('halfping/react does not ask for react');
  console.log(`${filename} installs, compiles under strict, and runs as a module and by require`);
} finally {
  rmSync(project, { recursive: true, force: true });
}
