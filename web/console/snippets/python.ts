import { isAll, searchOf } from '../lib/query';
import { python as quote, pythonValue } from './quote';
import { bodyOf, socketUrlOf, urlOf, type Snippet } from './target';

export const python: Snippet[] = [
  {
    id: 'python',
    name: 'Python: requests',
    code: (target) => `import json
import requests

url = ${quote(urlOf(target))}

# requests.put(url, json=${pythonValue(JSON.parse(bodyOf(target)))}).raise_for_status()

with requests.get(${isAll(target.query) ? 'url' : `url + ${quote(searchOf(target.query))}`}, headers={"Accept": "application/x-ndjson"}, stream=True) as answer:
    answer.raise_for_status()
    for line in answer.iter_lines():
        print(json.loads(line))
`,
  },
  {
    id: 'python-websockets',
    name: 'Python: websockets',
    code: (target) => `import asyncio
import json
import websockets


async def main():
    url = ${quote(socketUrlOf(target))}
    async with websockets.connect(url, subprotocols=["halfping.v1"]) as session:
        async for message in session:
            print(json.loads(message))


asyncio.run(main())
`,
  },
];
