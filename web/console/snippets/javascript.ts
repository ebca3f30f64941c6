import { javascript as quote } from './quote';
import { baseOf, bodyOf, urlOf, type Snippet } from './target';

export const javascript: Snippet[] = [
  {
    id: 'js',
    name: 'JavaScript: halfping',
    code: (target) => `import { connect } from "halfping";

const api = connect(${quote(baseOf(target))});

// At once with the present value, then with every change; undefined when nothing is there.
const stop = api.on(${quote(target.path)}, (value, change) => {
  console.log(value, change.kind);
});

// await api.put(${quote(target.path)}, ${bodyOf(target)});
`,
  },
  {
    id: 'js-eventsource',
    name: 'JavaScript: EventSource',
    code: (target) => `const source = new EventSource(${quote(`${urlOf(target)}?delta=false`)});
source.onmessage = (event) => {
  console.log(JSON.parse(event.data));
};
`,
  },
];
