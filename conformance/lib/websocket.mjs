// A WebSocket client that can also say what no client should: RFC 6455 by hand, over HTTP/1.1 or (RFC 8441) HTTP/2.
//
// It is strict about what comes, and sends whatever bytes it is given.
import { createHash, randomBytes } from 'node:crypto';
import { connect as connectHttp2, constants } from 'node:http2';
import { connect } from 'node:net';
import { deflateRawSync, inflateRawSync } from 'node:zlib';

const OPEN_MS_MAX = 10_000;
const OPCODES = { 0: 'continuation', 1: 'text', 2: 'binary', 8: 'close', 9: 'ping', 10: 'pong' };
const FLUSHED = Buffer.from([0, 0, 0xff, 0xff]);
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The ways in which a session may travel: on which HTTP, and whether compression is offered. */
export const CARRIERS = {
  'http/1.1': { http: 1 },
  'http/1.1 deflated': { http: 1, deflate: true },
  'http/2': { http: 2 },
};

/**
 * Asks for a WebSocket. `headers` replace the usual ones; one that is null is left out. Resolves to `{status, headers, body}`, and
 * `socket` when it was opened. What comes is given to `receive` in order: `{type, …}` with the types of frames (messages are
 * whole), `end` when the connection ended, and `fault` when what came is not allowed.
 */
export function openWebSocket({ port, target, headers = {}, carrier, receive }) {
  const asked = { 'sec-websocket-version': '13', 'sec-websocket-protocol': 'halfping.v1' };
  if (carrier.deflate) asked['sec-websocket-extensions'] = 'permessage-deflate';
  for (const [name, value] of Object.entries(headers)) asked[name.toLowerCase()] = value;
  const opening = carrier.http === 2 ? overHttp2 : overHttp1;
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer to the handshake after ${OPEN_MS_MAX} ms`)), OPEN_MS_MAX);
    const done = (answer) => {
      clearTimeout(timer);
      const { duplex, cut, rest } = answer;
      if (duplex) answer.socket = new Socket({ duplex, cut, rest, receive, extensions: answer.headers['sec-websocket-extensions'] });
      resolve(answer);
    };
    const fail = (error) => (clearTimeout(timer), reject(error));
    opening({ port, target, asked, done, fail });
  });
}

function overHttp1({ port, target, asked, done, fail }) {
  const key = randomBytes(16).toString('base64');
  const usual = { host: `127.0.0.1:${port}`, connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-key': key };
  const lines = Object.entries({ ...usual, ...asked }).filter(([, value]) => value !== null);
  const socket = connect(port, '127.0.0.1');
  socket.setNoDelay(true);
  socket.on('error', fail); // After the handshake nobody listens to this any more.
  socket.write(`GET ${target} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`);
  let bytes = Buffer.alloc(0);
  const read = (part) => {
    bytes = Buffer.concat([bytes, part]);
    const end = bytes.indexOf('\r\n\r\n');
    if (end < 0) return;
    const [first, ...rest] = bytes.subarray(0, end).toString('latin1').split('\r\n');
    const status = Number(first.split(' ')[1]);
    const headers = Object.fromEntries(rest.map((line) => [line.split(':')[0].toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]));
    const after = bytes.subarray(end + 4);
    if (status === 101) {
      socket.off('data', read);
      const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
      if (!('sec-websocket-key' in asked) && headers['sec-websocket-accept'] !== accept) {
        fail(new Error(`Sec-WebSocket-Accept is ${headers['sec-websocket-accept']} and should be ${accept}`));
      }
      done({ status, headers, body: '', duplex: socket, cut: () => socket.resetAndDestroy(), rest: after });
    } else if (after.length >= Number(headers['content-length'] ?? 0)) {
      socket.destroy();
      done({ status, headers, body: after.toString() });
    }
  };
  socket.on('data', read);
  socket.on('close', () => fail(new Error('the connection ended before the answer to the handshake')));
}

function overHttp2({ port, target, asked, done, fail }) {
  const connection = connectHttp2(`http://127.0.0.1:${port}`);
  connection.on('error', fail);
  connection.once('remoteSettings', (settings) => {
    if (!settings.enableConnectProtocol) return fail(new Error('the server does not set SETTINGS_ENABLE_CONNECT_PROTOCOL'));
    const headers = Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== null));
    const stream = connection.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': target, ...headers }, { endStream: false });
    stream.on('error', fail);
    stream.once('response', (answer) => {
      const status = answer[':status'];
      const cut = () => connection.destroy(undefined, constants.NGHTTP2_CANCEL);
      if (status === 200) return done({ status, headers: answer, body: '', duplex: stream, cut, rest: Buffer.alloc(0) });
      const parts = [];
      stream.on('data', (part) => parts.push(part));
      stream.on('end', () => (connection.destroy(), done({ status, headers: answer, body: Buffer.concat(parts).toString() })));
    });
  });
}

/** An open WebSocket. */
class Socket {
  #duplex;
  #receive;
  #bytes;
  #parts = []; // of a message that is not whole yet
  #type;
  #packed = false;
  #ended = false;
  #sentOpening = false; // of a message in parts

