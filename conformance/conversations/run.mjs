// Plays the client's part of every conversation with the real binary. README.md beside this file says what a file may say.
//
//   node conformance/conversations/run.mjs [NAME...]       all, or those whose path contains one of these words
import { readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Fault, parse, shorten } from '../lib/conversation.mjs';
import { CARRIERS } from '../lib/websocket.mjs';
import { FORMATS, Play } from './play.mjs';

const PLAYING_MS_MAX = 60_000;
const AT_ONCE = 3; // playings: many of them mostly wait
const HEARD_SHOWN_MAX = 12;

const here = fileURLToPath(new URL('.', import.meta.url));
const wanted = process.argv.slice(2);
const files = readdirSync(here, { recursive: true })
  .filter((name) => name.endsWith('.txt') && (wanted.length === 0 || wanted.some((word) => name.includes(word))))
  .sort();
if (files.length === 0) {
  console.error(`no conversation's path contains ${wanted.join(' or ')}`);
  process.exit(2);
}

const playings = [];
let failures = 0;
for (const name of files) {
  try {
    const conversation = parse(join(here, name));
    if (conversation.side === 'client') continue;
    const opens = (kind) => conversation.steps.some(({ word, rest }) => word === 'open' && rest.startsWith(`${kind} `));
    const carriers = opens('ws') ? Object.keys(CARRIERS) : opens('events') ? Object.keys(FORMATS) : [undefined];
    const wanted = carriers.filter((carrier) => conversation.over === undefined || carrier === conversation.over);
    for (const carrier of wanted) playings.push({ name, conversation, carrier });
  } catch (error) {
    fail({ name }, error);
  }
}
let passed = 0;
const queue = [...playings];
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    for (let playing = queue.shift(); playing; playing = queue.shift()) {
      const play = new Play(playing);
      try {
        const late = pause(PLAYING_MS_MAX, undefined, { ref: false }).then(() => {
          throw new Error(`it was not over after ${PLAYING_MS_MAX} ms`);
        });
        await Promise.race([play.all(), late]);
        passed += 1;
      } catch (error) {
        fail(playing, error, play);
      }
    }
  }),
);
console.log(`conversations: ${files.length} files; ${passed} passed, ${failures} failed`);
process.exit(failures > 0 ? 1 : 0);

function fail({ name, carrier }, error, play) {
  failures += 1;
  const file = relative(process.cwd(), join(here, name));
  const place = error.step ? `${file}:${error.step.at}` : file;
  console.log(`FAILED ${place}${carrier ? ` over ${carrier}` : ''}`);
  if (error.step) console.log(`    ${shorten(error.step.line.trim(), 300)}`);
  console.log(`  ${(error instanceof Fault ? error.message : error.stack).replaceAll('\n', '\n  ')}`);
  const heard = play?.heard.slice(-HEARD_SHOWN_MAX) ?? [];
  if (heard.length > 0) console.log(`  before that:\n    ${heard.join('\n    ')}`);
  console.log(`  to repeat: node conformance/conversations/run.mjs ${name}`);
}
