// Every case of RFC 7396, appendix A, through real requests (PROTOCOL W2).
import { isDeepStrictEqual } from 'node:util';
import { JSON_TYPE, MERGE_PATCH, send } from '../lib/http.mjs';

// Original, patch, result: as the appendix has them.
const cases = [
  ['{"a":"b"}', '{"a":"c"}', '{"a":"c"}'],
  ['{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'],
  ['{"a":"b"}', '{"a":null}', '{}'],
  ['{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'],
  ['{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'],
  ['{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'],
  ['{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'],
  ['{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'],
  ['["a","b"]', '["c","d"]', '["c","d"]'],
  ['{"a":"b"}', '["c"]', '["c"]'],
  ['{"a":"foo"}', 'null', 'null'],
  ['{"a":"foo"}', '"bar"', '"bar"'],
  ['{"e":null}', '{"a":1}', '{"e":null,"a":1}'],
  ['[1,2]', '{"a":"b","c":null}', '{"a":"b"}'],
  ['{}', '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'],
];

export async function run(url) {
  const failures = [];
  for (const [index, [original, patch, result]] of cases.entries()) {
    const resource = `${url}/merge/${index}`;
    await send('PUT', resource, { type: JSON_TYPE, body: original });
    const patched = await send('PATCH', resource, { type: MERGE_PATCH, body: patch });
    const { text } = await send('GET', resource);
    if (patched.status !== 200) {
      failures.push(`${original} + ${patch}: PATCH should be 200, is ${patched.status} ${patched.text}`);
    } else if (!isDeepStrictEqual(JSON.parse(text), JSON.parse(result))) {
      failures.push(`${original} + ${patch}: gives ${text}, not ${result}`);
    }
  }
  return { passed: cases.length - failures.length, failures, notes: [] };
}
