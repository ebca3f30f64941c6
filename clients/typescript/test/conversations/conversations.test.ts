/** The client plays its part of every conversation file, as the server does in conformance/conversations/run.mjs. */
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, test } from 'vitest';
import { Player, sideOf, type Variant } from './player.js';

const folder = fileURLToPath(new URL('../../../../conformance/conversations/', import.meta.url));
const files = ['sessions/', 'events/']
  .flatMap((kind) => readdirSync(folder + kind).map((name) => kind + name))
  .filter((name) => name.endsWith('.txt') && sideOf(folder + name) !== 'server');

describe.each(files)('%s', (name) => {
  // What may come or not: never, once, twice.
  test.each([0, 1, 2] as Variant[])('%i', async (variant) => {
    await new Player(folder + name, variant).play();
  });
});
