// Builds dist/: ESM and CommonJS by Vite, types by the compiler. What is published is readable; how large it is in a page is told of a minified copy.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';

// Of the client, minified and gzipped. (8192 until it had to learn how long a message may be, and that a network is dead;
// 8704 until it had to tell a wrong path and an outage from what they look like.)
const BYTES_MAX = 8960;

const root = fileURLToPath(new URL('.', import.meta.url));
const dist = new URL('dist/', import.meta.url);

const options = (entry, formats, minify) => ({
  root,
  configFile: false,
  logLevel: 'warn',
  build: {
    target: 'es2022',
    minify,
    sourcemap: !minify,
    write: !minify,
    lib: { entry, formats, fileName: (format, name) => `${name}.${format === 'es' ? 'js' : 'cjs'}` },
    rollupOptions: { external: ['react'], output: { minify } },
  },
});

rmSync(dist, { recursive: true, force: true });
await build(options({ index: 'src/index.ts', react: 'src/react.ts' }, ['es', 'cjs'], false));
execFileSync('npx', ['tsc', '-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' });
// `require` wants declarations of its own kind.
for (const name of readdirSync(dist).filter((name) => name.endsWith('.d.ts'))) {
  const text = readFileSync(new URL(name, dist), 'utf8').replaceAll(/(from\s+['"]\.\/[\w-]+)\.js(['"])/g, '$1.cjs$2');
  writeFileSync(new URL(name.replace('.d.ts', '.d.cts'), dist), text);
}

const [{ output }] = await build(options('src/index.ts', ['es'], true));
// A page's bundler takes these hints, and leaves them out.
const code = output[0].code.replaceAll('/* @__PURE__ */ ', '');
const bytes = gzipSync(code, { level: 9 }).length;
console.log(`the client is ${bytes} bytes, minified and gzipped (at most ${BYTES_MAX})`);
if (bytes > BYTES_MAX) process.exit(1);
