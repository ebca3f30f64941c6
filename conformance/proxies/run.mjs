// Real proxies with the documented configurations, in front of the real server: names stay what they are, and who may only read
// writes nothing. `node run.mjs NAME` runs what has NAME in its name; HALFPING_BIN says which binary.
import { names } from './names.mjs';
import { ownState } from './own-state.mjs';
import { readOnly } from './read-only.mjs';
import { areUnpacked } from './start.mjs';

const only = process.argv[2] ?? '';
if (!areUnpacked()) throw new Error('the proxies are not there. Run: cargo xtask test proxies');

let [passed, failed] = [0, 0];
for (const [name, test] of Object.entries({ ...names, ...ownState, ...readOnly })) {
  if (!name.includes(only)) continue;
  const started = performance.now();
  const { count, wrong } = await test().catch((error) => ({ count: 0, wrong: [error.stack ?? String(error)] }));
  const result = wrong.length || !count ? 'FAILED' : 'ok    ';
  wrong.length || !count ? failed++ : passed++;
  console.log(`${result} ${name}: ${count} checks (${Math.round(performance.now() - started)} ms)${wrong.map((line) => `\n       ${line}`).join('')}`);
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed || !passed ? 1 : 0;
