// Reads conversations (conformance/conversations/README.md) and compares what came with what they expect.
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';

/** A line of a file that cannot be played, or that was not kept to. */
export class Fault extends Error {
  constructor(step, message) {
    super(message);
    this.step = step;
  }
}

const MARKS = ['>', '<', '<?', '<*'];
const WORDS = ['write', 'there', 'open', 'cut', 'passes', 'drain', 'until', 'quiet', 'do', 'mirror', 'told'];
const SETTINGS = ['limits', 'cors', 'token', 'rule', 'revocations', 'for', 'over'];

/** The content of a file: `{limits, cors, tokens, rules, revocations, side, carriers, steps}`; a step is `{at, line, speaker, word, rest, more}`. */
export function parse(file) {
  const conversation = { limits: {}, cors: undefined, tokens: new Map(), rules: [], revocations: undefined, side: 'both', over: undefined, steps: [] };
  const lines = readFileSync(file, 'utf8').split('\n');
  for (const [index, whole] of lines.entries()) {
    const line = unroll(whole);
    const at = index + 1;
    if (/^\s*(#|$)/.test(line)) continue;
    if (/^\s/.test(line)) {
      const last = conversation.steps.at(-1);
      if (!last) throw new Fault({ at, line: whole }, 'an indented line goes on with a step, and there is none before it');
      last.more.push(line.trim());
      continue;
    }
    const [, speaker = 'client', word, rest = ''] = /^(?:([a-z]+): )?(\S+)(?: (.*))?$/.exec(line) ?? [];
    if (SETTINGS.includes(word) && conversation.steps.length === 0) set(conversation, word, rest, { at, line: whole });
    else if (MARKS.includes(word) || WORDS.includes(word)) {
      conversation.steps.push({ at, line: whole, speaker, word, rest, more: [] });
    } else throw new Fault({ at, line: whole }, `a line cannot begin with \`${word}\``);
  }
  return conversation;
}

function set(conversation, word, rest, place) {
  const words = rest.split(' ');
  if (word === 'limits') for (const limit of words) conversation.limits[limit.split('=')[0]] = Number(limit.split('=')[1]);
  if (word === 'cors') conversation.cors = words.filter((origin) => origin !== 'none');
  if (word === 'token') conversation.tokens.set(words[0], JSON.parse(rest.slice(words[0].length)));
  if (word === 'rule') conversation.rules.push(rule(rest, place));
  if (word === 'revocations') conversation.revocations = rest;
  if (word === 'for') conversation.side = rest;
  if (word === 'over') conversation.over = rest;
}

/** `allow read,update /orders/{order} when CONDITION`. */
function rule(text, place) {
  const [, effect, verbs, path, sense, condition] = /^(allow|deny) (\S+) (\S+)(?: (when|unless) (.+))?$/.exec(text) ?? [];
  if (effect === undefined) throw new Fault(place, 'a rule is: rule allow read,update /a/{b} when CONDITION');
  return { [effect]: verbs.split(','), path, ...(sense && { [sense]: condition }) };
}

/** `{{x*3}}` stands for `xxx`, so that long things fit a line. */
function unroll(line) {
  return line.replace(/\{\{(.+?)\*(\d+)\}\}/g, (_, text, count) => text.repeat(Number(count)));
}

/** The values that stand for names in one playing of a file: cursors, numbers, times. */
export class Names {
  #values = new Map();
  #next = 1;

  get(name) {
    return this.#values.get(name);
  }

  set(name, value) {
    this.#values.set(name, value);
  }

  /** The value, made up if it has none yet and is the client's to choose. */
  choose(name, step) {
    if (!this.#values.has(name)) {
      if (!/^\$(id|ref)/.test(name)) throw new Fault(step, `${name} has no value yet, and is not the client's to choose`);
      this.#values.set(name, this.#next);
      this.#next += 1;
    }
    return this.#values.get(name);
  }

  /** JSON to be sent: names outside strings become values, everything else stays as it is written. */
  fill(text, step) {
    return outsideStrings(text, (piece) => piece.replace(/\$\w+/g, (name) => JSON.stringify(this.choose(name, step))));
  }

  /** Names in text that is no JSON, such as a URL. */
  fillPlain(text, step) {
    return text.replace(/\$\w+/g, (name) => String(this.choose(name, step)));
  }

  /** The place at which `value` differs from the pattern, in words, or undefined; names without a value get theirs only when all agrees. */
  compare(pattern, value) {
    const found = new Map();
    const difference = this.#differs(pattern, value, '', found);
    if (difference === undefined) for (const [name, bound] of found) this.#values.set(name, bound);
    return difference;
  }

  /** The same of text that is no JSON: names, and `*` at the end for any rest. */
  compareText(pattern, text) {
    const names = [];
    const source = pattern.split(/(\$\w+)/).map((piece) => {
      if (!piece.startsWith('$')) return piece.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/\\\*$/, '.*');
      const known = this.#values.get(piece);
      if (known !== undefined) return String(known).replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
      names.push(piece);
      return '([A-Za-z0-9._~-]+)';
    });
    const found = new RegExp(`^${source.join('')}$`, 's').exec(text);
    if (!found) return 'it is another text';
    names.forEach((name, at) => this.#values.set(name, found[at + 1]));
  }

  #differs(pattern, value, at, found) {
    const where = at === '' ? 'the whole' : at;
    const show = (node) => (node === undefined ? 'nothing' : shorten(JSON.stringify(node)));
    if (isObject(pattern) && NAME in pattern) {
      const name = pattern[NAME];
      if (name === '*') return value === undefined ? `${where} is missing` : undefined;
      const known = this.#values.get(name) ?? found.get(name);
      if (known !== undefined) return known === value ? undefined : `${where} is ${show(value)} and ${name} is ${show(known)}`;
      const kind = kindOf(name);
      if (!kind.test(value)) return `${where} is ${show(value)} and should be ${kind.what}, to be called ${name}`;
      // Two names are two things: else a server that never moves its cursor would pass.
      const same = [...this.#values, ...found].find(([other, taken]) => taken === value && other.startsWith('$rev') && name.startsWith('$rev'));
      if (same) return `${where} is ${show(value)}, which is ${same[0]} already and should be another, ${name}`;
      found.set(name, value);
      return;
    }
    if (isObject(pattern) && isObject(value)) {
      const open = MORE in pattern;
      for (const name of Object.keys(pattern)) {
        if (name === MORE) continue;
        if (!(name in value)) return `${at}/${name} is missing and should be ${show(pattern[name])}`;
        const difference = this.#differs(pattern[name], value[name], `${at}/${name}`, found);
        if (difference) return difference;
      }
      const extra = Object.keys(value).find((name) => !(name in pattern));
      return extra === undefined || open ? undefined : `${at}/${extra} is ${show(value[extra])} and should not be there`;
    }
    if (Array.isArray(pattern) && Array.isArray(value)) {
      if (at === '/set' && pattern.length === value.length) return this.#differsInTurns(pattern, value, at, found);
      const open = isObject(pattern.at(-1)) && MORE in pattern.at(-1);
      if (open) return this.#differs(pattern.slice(0, -1), value.slice(0, pattern.length - 1), at, found);
      for (let index = 0; index < Math.max(pattern.length, value.length); index += 1) {
        if (index >= pattern.length) return `${at}/${index} is ${show(value[index])} and should not be there`;
        if (index >= value.length) return `${at}/${index} is missing and should be ${show(pattern[index])}`;
        const difference = this.#differs(pattern[index], value[index], `${at}/${index}`, found);
        if (difference) return difference;
      }
      return;
    }
    return isDeepStrictEqual(pattern, value) ? undefined : `${where} is ${show(value)} and should be ${show(pattern)}`;
  }

  /** The list of a message of state: in which turn links are served is not promised (PROTOCOL L5, L7). */
  #differsInTurns(pattern, value, at, found) {
    const left = [...value];
    for (const [index, one] of pattern.entries()) {
      let first;
      const place = left.findIndex((other) => {
        const tried = new Map(found);
        const difference = this.#differs(one, other, `${at}/${index}`, tried);
        first ??= difference;
        if (difference === undefined) for (const [name, bound] of tried) found.set(name, bound);
        return difference === undefined;
      });
      if (place < 0) return first ?? `${at}/${index} is missing`;
      left.splice(place, 1);
    }
  }
}

const NAME = '\u0000name';
const MORE = '\u0000more';

/** A pattern of JSON: names, `*` for anything, and `...` in an object for any other members. */
export function pattern(text, step) {
  const plain = outsideStrings(text, (piece) =>
    piece
      .replace(/\.\.\.(?=\s*\])/g, `{${JSON.stringify(MORE)}:0}`)
      .replace(/\.\.\./g, `${JSON.stringify(MORE)}:0`)
      .replace(/\$\w+|\*/g, (found) => `{${JSON.stringify(NAME)}:${JSON.stringify(found)}}`),
  );
  try {
    return JSON.parse(plain);
  } catch (error) {
    throw new Fault(step, `this is no pattern of JSON: ${error.message}`);
  }
}

function kindOf(name) {
  if (name.startsWith('$rev')) return { what: 'a cursor', test: (value) => typeof value === 'string' && /^[A-Za-z0-9._~-]{1,128}$/.test(value) };
  if (name.startsWith('$key')) return { what: 'text', test: (value) => typeof value === 'string' };
  return { what: 'a whole number', test: (value) => Number.isSafeInteger(value) };
}

function outsideStrings(text, change) {
  return text.replace(/"(?:[^"\\]|\\.)*"|[^"]+/g, (piece) => (piece.startsWith('"') ? piece : change(piece)));
}

export function shorten(text, length = 400) {
  return text.length <= length ? text : `${text.slice(0, length)}… (${text.length} characters)`;
}

function isObject(node) {
  return node !== null && typeof node === 'object' && !Array.isArray(node);
}
