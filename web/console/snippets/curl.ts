import { shell } from './quote';
import { bodyOf, readUrlOf, urlOf, type Snippet } from './target';

export const curl: Snippet[] = [
  { id: 'curl', name: 'curl: once', code: (target) => `curl ${shell(readUrlOf(target))}` },
  { id: 'curl-watch', name: 'curl: watch', code: (target) => `curl -N ${shell(readUrlOf(target, 'watch'))}` },
  { id: 'curl-sse', name: 'curl: event stream', code: (target) => `curl -N -H 'Accept: text/event-stream' ${shell(readUrlOf(target))}` },
  { id: 'curl-put', name: 'curl: PUT', code: (target) => `curl -X PUT --json ${shell(bodyOf(target))} ${shell(urlOf(target))}` },
];
