//! Readers of eight kinds, which follow a recording while it is written; and what they follow.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::raw::{self, Connection, Frame, Mirror, Next, Random, Stream};

/// The longest time that readers may take to catch up once all is written.
pub(crate) const CATCH_UP: Duration = Duration::from_secs(60);

/// A reader's state of one resource, with the checks of it.
pub(crate) trait Reader {
    fn take(&mut self, frame: &Frame);
    fn held(&mut self) -> &mut Held;
    /// True if all is written and the state held is the current one.
    fn is_done(&mut self, end: &OnceLock<Instant>) -> bool;
    fn told(&self) -> String;

    /// Discards the part that was not complete when the connection was lost.
    fn begin_again(&mut self) {
        self.held().partial = None;
    }
}

/// Readers of each kind, under their names, each on a thread of its own.
pub(crate) type Readers = Vec<(&'static str, JoinHandle<String>)>;

/// Starts a reader of each of these kinds.
pub(crate) fn start(
    kinds: impl IntoIterator<Item = (&'static str, Kind)>,
    follow: impl Fn(Kind) -> String + Clone + Send + 'static,
) -> Readers {
    let start = |(name, kind): (&'static str, Kind)| {
        let follow = follow.clone();
        let thread = thread::Builder::new().name(name.to_owned());
        (name, thread.spawn(move || follow(kind)).unwrap())
    };
    kinds.into_iter().map(start).collect()
}

/// Waits until all have followed to the end. Panics if one held what was not there.
pub(crate) fn join(readers: Readers) {
    let mut failed = Vec::new();
    for (name, reader) in readers {
        match reader.join() {
            Ok(told) => println!("{name}: {told}"),
            Err(_) => failed.push(name),
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}; what each says is above");
}

/// A copy of a resource that is kept by frames.
#[derive(Default)]
pub(crate) struct Held {
    /// The last complete state.
    pub(crate) complete: Mirror,
    /// The state that is being put together from slices.
    pub(crate) partial: Option<Mirror>,
    pub(crate) cursor: Option<String>,
    pub(crate) frames: usize,
    pub(crate) states: usize,
}

impl Held {
    /// Applies a frame. True if there is a new complete state.
    pub(crate) fn take(&mut self, frame: &Frame) -> bool {
        self.frames += 1;
        if frame.kind == "synced" {
            assert!(self.partial.is_none(), "synced in the middle of slices");
            // A frame without changes names the same state, perhaps by another cursor.
            self.cursor = frame.cursor().map(str::to_owned);
            return false;
        }
        let Some(cursor) = frame.cursor() else {
            if frame.kind == "snapshot" {
                self.cursor = None; // PROTOCOL S5: a reader cut off now starts from nothing.
            }
            self.partial.get_or_insert_with(|| self.complete.clone()).apply(frame);
            return false;
        };
        let mut mirror = self.partial.take().unwrap_or_else(|| std::mem::take(&mut self.complete));
        mirror.apply(frame);
        self.complete = mirror;
        self.cursor = Some(cursor.to_owned());
        self.states += 1;
        true
    }
}

/// Kinds of readers.
pub(crate) enum Kind {
    Stream {
        target: String,
        accept: &'static str,
    },
    LongPoll {
        target: String,
    },
    /// One query for all paths.
    Several {
        paths: Vec<String>,
        query: &'static str,
    },
    Resumes {
        target: String,
    },
    Pauses {
        target: String,
        pause: Duration,
    },
}

impl Kind {
    pub(crate) fn stream(target: &str, accept: &'static str) -> Kind {
        Kind::Stream { target: target.to_owned(), accept }
    }

    /// Follows until the replay is over and the state held is that of a fresh `GET`.
    pub(crate) fn follow<R: Reader>(
        self,
        address: SocketAddr,
        end: &OnceLock<Instant>,
        new: impl Fn(&str) -> R,
        together: impl Fn(&mut [R], &Frame),
    ) -> String {
        match self {
            Kind::Stream { target, accept } => {
                let mut stream = Stream::open(address, &format!("GET {target}\nAccept: {accept}"));
                let mut reader = new(&target);
                while !reader.is_done(end) {
                    match stream.next_within(Duration::from_millis(100)) {
                        Next::Frame(frame) => reader.take(&frame),
                        Next::Nothing => {}
                        Next::End => panic!("the stream ended"),
                    }
                }
                reader.told()
            }
            Kind::Pauses { target, pause } => {
                let request = format!("GET {target}\nAccept: text/event-stream");
                let mut stream = Stream::open(address, &request);
                let mut reader = new(&target);
                let mut pauses = 0;
                let mut seen = 0;
                while !reader.is_done(end) {
                    match stream.next_within(Duration::from_millis(100)) {
                        Next::Frame(frame) => {
                            reader.take(&frame);
                            seen += 1;
                        }
                        Next::Nothing => {}
                        Next::End => panic!("the stream ended"),
                    }
                    // Not a wait for something: this reader is about pauses.
                    if seen > 100 && pauses < 2 {
                        thread::sleep(pause);
                        (pauses, seen) = (pauses + 1, 0);
                    }
                }
                format!("{}, {pauses} pauses", reader.told())
            }
            Kind::Resumes { target } => {
                let mut reader = new(&target);
                let mut resumed = 0;
                let more = if target.contains('?') { '&' } else { '?' };
                while !reader.is_done(end) {
                    let since = reader.held().cursor.clone().unwrap_or_default();
                    // Both ways to send the cursor, and both formats.
                    let request = match (since.is_empty(), resumed % 3) {
                        (true, _) => format!("GET {target}\nAccept: text/event-stream"),
                        (_, 0) => {
                            format!("GET {target}{more}since={since}\nAccept: text/event-stream")
                        }
                        (_, 1) => format!(
                            "GET {target}\nAccept: text/event-stream\nLast-Event-ID: {since}"
                        ),
                        _ => {
                            format!("GET {target}{more}since={since}\nAccept: application/x-ndjson")
                        }
                    };
                    let mut stream = Stream::open(address, &request);
                    reader.begin_again();
                    let cut = Instant::now() + Duration::from_secs(1);
                    let mut frames = 0;
                    while Instant::now() < cut
                        && frames < 37 + 61 * (resumed % 5)
                        && !reader.is_done(end)
                    {
                        match stream.next_within(Duration::from_millis(50)) {
                            Next::Frame(frame) => {
                                reader.take(&frame);
                                frames += 1;
                            }
                            Next::Nothing => {}
                            Next::End => panic!("the stream ended"),
                        }
                    }
                    resumed += 1;
                }
                format!("{}, {resumed} connections", reader.told())
            }
            Kind::LongPoll { target } => {
                let mut reader = new(&target);
                let mut connection = Connection::open(address);
                let (mut known, mut polls) = (String::new(), 0);
                while !reader.is_done(end) {
                    let condition = match known.as_str() {
                        "" => String::new(),
                        known => format!("\nIf-None-Match: {known}\nPrefer: wait=1"),
                    };
                    let answer = connection.ask(&format!("GET {target}{condition}"));
                    polls += 1;
                    known = answer.header("etag").expect("an ETag").to_owned();
                    let cursor = Some(answer.cursor());
                    match answer.status {
                        200 => {
                            let value = Some(answer.text().to_owned());
                            reader.take(&Frame {
                                kind: "snapshot".to_owned(),
                                value,
                                rev: cursor,
                                ..Frame::default()
                            });
                        }
                        304 => {
                            assert_eq!(cursor, reader.held().cursor, "304 is about what is held");
                        }
                        404 => {
                            reader.take(&Frame {
                                kind: "gone".to_owned(),
                                rev: cursor,
                                ..Frame::default()
                            });
                        }
                        other => panic!("{other}: {}", answer.text()),
                    }
                }
                format!("{}, {polls} polls", reader.told())
            }
            Kind::Several { paths, query } => several(address, &paths, query, end, new, together),
        }
    }
}

/// Follows several paths on one stream. Whenever there is an `id`, all of them show one state.
fn several<R: Reader>(
    address: SocketAddr,
    paths: &[String],
    query: &str,
    end: &OnceLock<Instant>,
    new: impl Fn(&str) -> R,
    together: impl Fn(&mut [R], &Frame),
) -> String {
    let named: Vec<String> = paths.iter().map(|path| format!("path={path}")).collect();
    let request = format!("GET /_streams?{}&{query}\nAccept: text/event-stream", named.join("&"));
    let request = request.replace("&\n", "\n");
    let mut stream = Stream::open(address, &request);
    let targets = paths.iter().map(|path| format!("{path}?{query}"));
    let mut readers: Vec<R> = targets.map(|target| new(target.trim_end_matches('?'))).collect();
    let mut states = 0;
    while !readers.iter_mut().all(|reader| reader.is_done(end)) {
        let frame = match stream.next_within(Duration::from_millis(100)) {
            Next::Frame(frame) => frame,
            Next::Nothing => continue,
            Next::End => panic!("the stream ended"),
        };
        if let Some(path) = &frame.path {
            let place =
                paths.iter().position(|known| known == path).expect("a path that was asked for");
            // `id:` is about all paths, `rev` about this one.
            readers[place].take(&Frame { id: None, ..frame.clone() });
        }
        if frame.id.is_none() {
            continue;
        }
        states += 1;
        together(&mut readers, &frame);
    }
    format!("{}, {states} common states", readers[0].told())
}

/// A line of a recording.
#[derive(Deserialize)]
pub(crate) struct Line {
    path: String,
    pub(crate) value: Value,
}

impl Line {
    /// The name of its aircraft.
    pub(crate) fn name(&self) -> &str {
        self.path.strip_prefix("/aircraft/").expect("recordings here are of /aircraft/NAME")
    }
}

/// The recording that `HALFPING_RECORDING` names, or a synthetic one of so many lines.
pub(crate) fn recording(test: &str, lines: u64) -> PathBuf {
    std::env::var_os("HALFPING_RECORDING").map_or_else(|| synthetic(test, lines), PathBuf::from)
}

/// The lines of a recording, compressed or not.
pub(crate) fn lines(file: &Path) -> impl Iterator<Item = Line> {
    let mut bytes = BufReader::new(std::fs::File::open(file).unwrap());
    let compressed = bytes.fill_buf().unwrap().starts_with(&[0x1f, 0x8b]);
    let bytes: Box<dyn Read> =
        if compressed { Box::new(MultiGzDecoder::new(bytes)) } else { Box::new(bytes) };
    BufReader::new(bytes).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

/// Writes a recording with cases that real ones lack: members that come and go, nulls, resources
/// that change their type.
fn synthetic(test: &str, lines: u64) -> PathBuf {
    let mut random = Random(raw::seed());
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}.ndjson.gz"));
    let mut out = GzEncoder::new(std::fs::File::create(&file).unwrap(), Compression::fast());
    let mut values: Vec<Value> = vec![Value::Null; 300];
    for n in 0..lines {
        let which = if n < 300 { n as usize } else { random.below(300) as usize };
        let value = &mut values[which];
        let odd = random.below(40);
        if !value.is_object() || odd == 0 {
            *value = match if value.is_object() { random.below(5) } else { 9 } {
                0 => Value::Null,
                1 => json!(n),
                2 => json!([n, null, {"in": [which]}]),
                3 => json!({}),
                4 => json!(format!("text {n} \u{1f6e9} \"quoted\"")),
                _ => {
                    json!({"callsign": format!("TST{which}"), "seq": n, "position": {"latitude": 46.5, "longitude": 7.5}})
                }
            };
        }
        if let Value::Object(members) = value {
            members.insert("seq".to_owned(), json!(n));
            members.insert(
                "position".to_owned(),
                json!({"latitude": 45.0 + random.below(4_000_000) as f64 / 1e6, "longitude": 6.0 + random.below(4_000_000) as f64 / 1e6}),
            );
            members.insert("altitude_ft".to_owned(), json!(random.below(40) * 1000));
            members.insert("groundspeed_kt".to_owned(), json!(random.below(5000) as f64 / 10.0));
            let name = format!("m{}", random.below(6));
            match random.below(6) {
                0 => drop(members.insert(name, Value::Null)),
                1 | 2 => drop(members.remove(&name)),
                3 => drop(members.insert(name, json!({"a/b": {"~": null, "n": n}}))),
                4 => drop(members.insert(name, json!({}))),
                _ => drop(members.insert(name, json!(random.below(1000)))),
            }
        }
        let line = json!({"t": 1_700_000_000_000u64 + n, "path": format!("/aircraft/{which:06x}"), "value": value});
        writeln!(out, "{line}").unwrap();
    }
    out.finish().unwrap();
    file
}
