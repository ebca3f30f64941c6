// The community's JSON Patch suite (npm json-patch-test-suite) through real requests (PROTOCOL W3).
import { createRequire } from 'node:module';
import { isDeepStrictEqual } from 'node:util';
import { JSON_PATCH, JSON_TYPE, problemName, send } from '../lib/http.mjs';

const require = createRequire(import.meta.url);
const files = ['spec_tests.json', 'tests.json'];

export async function run(url) {
  const failures = [];
  const notes = [];
  let passed = 0;
  for (const file of files) {
    for (const [index, test] of require(`json-patch-test-suite/${file}`).entries()) {
      const name = `${file} #${index} (${test.comment ?? test.error ?? 'no comment'})`;
      if (test.disabled) {
        notes.push(`${name}: the suite itself disables it`);
        continue;
      }
      const failure = await check(`${url}/suite/${file}-${index}`, test);
      if (failure) failures.push(`${name}: ${failure}\n    case: ${JSON.stringify(test)}`);
      else passed += 1;
    }
  }
  return { passed, failures, notes };
}

/** Runs one case at a resource of its own; tells what is wrong, if anything is. */
async function check(resource, { doc, patch, expected, error }) {
  const put = await send('PUT', resource, { type: JSON_TYPE, body: JSON.stringify(doc) });
  if (put.status !== 201) return `PUT of the document should be 201, is ${put.status} ${put.text}`;
  const before = await send('GET', resource);
  const patched = await send('PATCH', resource, { type: JSON_PATCH, body: JSON.stringify(patch) });
  const after = await send('GET', resource);
  const value = JSON.parse(after.text);

  if (error !== undefined) {
    if (patched.status < 400 || patched.status > 499) return `PATCH should be refused, is ${patched.status}`;
    const problem = problemName(patched);
    if (!['patch-failed', 'bad-patch'].includes(problem)) return `PATCH is refused with an odd problem: ${problem}`;
    if (!isDeepStrictEqual(value, doc)) return `a refused PATCH changed the document to ${after.text}`;
    if (after.etag !== before.etag) return `a refused PATCH changed the cursor ${before.etag} to ${after.etag}`;
    return;
  }
  if (patched.status !== 200) return `PATCH should be 200, is ${patched.status} ${patched.text}`;
  // A case that only tests says nothing about the outcome: the document stays.
  const outcome = expected === undefined ? doc : expected;
  if (!isDeepStrictEqual(value, outcome)) return `GET after PATCH gives ${after.text}, not ${JSON.stringify(outcome)}`;
  if (patched.etag !== after.etag) return `PATCH answers the cursor ${patched.etag}, GET ${after.etag} (PROTOCOL W7)`;
}
