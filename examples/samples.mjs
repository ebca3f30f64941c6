// The code in the documentation's pages, as tests: `sh` (with `halfping` on its path), `python` and `html` are run as they stand, `js` and `ts` as modules of a page,
// `rust` is compared with sources that Cargo compiles, the types of `ts`, `tsx`, and of `js` with the client are checked. Blocks of another kind (`console`, `text`, configurations) are not run.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { delimiter, dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transformWithOxc } from 'vite';
import { binary } from '../conformance/lib/server.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const HALFPING = readFileSync(`${root}clients/typescript/dist/index.js`);

/** A page for a sample. It notes what a person would see: the sample logs something, or changes the page. */
const PAGE = (script) => `<!doctype html><link rel="icon" href="data:,"><title>·</title>
<script type="importmap">{"imports":{"halfping":"/halfping.js"}}</script><body><script type="module">
const log = console.log;
console.log = (...words) => (log(...words), (window.seen = true));
new MutationObserver(() => (window.seen = true)).observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
await import("${script}");
window.evaluated = true;
</script></body>`;

const sources = ['halfping/examples/axum.rs', 'halfping/src/lib.rs', 'halfping/src/view.rs', 'client/src/lib.rs', 'pages/src/lib.rs']
  .map((path) => readFileSync(`${root}crates/${path}`, 'utf8').replaceAll(/^\/\/[!/] ?/gm, ''))
  .join('\n');

const python = [`${root}.tools/docs/bin/python`, 'python3'].find((program) => !program.includes('/') || existsSync(program));

/** The pages whose server has a configuration of its own. A test of the binary runs them: `crates/cli/tests/binary/who_may_see_what.rs`. */
const CONFIGURED = ['guides/who-may-see-what.md'];

/** Every block of code of the other pages, but for those of files (`title="FOLDER/FILE"`), which are run by themselves. */
const all = readdirSync(`${root}docs`, { recursive: true })
  .filter((name) => name.endsWith('.md') && !name.startsWith('adr') && !CONFIGURED.includes(name))
  .sort()
  .flatMap((file) => [...blocks(readFileSync(`${root}docs/${file}`, 'utf8'))].map((block) => ({ ...block, name: `docs/${file}:${block.line}` })));

/** Those whose types are to be checked. What is written in JavaScript is pasted into TypeScript too. */
export const typedSamples = () => all.filter(({ kind, text }) => kind === 'ts' || kind === 'tsx' || (kind === 'js' && text.includes('from "halfping')));

/** Tests, by name: file and line. */
export function samples({ url, run, inPage, texts }) {
  texts.set('/halfping.js', HALFPING);
  const tests = {};
  for (const { kind, text, name } of all.filter(({ kind }) => kind in KINDS)) {
    const here = kind === 'rust' ? text : text.replaceAll('http://127.0.0.1:7070', url);
    tests[name] = () => KINDS[kind]({ text: here, name, run, inPage, texts });
  }
  assert.ok(Object.keys(tests).length > 10, 'the documentation has samples: are they still found?');
  return tests;
}

const seen = async (page) => {
  await page.waitForFunction(() => window.evaluated && window.seen);
};

const KINDS = {
  async sh({ text, run }) {
    // What does not end by itself has done its part with the first line.
    const endless = /curl -s?N|while /.test(text);
    const out = await run('bash', ['-euo', 'pipefail', '-c', text], {
      enough: (out) => endless && out.includes('\n'),
      env: { PATH: `${dirname(resolve(binary))}${delimiter}${process.env.PATH}` },
    });
    if (endless || !/-X PUT/.test(text)) assert.ok(out, 'it prints something');
    assert.doesNotMatch(out, /urn:halfping:problem/);
  },
  async python({ text, run }) {
    assert.ok(await run(python, ['-c', text]), 'it prints something');
  },
  async js({ text, name, inPage, texts }) {
    const path = `/${name.replaceAll(/\W+/g, '-')}`;
    texts.set(`${path}.js`, text);
    texts.set(path, PAGE(`${path}.js`));
    await inPage(path, seen);
  },
  async ts(sample) {
    const { code } = await transformWithOxc(sample.text, 'sample.ts');
    await KINDS.js({ ...sample, text: code });
  },
  async html({ text, name, inPage, texts }) {
    const path = `/${name.replaceAll(/\W+/g, '-')}`;
    texts.set(path, `<!doctype html><link rel="icon" href="data:,"><body>${text}</body>`);
    await inPage(path, (page) => page.waitForFunction(() => /\d/.test(document.body.innerText)));
  },
  async rust({ text }) {
    let from = 0;
    for (const line of text.split('\n').filter((line) => line.trim())) {
      const at = sources.indexOf(`${line}\n`, from);
      assert.ok(at >= 0, `no source that is compiled has, after the lines before it: ${line}`);
      from = at;
    }
  },
};

function* blocks(text) {
  let block;
  for (const [number, line] of text.split('\n').entries()) {
    const fence = /^\s*```(.*)$/.exec(line);
    if (!fence) block?.lines.push(line);
    else if (block) {
      yield { kind: block.kind, line: block.line, text: block.lines.join('\n') };
      block = undefined;
    } else block = { kind: fence[1].includes('/') ? 'file' : fence[1].split(' ')[0], line: number + 1, lines: [] };
  }
}
