import { optionsOf } from '../lib/query';
import { javascript as quote } from './quote';
import { baseOf, bodyOf, readUrlOf, type Snippet, type Target } from './target';

function shapeOf({ query }: Target): string {
  const options = Object.entries(optionsOf(query)).map(([name, option]) => `${name}: ${typeof option === 'string' ? quote(option) : option}`);
  return options.length > 0 ? `, { ${options.join(', ')} }` : '';
}

export const javascript: Snippet[] = [
  {
    id: 'js',
    name: 'JavaScript: halfping',
    code: (target) => `import { connect${target.query.order && ', sorted'} } from "halfping";

const api = connect(${quote(baseOf(target))});

// At once with the present value, then with every change; undefined when nothing is there.
const stop = api.on(${quote(target.path)}, (value, change) => {
  console.log(${target.query.order ? `sorted(value, ${quote(target.query.order)})` : 'value'}, change.kind);
}${shapeOf(target)});

// await api.put(${quote(target.path)}, ${bodyOf(target)});
`,
  },
  {
    id: 'js-eventsource',
    name: 'JavaScript: EventSource',
    code: (target) => `const source = new EventSource(${quote(readUrlOf(target, 'delta=false'))});
source.onmessage = (event) => {
  console.log(JSON.parse(event.data));
};
`,
  },
];
