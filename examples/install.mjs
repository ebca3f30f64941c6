// The commands of docs/start/install.md, as tests: in an empty folder, beside which the checkout lies, as somebody has it who begins.
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const root = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');
/** Compiling takes a while on a machine that does nothing else meanwhile, and longer on others. */
const MS_MAX = 900_000;

const MAIN = `use halfping::{Api, Options};
use halfping_client::Client;
use halfping_pages::Pages;

fn main() {
    let _ = Client::new("http://127.0.0.1:1");
    let _ = Pages { console: true, demo: false }.router(Api::new(Options::default()).router());
}
`;

/** The commands below a heading of the page. */
function commands(heading) {
  const page = readFileSync(`${root}/docs/start/install.md`, 'utf8');
  const part = page.split(/^## /m).find((part) => part.startsWith(`${heading}\n`));
  const found = [...(part ?? '').matchAll(/^\$ (.*)$/gm)].map(([, command]) => command);
  assert.ok(found.length > 0, `the page has commands below "${heading}"`);
  return found;
}

/** `usesPage`: looks at the React page, which is served from the folder that it is given. */
export function installations({ run, usesPage }) {
  const around = mkdtempSync(join(tmpdir(), 'halfping-install-'));
  symlinkSync(root, join(around, 'halfping'));
  const folder = join(around, 'project');
  mkdirSync(folder);
  const env = {
    CARGO_INSTALL_ROOT: join(folder, 'cargo'),
    CARGO_TARGET_DIR: `${root}/target`,
    PATH: `${join(folder, 'cargo/bin')}:${process.env.PATH}`,
    // Building pages in this process has set it to 'production', and then npm leaves out what builds the client.
    NODE_ENV: 'development',
    npm_config_prefer_offline: 'true',
    npm_config_audit: 'false',
  };
  const type = (command, cwd = folder) => run('bash', ['-euc', command], { cwd, env, msMax: MS_MAX });
  const tests = {
    async 'install: the server'() {
      let said;
      // Compiled faster, to run slower.
      for (const command of commands('The server')) said = await type(command.replace('cargo install', 'cargo install --debug'));
      assert.match(said, /^halfping \d/);
    },

    async 'install: the client'() {
      writeFileSync(join(folder, 'package.json'), '{"private":true,"type":"module"}');
      for (const command of commands('The client')) await type(command);
      const page = join(folder, 'page');
      mkdirSync(page);
      for (const name of ['index.html', 'main.tsx']) cpSync(`${root}/examples/react/${name}`, join(page, name));
      // Without a word of how many Reacts there are.
      await build({ root: page, configFile: false, base: './', logLevel: 'warn' });
      await usesPage(join(page, 'dist'));
    },

    async 'install: in Rust'() {
      const project = join(folder, 'app');
      await type(`cargo init --quiet --vcs none ${project}`);
      cpSync(`${root}/Cargo.lock`, join(project, 'Cargo.lock')); // the versions that are tested
      const [add, ...more] = commands('In Rust');
      assert.deepEqual(more, []);
      await type(add.replace('https://github.com/halfping/halfping', `file://${root}`), project);
      writeFileSync(join(project, 'src/main.rs'), MAIN);
      await type('cargo check', project);
    },
  };
  return { tests, end: () => rmSync(around, { recursive: true, force: true }) };
}
