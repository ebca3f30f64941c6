// One request and its answer. Node's own client, so that nothing of Halfping tests itself.
import { Agent, request } from 'node:http';

const ANSWER_MS_MAX = 10_000;
const agent = new Agent({ keepAlive: true });

export const JSON_TYPE = 'application/json';
export const MERGE_PATCH = 'application/merge-patch+json';
export const JSON_PATCH = 'application/json-patch+json';

/** Sends a request; `body` is text or bytes, `type` its Content-Type, `token` a credential. Resolves to `{status, etag, type, subject, text}`. */
export function send(method, url, { body, type, token } = {}) {
  return new Promise((resolve, reject) => {
    const headers = {};
    if (type) headers['content-type'] = type;
    if (token !== undefined) headers.authorization = `Bearer ${token}`;
    if (body !== undefined) headers['content-length'] = Buffer.byteLength(body);
    const sent = request(url, { method, headers, agent, timeout: ANSWER_MS_MAX }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('error', reject);
      answer.on('end', () =>
        resolve({
          status: answer.statusCode,
          etag: answer.headers.etag?.replace(/^"|"$/g, ''),
          type: answer.headers['content-type'],
          subject: answer.headers['halfping-subject'],
          text: Buffer.concat(parts).toString(),
        }),
      );
    });
    sent.on('timeout', () => sent.destroy(new Error(`no answer after ${ANSWER_MS_MAX} ms`)));
    sent.on('error', (error) => reject(new Error(`${method} ${url}: ${error.message}`)));
    sent.end(body);
  });
}

/** The problem's name in an error answer (PROTOCOL X1), or a sentence about what is wrong with the answer. */
export function problemName({ status, type, text }) {
  if (!type?.startsWith('application/problem+json')) return `(${status} without a problem document)`;
  return /^urn:halfping:problem:([a-z-]+)$/.exec(JSON.parse(text).type)?.[1] ?? `(unknown type in ${text})`;
}
