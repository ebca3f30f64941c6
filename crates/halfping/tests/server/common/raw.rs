//! HTTP/1.1 as bytes on a socket, and the frames of streams as a reader has to parse them.
//!
//! None of Halfping's own code is used here. Every wait has a deadline.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The longest single wait.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// A connection on which requests follow each other.
pub(crate) struct Connection {
    socket: TcpStream,
    /// Bytes that were received and not used yet.
    buffer: Vec<u8>,
}

/// An answer that has an end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}\n\n{}", self.status, self.headers, String::from_utf8_lossy(&self.body))
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The cursor in the `ETag`, without its quotes.
    #[track_caller]
    pub(crate) fn cursor(&self) -> String {
        let etag = self.header("etag").expect("an ETag");
        let inner = etag.strip_prefix('"').and_then(|e| e.strip_suffix('"'));
        inner.unwrap_or_else(|| panic!("an ETag is in quotes: {etag}")).to_owned()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {:?}", self.text()))
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// Writes out a request that is given in short: `PUT /a`, header lines, an empty line, the body.
/// `Host` and `Content-Length` are added if they are missing.
pub(crate) fn request(short: &str) -> Vec<u8> {
    let (head, body) = short.split_once("\n\n").unwrap_or((short, ""));
    let mut lines = head.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut text = format!("{} HTTP/1.1\r\n", lines.next().expect("a request line"));
    if !head.contains("\nHost:") {
        text.push_str("Host: localhost\r\n");
    }
    for line in lines {
        text.push_str(line);
        text.push_str("\r\n");
    }
    let given = head.to_ascii_lowercase().contains("content-length:");
    if !given && (!body.is_empty() || head.starts_with(['P'])) {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Connection {
        let socket = TcpStream::connect_timeout(&address, DEADLINE).expect("the server listens");
        socket.set_nodelay(true).expect("a socket");
        socket.set_write_timeout(Some(DEADLINE)).expect("a socket");
        Connection { socket, buffer: Vec::new() }
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the connection takes bytes");
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.socket.write_all(bytes)
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Receives more bytes, or 0 at the end of the connection; an error when none came until the
    /// deadline.
    fn fill(&mut self, until: Instant) -> std::io::Result<usize> {
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(left))?;
        let mut bytes = [0; 16 << 10];
        let count = self.socket.read(&mut bytes)?;
        self.buffer.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    /// Waits for the server to close. Returns the bytes before.
    #[track_caller]
    pub(crate) fn closed(&mut self) -> Vec<u8> {
        let until = Instant::now() + DEADLINE;
        loop {
            match self.fill(until) {
                Ok(0) => return std::mem::take(&mut self.buffer),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return std::mem::take(&mut self.buffer);
                }
                Err(error) => panic!("the connection was not closed: {error}"),
            }
        }
    }

    /// The status and the headers of the next answer; `None` when the connection ended before.
    pub(crate) fn try_head(&mut self) -> Option<(u16, Vec<(String, String)>)> {
        let until = Instant::now() + DEADLINE;
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            match self.fill(until) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no answer: {error}"),
            }
        };
        let head = String::from_utf8(self.buffer[..end].to_vec()).expect("a head is text");
        self.buffer.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let status =
            lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned())).collect();
        Some((status.unwrap_or_else(|| panic!("no status: {head}")), headers))
    }

    #[track_caller]
    pub(crate) fn head(&mut self) -> (u16, Vec<(String, String)>) {
        self.try_head().expect("an answer, not the end of the connection")
    }

    /// The rest of an answer that has an end.
    #[track_caller]
    pub(crate) fn answer(&mut self, to_head: bool) -> Answer {
        let (status, headers) = self.head();
        self.body(status, headers, to_head)
    }

    #[track_caller]
    pub(crate) fn body(
        &mut self,
        status: u16,
        headers: Vec<(String, String)>,
        to_head: bool,
    ) -> Answer {
        let until = Instant::now() + DEADLINE;
        let mut body = Vec::new();
        if to_head || status == 304 || status == 204 {
        } else if let Some(length) = header(&headers, "content-length") {
            let length: usize = length.parse().expect("a length");
            while self.buffer.len() < length {
                assert!(self.fill(until).expect("the body in time") > 0, "the body ended early");
            }
            body = self.buffer.drain(..length).collect();
        } else if header(&headers, "transfer-encoding") == Some("chunked") {
            let mut chunks = Chunks::default();
            while !chunks.ended {
                if !chunks.take(&mut self.buffer, &mut body) {
                    assert!(
                        self.fill(until).expect("the body in time") > 0,
                        "the body ended early"
                    );
                }
            }
        }
        Answer { status, headers, body }
    }

    /// Sends a request that is given in short, and waits for its answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, short: &str) -> Answer {
        self.send(&request(short));
        self.answer(short.starts_with("HEAD "))
    }
}

