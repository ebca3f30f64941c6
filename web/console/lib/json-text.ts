/** A string, a mark, or a number or word. */
const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

/** JSON over several lines, token by token: numbers keep the digits that they were written with. */
export function indented(text: string): string {
  const out: string[] = [];
  let depth = 0;
  let opened = false;
  const newLine = () => out.push('\n', '  '.repeat(depth));
  for (const [token] of text.matchAll(TOKEN)) {
    const opens = token === '{' || token === '[';
    const closes = token === '}' || token === ']';
    if (closes) depth--;
    // An empty one stays in its line.
    if (opened !== closes) newLine();
    out.push(token);
    if (opens) depth++;
    if (token === ',') newLine();
    if (token === ':') out.push(' ');
    opened = opens;
  }
  return out.join('');
}
