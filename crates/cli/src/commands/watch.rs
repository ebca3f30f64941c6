//! `halfping watch`: frames as they come, for people or for programs.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use futures_util::stream::{self, SelectAll, Stream, StreamExt};
use halfping_client::{Event, Frame, Kind, Lost, WatchError, WatchOptions};

use crate::args::Watch;
use crate::explain::explain;
use crate::print::{self, Change, Thing, age, printable, things, time_of_day};
use crate::report::{Failure, tell};
use crate::target::Target;

pub(crate) async fn watch(args: Watch) -> Result<(), Failure> {
    if args.view.explain {
        for target in &args.urls {
            explain(target, &args.view).await?;
        }
    }
    let options = WatchOptions {
        rate: args.rate,
        depth: args.depth,
        filter: args.view.condition,
        select: args.view.select,
        order: args.view.order,
        limit: args.view.limit,
        count: args.view.count,
        list: args.view.form.is_some(),
        since: args.since.map(Into::into),
        ..WatchOptions::default()
    };
    let mut events = SelectAll::new();
    let mut sources = Vec::new();
    for target in &args.urls {
        let watch = target.client()?.watch(&target.path, options.clone())?;
        events.push(Box::pin(stream(sources.len(), watch)));
        sources.push(Source { target, reached: false, parts: None });
    }
    let to_terminal = io::stdout().is_terminal();
    let printer = Printer {
        json: args.json,
        several: args.urls.len() > 1,
        several_servers: args.urls.iter().any(|target| target.base != args.urls[0].base),
        to_terminal,
        colour: to_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    while let Some((index, event)) = events.next().await {
        let source = &mut sources[index];
        let target = source.target;
        match event.map_err(|error| Failure::watch(target, error))? {
            Event::Connected { since } => {
                if std::mem::replace(&mut source.reached, true) {
                    let from =
                        if since.is_some() { "what changed meanwhile" } else { "the whole state" };
                    tell(format_args!("{target}: connected again, goes on with {from}"));
                }
            }
            Event::Frame(frame) => printer.print(source, &frame)?,
            // A first connection that fails ends the command: the address may be mistyped.
            Event::Lost { why: Lost::Network(fault), .. } if !source.reached => {
                return Err(Failure::request(target, fault.into()));
            }
            Event::Lost { why, retry_in } => {
                source.parts = None;
                let why = why.to_string();
                tell(format_args!(
                    "{target}: {}; trying again in {:.1} s",
                    printable(&why),
                    retry_in.as_secs_f64()
                ));
            }
        }
    }
    Ok(())
}

/// The events of one watch, up to its end, each with the watch's number.
fn stream(
    index: usize,
    watch: halfping_client::Watch,
) -> impl Stream<Item = (usize, Result<Event, WatchError>)> {
    stream::unfold(Some(watch), move |watch| async move {
        let mut watch = watch?;
        let event = watch.next().await;
        let next = event.is_ok().then_some(watch);
        Some(((index, event), next))
    })
}

/// One of the watched resources.
struct Source<'a> {
    target: &'a Target,
    /// True once its server has answered.
    reached: bool,
    /// A whole value of which the last part has not come (S5): parts and bytes so far.
    parts: Option<(usize, usize)>,
}

impl Source<'_> {
    /// The things to print for a frame. A value that comes in parts is printed once, when it is
    /// complete.
    fn things(&mut self, frame: &Frame) -> Vec<Thing> {
        // On a stream of many paths, each frame names its path.
        let path = frame.path.as_deref().unwrap_or(self.target.place());
        let bytes = frame.value.as_ref().map_or(0, |value| value.get().len());
        let parts = match (frame.kind, self.parts) {
            (Kind::Snapshot, _) if frame.rev.is_none() => (1, bytes),
            (Kind::Merge | Kind::Patch, Some((parts, before))) => (parts + 1, before + bytes),
            _ => {
                self.parts = None;
                return things(path, frame);
            }
        };
        if frame.rev.is_none() {
            self.parts = Some(parts);
            return Vec::new();
        }
        self.parts = None;
        let path = if path.is_empty() { "/" } else { path };
        vec![Thing {
            path: path.to_owned(),
            change: Change::Large { parts: parts.0, bytes: parts.1 },
        }]
    }
}

struct Printer {
    json: bool,
    several: bool,
    several_servers: bool,
    to_terminal: bool,
    colour: bool,
}

impl Printer {
    fn print(&self, source: &mut Source<'_>, frame: &Frame) -> Result<(), Failure> {
        // One lock and one flush a frame: the reader of a pipe gets whole frames at once.
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.json {
            writeln!(out, "{}", print::json(&self.line(source.target, frame), self.to_terminal))?;
        } else {
            self.describe(&mut out, source, frame)?;
        }
        Ok(out.flush()?)
    }

    /// The frame as the protocol has it (N1), with `url` first if there are several.
    fn line(&self, target: &Target, frame: &Frame) -> String {
        // Frames are plain data with text keys: serialising them cannot fail.
        let line = serde_json::to_string(frame).unwrap_or_default();
        match line.strip_prefix('{') {
            Some(members) if self.several => {
                let url = serde_json::Value::from(target.to_string());
                format!("{{\"url\":{url},{members}")
            }
            _ => line,
        }
    }

    fn describe(
        &self,
        out: &mut impl Write,
        source: &mut Source<'_>,
        frame: &Frame,
    ) -> io::Result<()> {
        if frame.kind == Kind::Error {
            let problem = frame.problem.as_ref().map(ToString::to_string).unwrap_or_default();
            tell(format_args!("{}: {}", source.target, printable(&problem)));
            return Ok(());
        }
        let base = if self.several_servers { source.target.base.as_str() } else { "" };
        let (time, age) = match frame.t {
            Some(t_ms) => (time_of_day(t_ms), age(t_ms)),
            None => Default::default(),
        };
        for thing in source.things(frame) {
            let place = format!("{base}{}", printable(&thing.path));
            let (time, age) = (self.dim(format!("{time:12}")), self.dim(format!("{age:>9}")));
            writeln!(out, "{time} {age}  {}  {}", self.bold(place), thing.change)?;
        }
        Ok(())
    }

    fn dim(&self, text: String) -> impl fmt::Display {
        if self.colour { format!("\x1b[2m{text}\x1b[0m") } else { text }
    }

    fn bold(&self, text: String) -> impl fmt::Display {
        if self.colour { format!("\x1b[1;36m{text}\x1b[0m") } else { text }
    }
}
