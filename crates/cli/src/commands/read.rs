//! `halfping get`.

use std::io::{self, Write};

use crate::args::Get;
use crate::report::Failure;

pub(crate) async fn get(args: Get) -> Result<(), Failure> {
    let target = &args.url;
    let mut path = target.path.clone();
    if let Some(depth) = args.depth {
        let mark = if path.contains('?') { '&' } else { '?' };
        path.push_str(&format!("{mark}depth={depth}"));
    }
    let reading = target.client()?.get(&path).await.map_err(|error| Failure::request(target, error))?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(reading.json.as_bytes())?;
    if !reading.json.ends_with('\n') {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()?;
    Ok(())
}
