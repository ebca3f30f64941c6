import { defineConfig } from 'vitest/config';

/** The tests that mutants are tried against: those without IO. See test/mutation.md. */
export default defineConfig({ test: { include: ['test/machine.test.ts', 'test/value.test.ts', 'test/conversations/*.test.ts'] } });
