// The Python that `cargo xtask test` set up; else the system's, which may do.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The program, and what its environment needs. */
export function python() {
  const tools = fileURLToPath(new URL('../../.tools/', import.meta.url));
  const environment = `${tools}venv/bin/python`;
  return existsSync(environment) ? [environment, {}] : ['python3', { PYTHONPATH: `${tools}python` }];
}
