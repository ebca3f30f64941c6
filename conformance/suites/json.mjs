// JSONTestSuite, byte for byte, through PUT (PROTOCOL V1, V2). The files come with Cargo, see ../json/Cargo.toml.
//
// y_: must be accepted, n_: must be refused, i_: an implementation may choose; what Halfping chose is in
// ../json/choices.json, so that a choice cannot change unnoticed.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { JSON_TYPE, problemName, send } from '../lib/http.mjs';

const here = (path) => fileURLToPath(new URL(`../json/${path}`, import.meta.url));
const ACCEPTED = 'accepted';
const REFUSED = 'refused';
const FILES = { y_: 95, n_: 188, i_: 35 };

/** The texts that the suite accepts and Halfping refuses on purpose, and the reasons. */
const exceptions = {
  'y_object_duplicated_key.json': 'duplicate-member', // PROTOCOL V2, as I-JSON asks
  'y_object_duplicated_key_and_value.json': 'duplicate-member',
};

export async function run(url) {
  const choices = JSON.parse(readFileSync(here('choices.json')));
  const folder = suiteFolder();
  const names = readdirSync(folder).sort();
  const failures = [];
  const kept = []; // [name, value] of what was accepted
  for (const [prefix, count] of Object.entries(FILES)) {
    const found = names.filter((name) => name.startsWith(prefix)).length;
    if (found !== count) failures.push(`the suite should have ${count} files ${prefix}*, has ${found}: ${folder}`);
  }

  for (const name of names) {
    const expected = exceptions[name] ?? choices[name] ?? { y: ACCEPTED, n: REFUSED }[name[0]];
    const body = readFileSync(`${folder}/${name}`);
    const resource = `${url}/json/${encodeURIComponent(name)}`;
    let outcome = await put(resource, body);
    if (outcome === ACCEPTED) {
      const { text } = await send('GET', resource);
      if (!sameText(body.toString(), text)) failures.push(`${name}: GET gives ${text}, PUT was ${body}`);
      kept.push([name, text]);
    } else if (expected === REFUSED && !outcome.startsWith('(')) {
      outcome = REFUSED; // any of the protocol's problems will do
    }
    if (outcome !== expected) failures.push(`${name}: should be ${expected ?? 'in choices.json'}, is ${outcome}`);
  }
  for (const name of Object.keys(choices)) {
    if (!names.includes(name)) failures.push(`choices.json has ${name}, the suite has not`);
  }

  // PROTOCOL X2, V4: what was refused left no trace, what was accepted is there, in the order in which it came.
  const tree = JSON.parse((await send('GET', `${url}/json`)).text);
  const left = Object.entries(tree);
  if (!isDeepStrictEqual(left, kept.map(([name, text]) => [name, JSON.parse(text)]))) {
    failures.push(`GET /json should have the ${kept.length} accepted documents in order, has ${left.length}`);
  }
  const notes = Object.entries(exceptions).map(([name, why]) => `${name}: must be refused (${why}), not accepted`);
  return { passed: names.length - failures.length, failures, notes: notes };
}

/** `accepted`, the name of the problem, or in parentheses what should never be. */
async function put(resource, body) {
  const answer = await send('PUT', resource, { type: JSON_TYPE, body }).catch((error) => ({ text: error.message }));
  if (answer.status === 200 || answer.status === 201) return ACCEPTED;
  if (answer.status >= 400 && answer.status < 500) return problemName(answer);
  return `(${answer.status ?? 'no answer'}: ${answer.text})`;
}

/** Equal values, and numbers digit for digit (PROTOCOL V1). */
function sameText(written, read) {
  const numbers = (text) => text.replace(/"(\\.|[^"\\])*"/gs, '""').match(/-?\d[\d.eE+-]*/g);
  return isDeepStrictEqual(numbers(written), numbers(read)) && isDeepStrictEqual(JSON.parse(written), JSON.parse(read));
}

function suiteFolder() {
  const metadata = execFileSync(
    process.env.CARGO ?? 'cargo',
    ['metadata', '--locked', '--format-version', '1', '--manifest-path', here('Cargo.toml')],
    { maxBuffer: 100_000_000, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const carrier = JSON.parse(metadata).packages.find(({ name }) => name === 'actson');
  return `${dirname(carrier.manifest_path)}/tests/json_test_suite/test_parsing`;
}
