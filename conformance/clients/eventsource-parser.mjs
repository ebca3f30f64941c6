// npm eventsource-parser on top of fetch: the parser is theirs, reconnecting and resuming are these few lines.
import { createParser } from 'eventsource-parser';
import { Follower } from './follower.mjs';

const follower = new Follower();
for (;;) {
  const parser = createParser({ onEvent: ({ event, id, data }) => follower.take(event, id, data) });
  const headers = { accept: 'text/event-stream', ...(follower.id && { 'last-event-id': follower.id }) };
  try {
    const { body } = await fetch(process.argv[2], { headers });
    for await (const text of body.pipeThrough(new TextDecoderStream())) parser.feed(text);
  } catch {
    // Cut: the loop resumes.
  }
}
