/**
 * A JSON reader that says where a mistake is. `JSON.parse` says that in another way in each browser, or not at all; and it
 * does not mind what the server refuses: a name that occurs twice, an unpaired surrogate (PROTOCOL V2), a number beyond double precision (V1).
 */
export interface Mistake {
  message: string;
  offset: number;
  line: number;
  column: number;
}

/** Deeper is refused by the server anyway (`json_depth`), and would be the end of the stack here. */
const DEPTH_MAX = 512;

class Refusal extends Error {
  constructor(
    message: string,
    readonly offset: number,
  ) {
    super(message);
  }
}

export function checkJson(text: string): Mistake | undefined {
  try {
    read(text);
    return undefined;
  } catch (error) {
    if (error instanceof Refusal) return { message: error.message, offset: error.offset, ...place(text, error.offset) };
    throw error;
  }
}

function place(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset);
  const line = before.split('\n').length;
  return { line, column: offset - (before.lastIndexOf('\n') + 1) + 1 };
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const HEX = /^[0-9a-fA-F]{4}$/;
const HALF = 'Half of a character: the other surrogate is missing';
const isPair = (text: string) => /^[\uD800-\uDBFF][\uDC00-\uDFFF]$/.test(text);
const WORD = /[A-Za-z_$][\w$]*/y;

function read(text: string): void {
  let at = 0;
  const fail = (message: string, offset = at): never => {
    throw new Refusal(message, offset);
  };
  const space = () => {
    while (at < text.length && ' \t\n\r'.includes(text[at]!)) at++;
  };
  const found = () => (at >= text.length ? 'the end' : `“${String.fromCodePoint(text.codePointAt(at)!)}”`);

  /** The length of `\uXXXX` here, or of the two that are one character. */
  const unit = (): number => {
    const read = (from: number) => String.fromCharCode(Number.parseInt(text.slice(from, from + 4), 16));
    const first = read(at + 2);
    if (!/[\uD800-\uDFFF]/.test(first)) return 6;
    const paired = text.startsWith('\\u', at + 6) && HEX.test(text.slice(at + 8, at + 12)) && isPair(first + read(at + 8));
    return paired ? 12 : fail(HALF);
  };

  const string = (): string => {
    const start = at++;
    for (;;) {
      const c = text[at];
      if (c === undefined) fail('This string is not closed', start);
      else if (c === '"') break;
      else if (c < ' ') fail(c === '\n' ? 'A string ends in the line where it begins: write \\n' : 'A control character must be escaped');
      else if (c === '\\') {
        const escape = text[at + 1];
        if (escape === 'u' && HEX.test(text.slice(at + 2, at + 6))) at += unit();
        else if (escape !== undefined && '"\\/bfnrt'.includes(escape)) at += 2;
        else fail('No such escape');
      } else if (/[\uD800-\uDFFF]/.test(c)) at += isPair(text.slice(at, at + 2)) ? 2 : fail(HALF);
      else at++;
    }
    at++;
    return JSON.parse(text.slice(start, at)) as string;
  };

  const number = () => {
    NUMBER.lastIndex = at;
    const match = NUMBER.exec(text);
    if (!match) return fail('A number needs a digit after “-”');
    const after = text[at + match[0].length];
    if (after !== undefined && /[\w.+]/.test(after)) fail(match[0] === '0' || match[0] === '-0' ? 'A number does not begin with 0' : 'Not a number as JSON writes it', at + match[0].length);
    if (!Number.isFinite(Number(match[0]))) fail('Beyond the range of numbers');
    at += match[0].length;
  };

  const word = () => {
    WORD.lastIndex = at;
    const match = WORD.exec(text);
    if (!match) return fail(`Expected a value, found ${found()}`);
    if (match[0] !== 'true' && match[0] !== 'false' && match[0] !== 'null') fail(`“${match[0]}” is not JSON: text needs double quotes`);
    at += match[0].length;
  };

  const members = (depth: number) => {
    const names = new Set<string>();
    at++;
    space();
    if (text[at] === '}') return void at++;
    for (;;) {
      space();
      const start = at;
      if (text[at] !== '"') fail(text[at] === '}' ? 'No comma before “}”' : `Expected a name in double quotes, found ${found()}`);
      const name = string();
      if (names.has(name)) fail(`${JSON.stringify(name)} occurs twice`, start);
      names.add(name);
      space();
      if (text[at] !== ':') fail(`Expected “:”, found ${found()}`);
      at++;
      value(depth);
      if (text[at] === '}') return void at++;
      if (text[at] !== ',') fail(`Expected “,” or “}”, found ${found()}`);
      at++;
    }
  };

  const elements = (depth: number) => {
    at++;
    space();
    if (text[at] === ']') return void at++;
    for (;;) {
      space();
      if (text[at] === ']') fail('No comma before “]”');
      value(depth);
      if (text[at] === ']') return void at++;
      if (text[at] !== ',') fail(`Expected “,” or “]”, found ${found()}`);
      at++;
    }
  };

  const value = (depth: number) => {
    if (depth > DEPTH_MAX) fail('Too many levels');
    space();
    const c = text[at];
    if (c === '{') members(depth + 1);
    else if (c === '[') elements(depth + 1);
    else if (c === '"') string();
    else if (c === '-' || (c !== undefined && c >= '0' && c <= '9')) number();
    else if (c === "'") fail('JSON quotes with “"”');
    else word();
    space();
  };

  value(0);
  if (at < text.length) fail(`Expected the end, found ${found()}`);
}
