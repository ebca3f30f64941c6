// Builds dist/: ESM and CommonJS by Vite, types by the compiler.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';

const dist = new URL('dist/', import.meta.url);
rmSync(dist, { recursive: true, force: true });
await build({
  configFile: false,
  logLevel: 'warn',
  build: {
    outDir: 'dist',
    target: 'es2022',
    minify: true,
    sourcemap: true,
    lib: { entry: { index: 'src/index.ts', react: 'src/react.ts' }, formats: ['es', 'cjs'], fileName: (format, name) => `${name}.${format === 'es' ? 'js' : 'cjs'}` },
    rollupOptions: { external: ['react'], output: { minify: true } },
  },
});
execFileSync('npx', ['tsc', '-p', 'tsconfig.build.json'], { stdio: 'inherit' });
// `require` wants declarations of its own kind.
for (const name of readdirSync(dist).filter((name) => name.endsWith('.d.ts'))) {
  const text = readFileSync(new URL(name, dist), 'utf8').replaceAll(/(from\s+['"]\.\/[\w-]+)\.js(['"])/g, '$1.cjs$2');
  writeFileSync(new URL(name.replace('.d.ts', '.d.cts'), dist), text);
}
const bytes = gzipSync(readFileSync(new URL('index.js', dist)), { level: 9 }).length;
console.log(`dist/index.js: ${bytes} bytes gzip`);
if (bytes > 8192) throw new Error('the client is larger than 8 KB');
