// Runs other people's test suites against the real binary: node conformance/suites/run.mjs [SUITE...]
import { send } from '../lib/http.mjs';
import { startServer } from '../lib/server.mjs';

const suites = ['json-patch', 'merge-patch', 'json', 'sqlite', 'tokens', 'issuer'];
const FAILURES_SHOWN_MAX = 20;

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !suites.includes(name));
if (unknown.length > 0) {
  console.error(`no suite is called ${unknown.join(', ')}; there are ${suites.join(', ')}`);
  process.exit(2);
}

const server = await startServer();
let failed = false;
for (const name of wanted.length > 0 ? wanted : suites) {
  const { run } = await import(`./${name}.mjs`);
  // A suite tells how many cases passed, what failed, and notes on cases that it treats otherwise.
  const { passed, failures, notes } = await run(server.url);
  const health = await send('GET', `${server.url}/_health`).catch((error) => ({ text: error.message }));
  if (health.status !== 200) failures.push(`after all cases, GET /_health should be 200, got ${health.text}`);
  const complaint = server.complaint();
  if (complaint) failures.push(complaint);
  if (passed === 0) failures.push('no case ran at all');

  console.log(`${name}: ${passed} passed, ${failures.length} failed`);
  for (const note of notes) console.log(`  note: ${note}`);
  for (const failure of failures.slice(0, FAILURES_SHOWN_MAX)) console.log(`  FAILED ${failure}`);
  if (failures.length > FAILURES_SHOWN_MAX) console.log(`  … and ${failures.length - FAILURES_SHOWN_MAX} more`);
  failed ||= failures.length > 0;
}
await server.stop();
if (failed) console.log('To repeat: cargo xtask test suites');
process.exit(failed ? 1 : 0);
