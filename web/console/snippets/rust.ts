import { rust as quote, rustRaw } from './quote';
import { baseOf, bodyOf, type Snippet } from './target';

export const rust: Snippet[] = [
  {
    id: 'rust',
    name: 'Rust: halfping-client',
    code: (target) => `use halfping_client::{Client, Event, Mirror, WatchOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::new(${quote(baseOf(target))})?;
    // client.put(${quote(target.path)}, ${rustRaw(bodyOf(target))}).await?;

    let mut watch = client.watch(${quote(target.path)}, WatchOptions::default())?;
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
