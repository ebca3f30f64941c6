// The server's own state (PROTOCOL O5, O8) is shown to requests for localhost, and its metrics (O2) to whoever reaches it, and every documented configuration passes on the name of the site:
// whatever strangers say, they do not see it, and by another name they see nothing. The server's console is as it is by default.
import { readFileSync } from 'node:fs';
import { ask, askStream, openSession } from './request.mjs';
import { behind, MOUNTS, READ_ONLY } from './start.mjs';

const { targets, bodies, hosts } = JSON.parse(readFileSync(new URL('own-state.json', import.meta.url)));
const SSE = { accept: 'text/event-stream' };

/** The part of the server's own state, or of its console, that an answer shows. */
const shows = ({ status, text }) => /"transport"|"totals"|# TYPE /.exec(text)?.[0] ?? (status === 200 ? /<html/i.exec(text)?.[0] : undefined);
const isSynced = (text) => text.includes('synced');

export const ownState = Object.fromEntries(
  Object.entries({ ...MOUNTS, [READ_ONLY]: '' }).map(([file, mount]) => [
    `the server's own state through ${file}`,
    () =>
      behind(file, [], async ({ proxy, direct, must }) => {
        for (const target of ['/_server', '/_metrics']) {
          const own = await ask(direct, 'GET', target);
          must(shows(own) !== undefined, `GET ${target} at the server itself`, 'that it is shown', own.status);
        }
        const { status: health } = await ask(proxy, 'GET', `${mount}/_health`);
        must(health === 200, `GET ${mount}/_health`, 200, health);
        const here = (text) => text.replace('HOST', proxy.host).replace('MOUNT', mount);
        for (const host of hosts.map(here)) {
          const hidden = (answer, what) => must(!shows(answer), `${what} with Host: ${host}`, 'nothing of the server itself', shows(answer));
          for (const target of targets.map(here)) {
            for (const headers of [{ host }, { host, ...SSE }]) {
              // An answer that is none, since the connection was closed, shows nothing.
              const closed = (error) => ({ status: 0, text: error.message });
              hidden(await ask(proxy, 'GET', target, { headers, until: isSynced }).catch(closed), `GET ${target}`);
            }
          }
          for (const body of bodies) {
            const answer = await askStream(proxy, `${mount}/_streams`, body, { headers: { host }, until: isSynced });
            hidden(answer, `POST ${mount}/_streams ${JSON.stringify(body)}`);
          }
          const isOurs = host === proxy.host;
          const { status } = await ask(proxy, 'GET', `${mount}/`, { headers: { host } });
          must(isOurs ? status === 200 : status >= 400 && status <= 499, `GET ${mount}/ with Host: ${host}`, isOurs ? 200 : '4xx', status);
          if (file === READ_ONLY) continue;
          const session = await openSession({ port: proxy.port, host }, `${mount}/`);
          must(isOurs ? session.status === 101 : session.status >= 400, `WebSocket with Host: ${host}`, isOurs ? 101 : '4xx', session.status);
          if (session.status === 101) {
            session.say({ watch: 0, path: '/_server', ref: 1 });
            const answer = await session.next((message) => (message.ref === 1 ? message : undefined));
            must(answer.status === 404, `watch of /_server in a session with Host: ${host}`, 404, JSON.stringify(answer));
          }
          session.cut();
        }
      }),
  ]),
);