/// The chunked coding of HTTP/1.1.
#[derive(Default)]
struct Chunks {
    left: usize,
    ended: bool,
    begun: bool,
}

impl Chunks {
    /// Moves all that can be moved; false when more bytes are needed.
    fn take(&mut self, from: &mut Vec<u8>, to: &mut Vec<u8>) -> bool {
        let mut moved = false;
        while !self.ended {
            if self.left > 0 {
                let count = self.left.min(from.len());
                to.extend(from.drain(..count));
                self.left -= count;
                if self.left > 0 {
                    return moved || count > 0;
                }
                moved = true;
                continue;
            }
            // The end of a chunk comes together with the size of the next.
            let skip = if self.begun { 2 } else { 0 };
            let Some(end) =
                from.get(skip..).and_then(|f| f.windows(2).position(|two| two == b"\r\n"))
            else {
                return moved;
            };
            let size = std::str::from_utf8(&from[skip..skip + end]).expect("a size").to_owned();
            let size =
                usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("no size: {size:?}"));
            if size == 0 {
                // The server sends no trailers.
                if from.len() < skip + end + 4 {
                    return moved;
                }
                from.drain(..skip + end + 4);
                self.ended = true;
                return true;
            }
            from.drain(..skip + end + 2);
            (self.left, self.begun) = (size, true);
        }
        true
    }
}

/// One frame of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frame {
    /// `message` for an event without a name.
    pub(crate) kind: String,
    /// `id:` of an event.
    pub(crate) id: Option<String>,
    /// The member `rev`.
    pub(crate) rev: Option<String>,
    pub(crate) t: Option<u64>,
    pub(crate) path: Option<String>,
    /// The member `resume`: the cursor of all paths of a stream of many.
    pub(crate) resume: Option<String>,
    /// An empty `id:`, which makes the reader forget the one before.
    pub(crate) forgets: bool,
    /// The value as it was written.
    pub(crate) value: Option<String>,
    pub(crate) problem: Option<Value>,
    /// The whole text, without its end.
    pub(crate) raw: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    kind: String,
    path: Option<String>,
    rev: Option<String>,
    t: Option<u64>,
    resume: Option<String>,
    // `null` is a value: only a missing member is `None`.
    #[serde(default, deserialize_with = "some")]
    value: Option<Box<RawValue>>,
    problem: Option<Value>,
}

fn some<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(from).map(Some)
}

impl Frame {
    #[track_caller]
    fn from_envelope(text: &str) -> Frame {
        let envelope: Envelope =
            serde_json::from_str(text).unwrap_or_else(|e| panic!("{e} in {text}"));
        Frame {
            kind: envelope.kind,
            id: None,
            rev: envelope.rev,
            t: envelope.t,
            path: envelope.path,
            resume: envelope.resume,
            forgets: false,
            value: envelope.value.map(|v| v.get().to_owned()),
            problem: envelope.problem,
            raw: text.to_owned(),
        }
    }

    /// The cursor of a frame of one path.
    pub(crate) fn cursor(&self) -> Option<&str> {
        self.id.as_deref().or(self.rev.as_deref())
    }

    /// The frame in short: path, kind and value.
    pub(crate) fn show(&self) -> String {
        let path = self.path.as_ref().map(|p| format!("{p} ")).unwrap_or_default();
        match &self.value {
            Some(value) => format!("{path}{} {value}", self.kind),
            None => format!("{path}{}", self.kind),
        }
    }
}

/// Result of the next look at a stream.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub(crate) enum Next {
    Frame(Frame),
    /// The stream ended.
    End,
    /// Nothing came in the given time.
    Nothing,
}

/// Reason why there is no line.
enum NoLine {
    End,
    Yet,
}

