//! `halfping get`.

use std::io::{self, IsTerminal, Write};

use crate::args::Get;
use crate::print;
use crate::report::{Blame, Failure};

pub(crate) async fn get(args: Get) -> Result<(), Failure> {
    let target = &args.url;
    let query = target.path.split_once('?').map_or("", |(_, query)| query);
    if query.split('&').any(|parameter| parameter.split('=').next() == Some("watch")) {
        return Err(Failure::new(
            Blame::Usage,
            format!("{target} is a stream, and get reads once"),
        )
        .hint(format!("halfping watch {target}")));
    }
    let mut path = target.path.clone();
    if let Some(depth) = args.depth {
        let mark = if path.contains('?') { '&' } else { '?' };
        path.push_str(&format!("{mark}depth={depth}"));
    }
    let reading =
        target.client()?.get(&path).await.map_err(|error| Failure::request(target, error))?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(print::json(&reading.json, stdout.is_terminal()).as_bytes())?;
    if !reading.json.ends_with('\n') {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()?;
    Ok(())
}
