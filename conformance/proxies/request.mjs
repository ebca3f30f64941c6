// Requests whose target goes out as it is written, to any port and under any name.
import { request } from 'node:http';
import { openWebSocket } from '../lib/websocket.mjs';

const ANSWER_MS_MAX = 10_000;

/**
 * Sends a request to `at` (`{port, host}`). Resolves to `{status, headers, text}`; with `until`, when the text so far is enough.
 */
export function ask(at, method, target, { body, headers = {}, until } = {}) {
  return new Promise((resolve, reject) => {
    const typed = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    // Node writes a target byte for byte when it is given as Latin-1.
    const path = Buffer.from(target).toString('latin1');
    const all = { host: at.host, ...typed, ...headers };
    const sent = request({ port: at.port, host: '127.0.0.1', method, path, headers: all, agent: false, timeout: ANSWER_MS_MAX }, (answer) => {
      let text = '';
      const done = () => resolve({ status: answer.statusCode, headers: answer.headers, text });
      answer.setEncoding('utf8');
      answer.on('data', (part) => {
        text += part;
        if (until?.(text)) (done(), sent.destroy());
      });
      answer.on('error', reject);
      answer.on('end', done);
    });
    sent.method = method; // Node has written it in capitals
    sent.on('timeout', () => sent.destroy(new Error(`no answer after ${ANSWER_MS_MAX} ms`)));
    sent.on('error', (error) => reject(new Error(`${method} ${target}: ${error.message}`)));
    sent.end(body === undefined ? undefined : Buffer.from(body)); // bytes: else Node writes the target as UTF-8 again
  });
}

/**
 * Sends commands to `/_streams` (PROTOCOL M4). Caddy 2.6 at times closes its connection to the server when the answer begins before it has
 * seen that the request has ended, and ends the stream before it said a word. Clients then open another, and so does this.
 */
export async function askStream(at, target, commands, { headers = {}, until }) {
  for (let left = 10; ; left--) {
    const body = JSON.stringify(commands);
    const answer = await ask(at, 'POST', target, { body, headers: { accept: 'text/event-stream', ...headers }, until });
    if (answer.status !== 200 || answer.text !== '' || !left) return answer;
  }
}

/** Opens a session. Resolves to `{status, headers}`, `cut()`, and when it is open `say(command)` and `next(wanted)`. */
export async function openSession(at, target, headers = {}) {
  const heard = [];
  let wake = () => {};
  const receive = (event) => {
    if (event.type === 'text') heard.push(JSON.parse(event.text));
    else if (event.type !== 'ping') heard.push({ ended: event });
    wake();
  };
  const opened = await openWebSocket({ port: at.port, target, headers: { host: at.host, ...headers }, carrier: { http: 1 }, receive });
  return {
    status: opened.status,
    headers: opened.headers,
    say: (command) => opened.socket.text(JSON.stringify(command)),
    cut: () => opened.socket?.cut(),
    /** The first message, of those that were not taken yet, of which `wanted` makes something. */
    async next(wanted) {
      for (const deadline = Date.now() + ANSWER_MS_MAX; ; ) {
        while (heard.length) {
          const message = heard.shift();
          const found = wanted(message);
          if (found !== undefined) return found;
          if (message.ended) throw new Error(`the session ended: ${JSON.stringify(message.ended)}`);
        }
        const left = deadline - Date.now();
        if (left <= 0) throw new Error(`no such message within ${ANSWER_MS_MAX} ms`);
        await new Promise((resolve) => {
          const timer = setTimeout(resolve, left);
          wake = () => (clearTimeout(timer), resolve());
        });
      }
    },
  };
}
