import { optionsOf } from '../lib/query';
import { rust as quote, rustRaw } from './quote';
import { baseOf, bodyOf, type Snippet, type Target } from './target';

function shapeOf({ query }: Target): string {
  const options = Object.entries(optionsOf(query)).map(
    ([name, option]) => `${name === 'where' ? 'filter' : name}: Some(${typeof option === 'string' ? `${quote(option)}.into()` : option})`,
  );
  return options.length === 0 ? 'WatchOptions::default()' : `WatchOptions { ${options.join(', ')}, ..WatchOptions::default() }`;
}

export const rust: Snippet[] = [
  {
    id: 'rust',
    name: 'Rust: halfping-client',
    code: (target) => `use halfping_client::{Client, Event, Mirror, WatchOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::new(${quote(baseOf(target))})?;
    // client.put(${quote(target.path)}, ${rustRaw(bodyOf(target))}).await?;

    let mut watch = client.watch(${quote(target.path)}, ${shapeOf(target)})?;
    let mut mirror = Mirror::new();
    loop {
        match watch.next().await? {
            Event::Frame(frame) => {
                mirror.apply(&frame)?;
                println!("{:?}", mirror.value());
            }
            Event::Connected { .. } => {}
            Event::Lost { why, retry_in } => eprintln!("{why}, trying again in {retry_in:?}"),
        }
    }
}
`,
  },
];