/// The answer to a request for a stream.
pub(crate) struct Stream {
    connection: Connection,
    chunks: Chunks,
    /// Decoded bytes that were not used yet.
    body: Vec<u8>,
    /// Length of the part that was searched for the end of a line.
    searched: usize,
    /// Lines of the event that is not complete yet.
    event: Vec<String>,
    sse: bool,
    enveloped: bool,
    /// True if the stream carries messages of a session, not frames.
    messages: bool,
    cut: bool,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) status: u16,
    /// Every `retry:` that came.
    pub(crate) retries: Vec<u64>,
    /// The number of comments.
    pub(crate) comments: usize,
    /// The number of empty lines that end no event.
    pub(crate) stray_empty_lines: usize,
}

impl Stream {
    #[track_caller]
    pub(crate) fn open(address: SocketAddr, short: &str) -> Stream {
        Stream::open_on(Connection::open(address), short)
    }

    #[track_caller]
    pub(crate) fn open_on(mut connection: Connection, short: &str) -> Stream {
        connection.send(&request(short));
        let (status, headers) = connection.head();
        let content_type = header(&headers, "content-type").unwrap_or_default().to_owned();
        let sse = content_type == "text/event-stream";
        assert!(sse || content_type == "application/x-ndjson", "no stream: {status} {headers:?}");
        let chunked = header(&headers, "transfer-encoding") == Some("chunked");
        let mut stream = Stream {
            connection,
            chunks: Chunks::default(),
            body: Vec::new(),
            searched: 0,
            event: Vec::new(),
            sse,
            enveloped: short.starts_with("GET")
                && (short.contains("/_streams") || short.contains("envelope=true")),
            messages: short.starts_with("POST"),
            cut: false,
            headers,
            status,
            retries: Vec::new(),
            comments: 0,
            stray_empty_lines: 0,
        };
        if !chunked {
            // A stream that ends at once has a length.
            let headers = stream.headers.clone();
            stream.body = stream.connection.body(status, headers, short.starts_with("HEAD ")).body;
            stream.chunks.ended = true;
        }
        stream
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The next line, without its end.
    fn line(&mut self, until: Instant) -> Result<String, NoLine> {
        loop {
            if let Some(at) = self.body[self.searched..].iter().position(|b| *b == b'\n') {
                let mut line: Vec<u8> = self.body.drain(..=self.searched + at).collect();
                self.searched = 0;
                line.pop();
                return Ok(String::from_utf8(line).expect("streams are UTF-8"));
            }
            self.searched = self.body.len();
            if self.chunks.ended || self.cut {
                assert!(
                    self.body.is_empty(),
                    "a line was not ended: {:?}",
                    String::from_utf8_lossy(&self.body)
                );
                return Err(NoLine::End);
            }
            if self.chunks.take(&mut self.connection.buffer, &mut self.body) {
                continue;
            }
            match self.connection.fill(until) {
                Ok(0) => self.cut = true,
                Ok(_) => {}
                Err(e)
                    if matches!(
                        e.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) =>
                {
                    return Err(NoLine::Yet);
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => self.cut = true,
            }
        }
    }

    /// True if the body had the end that HTTP requires, not just the connection.
    pub(crate) fn ended_well(&self) -> bool {
        self.chunks.ended
    }

    /// The next frame, if one comes within this time.
    #[track_caller]
    pub(crate) fn next_within(&mut self, time: Duration) -> Next {
        let until = Instant::now() + time;
        loop {
            let line = match self.line(until) {
                Ok(line) => line,
                Err(NoLine::End) => return Next::End,
                Err(NoLine::Yet) => return Next::Nothing,
            };
            if !self.sse && self.messages {
                let message = Some(line.clone());
                return Next::Frame(Frame {
                    kind: "message".to_owned(),
                    value: message,
                    raw: line,
                    ..Frame::default()
                });
            }
            if !self.sse {
                return Next::Frame(Frame::from_envelope(&line));
            }
            if line.starts_with(':') {
                self.comments += 1;
            } else if let Some(retry) = line.strip_prefix("retry: ") {
                self.retries.push(retry.parse().expect("milliseconds"));
            } else if !line.is_empty() {
                self.event.push(line);
            } else if !self.event.is_empty() {
                return Next::Frame(self.event());
            } else {
                self.stray_empty_lines += 1;
            }
        }
    }

    fn event(&mut self) -> Frame {
        let lines = std::mem::take(&mut self.event);
        // PROTOCOL E1: in this order, each at most once.
        let mut fields =
            lines.iter().map(|line| line.split_once(':').unwrap_or((line, ""))).peekable();
        let mut field = |name: &str| {
            let (_, value) = fields.next_if(|(found, _)| *found == name)?;
            Some(value.strip_prefix(' ').unwrap_or(value).to_owned())
        };
        let (event, data, id) = (field("event"), field("data"), field("id"));
        let data = data.unwrap_or_else(|| panic!("no event: {lines:?}"));
        assert_eq!(fields.next(), None, "more than an event: {lines:?}");
        let forgets = id.as_deref() == Some("");
        let id = id.filter(|id| !id.is_empty());
        let kind = event.clone().unwrap_or_else(|| "message".to_owned());
        let raw = lines.join("\n");
        let frame = if self.enveloped {
            let frame = Frame::from_envelope(&data);
            assert!(event.is_none_or(|event| event == frame.kind), "{raw}");
            frame
        } else if kind == "error" {
            let problem = serde_json::from_str(&data).unwrap_or_else(|e| panic!("{e} in {data}"));
            Frame { kind, problem: Some(problem), ..Frame::default() }
        } else {
            let without = matches!(kind.as_str(), "gone" | "synced");
            assert!(!without || data == "null", "{raw}");
            Frame { kind, value: (!without).then_some(data), ..Frame::default() }
        };
        Frame { id, forgets, raw, ..frame }
    }

    /// The next frame.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Frame {
        match self.next_within(DEADLINE) {
            Next::Frame(frame) => frame,
            other => panic!("no frame: {other:?}"),
        }
    }

    /// The next message of a session (PROTOCOL M4). Its `id` stands for its `rev`, and is present
    /// only where it is synced.
    #[track_caller]
    pub(crate) fn message(&mut self) -> Value {
        let frame = self.next();
        let message: Value = serde_json::from_str(frame.value.as_deref().unwrap_or_default())
            .unwrap_or_else(|e| panic!("{e} in {}", frame.raw));
        if self.sse {
            let synced = message["rev"].as_str().filter(|_| message["synced"] == true);
            assert_eq!(
                (frame.kind.as_str(), frame.id.as_deref()),
                ("message", synced),
                "{}",
                frame.raw
            );
        }
        message
    }

    /// The next message of state that is synced; others are dropped.
    #[track_caller]
    pub(crate) fn synced(&mut self) -> Value {
        loop {
            let message = self.message();
            if message["synced"] == true {
                return message;
            }
        }
    }

    /// Compares the next frames, in the form of [`Frame::show`].
    #[track_caller]
    pub(crate) fn expect(&mut self, frames: &[&str]) -> Vec<Frame> {
        let came: Vec<Frame> = frames.iter().map(|_| self.next()).collect();
        assert_eq!(came.iter().map(Frame::show).collect::<Vec<_>>(), frames);
        came
    }

    /// All frames up to `synced`, which is the last of them.
    #[track_caller]
    pub(crate) fn until_synced(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while frames.last().is_none_or(|f: &Frame| f.kind != "synced") {
            frames.push(self.next());
        }
        frames
    }

    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let next = self.next_within(DEADLINE);
        assert!(matches!(next, Next::End), "the stream goes on: {next:?}");
    }
}

