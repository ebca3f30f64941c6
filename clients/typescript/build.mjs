// Builds dist/: ESM and CommonJS by Vite, types by the compiler. What is published is readable; how large it is in a page is told of a minified copy.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';

// Of the client, minified and gzipped. (8192 until it had to learn how long a message may be, and that a network is dead;
// 8704 until it had to tell a wrong path and an outage from what they look like; 8960 until it had to ask for views, and
// to refuse what can never work. Orders, limits and counts took the last 20 of these.
// 9024 until it had to tell a missing handler, and a proxy that allows only reading.
// 9104 until it had to tell a stream without links from an outage.
// 9144 until it had to show another token in time, and to ask for links again with it.
// 9420 until an application could say that another logs in, and ask who the server takes one for.)
const BYTES_MAX = 9504;
// What a page pays that imports `sorted` as well. Others leave it out.
const SORTED_BYTES_MAX = 560;

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

/** Bytes, minified and gzipped, that a page pays for importing these names of the client. */
async function bytesOf(names) {
  const page = {
    name: 'page',
    resolveId: (id) => (id.endsWith('/page') ? '/page' : undefined),
    load: (id) => (id === '/page' ? `export { ${names} } from '${root}src/index.ts'` : undefined),
  };
  const [{ output }] = await build({ ...options('/page', ['es'], true), plugins: [page] });
  // A page's bundler takes these hints, and leaves them out.
  return gzipSync(output[0].code.replaceAll('/* @__PURE__ */ ', ''), { level: 9 }).length;
}

const names = Object.keys(await import(new URL('index.js', dist))).filter((name) => name !== 'sorted');
const client = await bytesOf(names);
const sorted = (await bytesOf([...names, 'sorted'])) - client;
console.log(`the client is ${client} bytes, minified and gzipped (at most ${BYTES_MAX}); sorted() adds ${sorted} (at most ${SORTED_BYTES_MAX})`);
if (client > BYTES_MAX || sorted > SORTED_BYTES_MAX) process.exit(1);