  constructor({ duplex, cut, rest, receive, extensions }) {
    this.#duplex = duplex;
    this.#receive = receive;
    this.#bytes = rest;
    this.extensions = extensions;
    this.deflates = extensions !== undefined;
    this.cut = () => ((this.#ended = true), cut());
    const end = () => {
      if (!this.#ended) this.#receive({ type: 'end', clean: this.#bytes.length === 0 });
      this.#ended = true;
    };
    duplex.removeAllListeners('error');
    duplex.removeAllListeners('close');
    duplex.on('data', (part) => ((this.#bytes = Buffer.concat([this.#bytes, part])), this.#read()));
    for (const event of ['end', 'close', 'error']) duplex.on(event, end);
    queueMicrotask(() => this.#read());
  }

  /** Bytes as they are, which need not be a frame. */
  bytes(bytes) {
    if (!this.#ended) this.#duplex.write(bytes);
  }

  /** A frame with a mask; `last` is its FIN bit. */
  frame(opcode, payload, { last = true, packed = false } = {}) {
    const mask = randomBytes(4);
    const masked = Buffer.from(payload.map((byte, at) => byte ^ mask[at % 4]));
    const [marker, wide] = payload.length < 126 ? [payload.length, 0] : payload.length < 65_536 ? [126, 2] : [127, 8];
    const length = Buffer.alloc(wide);
    if (wide === 2) length.writeUInt16BE(payload.length);
    if (wide === 8) length.writeBigUInt64BE(BigInt(payload.length));
    const head = Buffer.from([(last ? 0x80 : 0) | (packed ? 0x40 : 0) | opcode, 0x80 | marker]);
    this.bytes(Buffer.concat([head, length, mask, masked]));
  }

  /** A text message, or with `last: false` a part of one that the next goes on with. */
  text(text, { last = true } = {}) {
    const opcode = this.#sentOpening ? 0 : 1;
    this.#sentOpening = !last;
    let payload = Buffer.from(text);
    const packed = this.deflates && last && opcode === 1;
    // Flushed, as a compressor does that goes on after the message, less the four bytes that RFC 7692 leaves out.
    if (packed) payload = deflateRawSync(payload, { finishFlush: 2 }).subarray(0, -4);
    this.frame(opcode, payload, { last, packed });
  }

  ping(text) {
    this.frame(9, Buffer.from(text));
  }

  pong(text) {
    this.frame(10, Buffer.from(text));
  }

  close(code) {
    const payload = Buffer.alloc(code === undefined ? 0 : 2);
    if (code !== undefined) payload.writeUInt16BE(code);
    this.frame(8, payload);
  }

  end() {
    this.#duplex.end();
  }

  #read() {
    try {
      while (!this.#ended && this.#readFrame());
    } catch (error) {
      this.#receive({ type: 'fault', what: error.message });
      this.cut();
    }
  }

  #readFrame() {
    const bytes = this.#bytes;
    if (bytes.length < 2) return false;
    const [first, second] = bytes;
    const short = second & 0x7f;
    const wide = short === 126 ? 2 : short === 127 ? 8 : 0;
    if (bytes.length < 2 + wide) return false;
    const length = wide === 2 ? bytes.readUInt16BE(2) : wide === 8 ? Number(bytes.readBigUInt64BE(2)) : short;
    if (bytes.length < 2 + wide + length) return false;
    const payload = bytes.subarray(2 + wide, 2 + wide + length);
    this.#bytes = bytes.subarray(2 + wide + length);

    const type = OPCODES[first & 15];
    const last = (first & 0x80) !== 0;
    const packed = (first & 0x40) !== 0;
    const must = (holds, what) => {
      if (!holds) throw new Error(`a frame (first bytes ${bytes.subarray(0, 12).toString('hex')}) ${what}`);
    };
    must(type !== undefined, 'has an unknown opcode');
    must((second & 0x80) === 0, 'of the server has a mask');
    must((first & 0x30) === 0, 'has a reserved bit');
    must(!packed || (this.deflates && (type === 'text' || type === 'binary')), 'is compressed and may not be');
    must(wide !== 2 || length > 125, 'has a longer length than it needs');
    must(wide !== 8 || length > 65_535, 'has a longer length than it needs');
    if ((first & 8) !== 0) {
      must(last && length <= 125, 'is a control frame in parts, or too long');
      this.#receive(type === 'close' ? closing(payload) : { type, text: payload.toString() });
      return true;
    }
    must((type === 'continuation') === this.#parts.length > 0, 'continues nothing, or interrupts a message');
    if (type !== 'continuation') [this.#type, this.#packed] = [type, packed];
    this.#parts.push(payload);
    if (!last) return true;
    let whole = Buffer.concat(this.#parts);
    this.#parts = [];
    if (this.#packed) whole = inflateRawSync(Buffer.concat([whole, FLUSHED]), { finishFlush: 2 });
    if (this.#type === 'text') this.#receive({ type: 'text', text: utf8.decode(whole), packed: this.#packed });
    else this.#receive({ type: 'binary', text: whole.toString('hex') });
    return true;
  }
}

function closing(payload) {
  return payload.length === 0 ? { type: 'close' } : { type: 'close', code: payload.readUInt16BE(0), text: utf8.decode(payload.subarray(2)) };
}
