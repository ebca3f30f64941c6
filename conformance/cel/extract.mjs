// Writes the cases of CEL's official conformance data to conformance/cel/cases.json, where the
// tests of conditions read them. Run it by hand when the data has a new version:
//   npm install --no-save --prefix target/cel @bufbuild/cel-spec@0.6.1
//   node conformance/cel/extract.mjs
// The data is part of the CEL specification, (c) its authors, under the Apache License 2.0.
import { readFileSync, writeFileSync } from 'node:fs';

const root = new URL('../../', import.meta.url);
const spec = new URL('target/cel/node_modules/@bufbuild/cel-spec/', root);
const { version, license } = JSON.parse(readFileSync(new URL('package.json', spec)));
const data = async (name) => (await import(new URL(`dist/esm/testdata/${name}.js`, spec))).tests;

/** All tests of a suite, each with the path of its name. */
function* cases(suite, above = '') {
  for (const { original, ast } of suite.tests ?? []) yield { name: `${above}/${original.name ?? ''}`, original, ast };
  for (const inner of suite.suites ?? []) yield* cases(inner, `${above}/${inner.name}`);
}

/** A value of CEL as `{type: value}`; `{other: type}` if no condition can have it. */
function value(cel) {
  const [[type, inner]] = Object.entries(cel);
  switch (type) {
    case 'boolValue':
      return { bool: inner };
    case 'int64Value':
      return { int: `${inner}` };
    case 'uint64Value':
      return { uint: `${inner}` };
    case 'doubleValue':
      return { double: `${inner}` };
    case 'stringValue':
      return { string: inner };
    case 'nullValue':
      return { null: true };
    case 'listValue':
      return { list: (inner.values ?? []).map(value) };
    case 'mapValue': {
      const entries = (inner.entries ?? []).map((entry) => [value(entry.key), value(entry.value)]);
      const isJson = entries.every(([key]) => 'string' in key);
      return isJson ? { map: entries.map(([key, of]) => [key.string, of]) } : { other: type };
    }
    default:
      return { other: type };
  }
}

const evaluated = [];
for (const { name, original } of cases(await data('conformance'))) {
  const { expr, container, bindings = {}, evalError, typedResult, checkOnly } = original;
  const result = original.value ?? typedResult?.result;
  if (checkOnly || (result === undefined && evalError === undefined)) continue;
  const bound = Object.entries(bindings).map(([variable, of]) => [variable, of.value ? value(of.value) : { other: 'unknown' }]);
  const expected = evalError === undefined ? value(result) : { error: true };
  const bind = bound.length && { bound: Object.fromEntries(bound) };
  evaluated.push({ name, expr, ...(container && { container }), ...bind, expected });
}
const parsed = [...cases(await data('parsing'))].map(({ original, ast }) => ({ expr: original.expr, valid: ast !== undefined }));

const lines = (list) => list.map((one) => JSON.stringify(one)).join(',\n');
const about = `CEL conformance data of @bufbuild/cel-spec ${version}, ${license}; written by conformance/cel/extract.mjs`;
const text = `{"about":${JSON.stringify(about)},\n"evaluated":[\n${lines(evaluated)}\n],\n"parsed":[\n${lines(parsed)}\n]}\n`;
writeFileSync(new URL('conformance/cel/cases.json', root), text);
console.log(`${evaluated.length} cases of evaluation, ${parsed.length} of parsing`);