/// A reader's copy of a resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Mirror {
    /// `None` when nothing is there.
    pub(crate) value: Option<Value>,
}

impl Mirror {
    #[track_caller]
    pub(crate) fn apply(&mut self, frame: &Frame) {
        let read = || -> Value {
            let text = frame.value.as_deref().unwrap_or_else(|| panic!("no value: {}", frame.raw));
            serde_json::from_str(text).unwrap_or_else(|e| panic!("{e} in {}", frame.raw))
        };
        match frame.kind.as_str() {
            "snapshot" | "message" => self.value = Some(read()),
            "merge" => json_patch::merge(self.value.get_or_insert(Value::Null), &read()),
            "patch" => {
                let patch: json_patch::Patch =
                    serde_json::from_value(read()).expect("a JSON Patch");
                let value = self
                    .value
                    .as_mut()
                    .unwrap_or_else(|| panic!("a patch of nothing: {}", frame.raw));
                let applied = json_patch::patch(value, &patch);
                applied.unwrap_or_else(|e| panic!("{e}: {} does not apply to {value}", frame.raw));
            }
            "gone" => self.value = None,
            "synced" => {}
            other => panic!("a frame of the kind {other}: {}", frame.raw),
        }
    }
}

/// A small random number generator (SplitMix64): the same seed, the same numbers.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A seed that differs from run to run, unless the environment sets one.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("HALFPING_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |now| now.as_nanos() as u64)
    });
    println!("HALFPING_SEED={seed} repeats this");
    seed
}
