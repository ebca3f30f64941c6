import { sorted } from 'halfping';
import { isObject, kindOf, type Kind } from './json';
import { isInexact, quoted, scalarText } from './shown';

/** A value as indented lines, each with a name by which its changes are shown. */
export interface Line {
  pointer: string;
  indent: number;
  key: string | undefined;
  text: string;
  kind: Kind | 'end' | 'note';
  comma: boolean;
  /** A number in it is not what the server has, digit for digit. */
  approximate?: boolean;
}

/** A value of more lines is cut: nobody reads on, and it is laid out again with every change. */
export const LINES_MAX = 2_000;
const STRING_CHARS_MAX = 400;
/** Arrays of so many short values stand in one line: coordinates, small samples. */
export const INLINE_ELEMENTS_MAX = 16;

export function pointer(above: string, key: string): string {
  return `${above}/${key.replace(/~/g, '~0').replace(/\//g, '~1')}`;
}

/** `depth`: where the reader asked for a cut. An object there is empty because of that, or because it is. `order`: that of the members. */
export function linesOf(value: unknown, depth: number | undefined, order = ''): Line[] {
  const lines: Line[] = [];
  const put = (line: Line) => {
    if (lines.length < LINES_MAX) lines.push(line);
  };
  const walk = (node: unknown, at: string, indent: number, key: string | undefined, comma: boolean) => {
    if (lines.length >= LINES_MAX) return;
    const kind = kindOf(node);
    const open = (text: string) => put({ pointer: at, indent, key, text, kind, comma: false });
    const whole = (text: string, approximate = false) => put({ pointer: at, indent, key, text, kind, comma, approximate });
    const end = (text: string) => put({ pointer: at, indent, key: undefined, text, kind: 'end', comma });
    if (Array.isArray(node)) {
      if (node.length === 0) return whole('[]');
      if (node.length <= INLINE_ELEMENTS_MAX && node.every((element) => typeof element !== 'object' && String(element).length < 20)) {
        return whole(`[${node.map(scalarText).join(', ')}]`, node.some(isInexact));
      }
      open('[');
      node.forEach((element, i) => walk(element, pointer(at, String(i)), indent + 1, undefined, i < node.length - 1));
      return end(']');
    }
    if (isObject(node)) {
      const keys = indent === 0 && order ? sorted(node, order).map(([name]) => name) : Object.keys(node);
      if (keys.length === 0) return whole(depth !== undefined && indent >= depth ? '{…}' : '{}');
      open('{');
      for (let i = 0; i < keys.length && lines.length < LINES_MAX; i++) {
        walk(node[keys[i]!], pointer(at, keys[i]!), indent + 1, keys[i]!, i < keys.length - 1);
      }
      return end('}');
    }
    return whole(scalar(node), isInexact(node));
  };
  walk(value, '', 0, undefined, false);
  if (lines.length >= LINES_MAX) {
    lines[LINES_MAX - 1] = { pointer: '', indent: 0, key: undefined, text: `and more: cut after ${LINES_MAX.toLocaleString('en')} lines`, kind: 'note', comma: false };
  }
  return lines;
}

function scalar(value: unknown): string {
  if (typeof value === 'string' && value.length > STRING_CHARS_MAX) {
    return `${quoted(value.slice(0, STRING_CHARS_MAX))}… ${value.length.toLocaleString('en')} characters`;
  }
  return scalarText(value);
}
