import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** The server that pages under development talk to. */
const server = process.env['HALFPING_URL'] ?? 'http://127.0.0.1:7070';

export default defineConfig({
  // Wherever the API is mounted: all addresses are relative.
  base: './',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  resolve: { alias: { halfping: here('../clients/typescript/src/index.ts') } },
  build: {
    outDir: process.env['HALFPING_WEB_OUT'] ?? here('dist'),
    emptyOutDir: true,
    // Served beside the pages, under a name that no resource can have.
    assetsDir: '_assets',
    target: 'es2022',
    modulePreload: { polyfill: false },
    rollupOptions: { input: { console: here('console/index.html'), demo: here('demo/index.html') } },
  },
  server: { proxy: { '^/(?!console/|demo/(?!updates)|@|node_modules|clients)': { target: server, ws: true } } },
});
