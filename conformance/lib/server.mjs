// Starts the binary under test and says where it listens.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const START_MS_MAX = 15_000;
const STOP_MS_MAX = 5_000;

/** The binary: `HALFPING_BIN`, or what `cargo build` made. */
export const binary = process.env.HALFPING_BIN ?? `${root}target/debug/halfping`;

/** A running server: `url`, `port`, `complaint()` when it died or panicked, `begin()` to ask it to stop, and `stop()`. */
export async function startServer(...extra) {
  if (!existsSync(binary)) {
    throw new Error(`${binary} is not there. Run: cargo xtask test build, or set HALFPING_BIN`);
  }
  const storage = extra.includes('--data') ? [] : ['--memory'];
  return startProgram(binary, ['serve', ...storage, '--listen', '127.0.0.1:0', ...extra]);
}

/** The same of any program that says on which port of 127.0.0.1, or of another address, it listens. */
export async function startProgram(program, words, address = '127.0.0.1') {
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let ended; // how it ended, when it did
  let stopping = false;
  const exit = new Promise((resolve) => {
    child.once('error', (error) => resolve((ended = error.message)));
    child.once('exit', (code, signal) => resolve((ended = `it ended with ${signal ?? code}`)));
  });
  const killAtExit = () => child.kill('SIGKILL');
  process.once('exit', killAtExit);

  const port = await new Promise((resolve, reject) => {
    const fail = (why) => reject(new Error(`${program} did not start: ${why}. It said:\n${output || '(nothing)'}`));
    const timer = setTimeout(() => fail(`no address after ${START_MS_MAX} ms`), START_MS_MAX);
    exit.then((how) => (clearTimeout(timer), fail(how)));
    const read = (bytes) => {
      output = (output + bytes).slice(-100_000);
      const said = new RegExp(`(?:${address.replaceAll('.', '\\.')}|localhost):([1-9]\\d*)\\D`).exec(output);
      if (said) (clearTimeout(timer), resolve(Number(said[1])));
    };
    child.stdout.on('data', read);
    child.stderr.on('data', read);
  });

  return {
    port,
    url: `http://${address}:${port}`,
    complaint() {
      if (ended !== undefined && !stopping) return `the server is gone: ${ended}. It said:\n${output}`;
      if (/panicked at/.test(output)) return `the server panicked:\n${output}`;
    },
    begin() {
      stopping = true;
      child.kill('SIGTERM');
    },
    async stop() {
      this.begin();
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX);
      await exit;
      clearTimeout(timer);
      process.off('exit', killAtExit);
    },
  };
}
