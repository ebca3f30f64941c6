//! Watching: the [`Machine`] driven over HTTP.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Response, Url};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::client::{Client, send};
use crate::error::{NetworkFault, NoAnswer, PathError, PeerFault, Refusal, WatchError};
use crate::frame::{Cursor, Frame};
use crate::machine::Machine;

/// Silence after which a connection is lost: three times the 15 s within which a server sends
/// something (N2).
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// Options of a watch. The default is the whole value, without a limit of rate, from the current
/// state.
#[derive(Debug, Clone, Default)]
pub struct WatchOptions {
    /// At most this many updates a second, each with the newest state (S9).
    pub rate: Option<f64>,
    /// Levels of objects below the resource that are sent (R5).
    pub depth: Option<u32>,
    /// The condition of the members that are shown, such as `speed > 50` (Q3).
    pub filter: Option<String>,
    /// The members that are shown of each of these, such as `line,driver(name)` (Q2).
    pub select: Option<String>,
    /// The order of these members, such as `-speed,line`, for a limit or a list (Q11).
    pub order: Option<String>,
    /// Only so many members, the first in that order (Q11).
    pub limit: Option<usize>,
    /// The number of members instead of the members (Q14).
    pub count: bool,
    /// An array of names and members in order instead of an object (Q15): whole values.
    pub list: bool,
    /// Whole values only, no deltas (S4).
    pub whole: bool,
    /// State to resume from: only later changes are sent (S8).
    pub since: Option<Cursor>,
}

/// Event of a watch.
#[derive(Debug)]
pub enum Event {
    /// The server has answered. The changes since `since` come next, or the whole state when there
    /// is no `since`.
    Connected {
        /// The cursor that the stream resumes from.
        since: Option<Cursor>,
    },
    /// The next frame.
    Frame(Frame),
    /// The connection is lost. The next call waits `retry_in` and tries again.
    Lost {
        /// The reason.
        why: Lost,
        /// The wait before the next attempt.
        retry_in: Duration,
    },
}

/// Reason why a watch has no connection at the moment.
#[derive(Debug)]
#[non_exhaustive]
pub enum Lost {
    /// The server ended the stream, as it does when it drains.
    Closed,
    /// Nothing came for this long, not even a keep-alive.
    Silent(Duration),
    /// The server cannot answer now (408, 429 or 5xx).
    Refused(Refusal),
    /// The network failed.
    Network(NetworkFault),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Closed => f.write_str("the server ended the stream"),
            Lost::Silent(time) => write!(f, "the server was silent for {} s", time.as_secs()),
            Lost::Refused(refusal) => refusal.fmt(f),
            Lost::Network(fault) => fault.fmt(f),
        }
    }
}

/// A watch of one resource. Dropping it ends the stream.
pub struct Watch {
    client: Client,
    /// The URL without `since`, which the machine adds.
    url: Url,
    machine: Machine,
    state: State,
    silence_max: Duration,
}

enum State {
    Waiting {
        until: Instant,
    },
    Connecting {
        since: Option<Cursor>,
        answer: Pin<Box<dyn Future<Output = Result<Response, Failure>> + Send>>,
    },
    Streaming {
        answer: Response,
        heard: Instant,
    },
    Ended,
}

enum Failure {
    ForNow(Lost),
    ForGood(WatchError),
}

impl Client {
    /// Watches the resource at `path`, which is written as in a URL and may have a query; `options`
    /// take precedence over the query. No connection is made before the first [`Watch::next`].
    pub fn watch(&self, path: &str, options: WatchOptions) -> Result<Watch, PathError> {
        let mut url = self.url(path)?;
        let mut shape = Vec::new();
        shape.extend(options.rate.map(|rate| ("rate", rate.to_string())));
        shape.extend(options.depth.map(|depth| ("depth", depth.to_string())));
        let is_whole = options.whole || options.list;
        shape.extend(is_whole.then(|| ("delta", "false".to_owned())));
        shape.extend(options.filter.map(|condition| ("where", condition)));
        shape.extend(options.select.map(|names| ("select", names)));
        shape.extend(options.order.map(|names| ("order", names)));
        shape.extend(options.limit.map(|members| ("limit", members.to_string())));
        shape.extend(options.count.then(|| ("count", "true".to_owned())));
        shape.extend(options.list.then(|| ("as", "list".to_owned())));
        for (name, value) in &shape {
            set_parameter(&mut url, name, value);
        }
        let since = take_parameter(&mut url, "since").map(Cursor::from);
        let seed = RandomState::new().hash_one(url.as_str());
        Ok(Watch {
            client: self.clone(),
            url,
            machine: Machine::new(options.since.or(since), seed),
            state: State::Waiting { until: Instant::now() },
            silence_max: SILENCE_MAX,
        })
    }
}

impl Watch {
    /// Waits for the next event. An error ends the watch.
    ///
    /// Dropping the future loses nothing, so it can be used in a `select!`.
    pub async fn next(&mut self) -> Result<Event, WatchError> {
        loop {
            match &mut self.state {
                State::Waiting { until } => {
                    sleep_until(*until).await;
                    let since = self.machine.cursor().cloned();
                    let answer = Box::pin(connect(
                        self.client.clone(),
                        self.request_url(),
                        self.silence_max,
                    ));
                    self.state = State::Connecting { since, answer };
                }
                State::Connecting { since, answer } => match answer.await {
                    Ok(answer) => {
                        let since = since.take();
                        self.state = State::Streaming { answer, heard: Instant::now() };
                        return Ok(Event::Connected { since });
                    }
                    Err(Failure::ForNow(why)) => return Ok(self.lost(why)),
                    Err(Failure::ForGood(error)) => return Err(self.end(error)),
                },
                State::Streaming { answer, heard } => {
                    match self.machine.next_frame() {
                        Ok(Some(frame)) => return Ok(Event::Frame(frame)),
                        Ok(None) => {}
                        Err(error) => return Err(self.end(PeerFault::from(error).into())),
                    }
                    match timeout_at(*heard + self.silence_max, answer.chunk()).await {
                        Ok(Ok(Some(bytes))) => {
                            *heard = Instant::now();
                            self.machine.feed(&bytes);
                        }
                        Ok(Ok(None)) => return Ok(self.lost(Lost::Closed)),
                        Ok(Err(error)) => return Ok(self.lost(Lost::Network(error.into()))),
                        Err(_) => return Ok(self.lost(Lost::Silent(self.silence_max))),
                    }
                }
                State::Ended => return Err(WatchError::Ended),
            }
        }
    }

    /// The cursor of the last whole state: `since` for a later watch of the same resource.
    pub fn cursor(&self) -> Option<&Cursor> {
        self.machine.cursor()
    }

    fn request_url(&self) -> Url {
        let mut url = self.url.clone();
        if let Some(cursor) = self.machine.cursor() {
            set_parameter(&mut url, "since", cursor.as_str());
        }
        url
    }

    fn lost(&mut self, why: Lost) -> Event {
        let retry_after = match &why {
            Lost::Refused(refusal) => refusal.retry_after,
            _ => None,
        };
        let retry_in = self.machine.lost(retry_after);
        self.state = State::Waiting { until: Instant::now() + retry_in };
        Event::Lost { why, retry_in }
    }

    fn end(&mut self, error: WatchError) -> WatchError {
        self.state = State::Ended;
        error
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("url", &self.url.as_str())
            .field("cursor", &self.cursor())
            .finish()
    }
}

/// Opens the stream. The wait for the head of the answer is limited like silence on the stream.
async fn connect(client: Client, url: Url, silence_max: Duration) -> Result<Response, Failure> {
    let request = client.http().get(url).header(ACCEPT, "application/x-ndjson");
    let answer = match timeout_at(Instant::now() + silence_max, send(request)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(NoAnswer::Network(fault))) => return Err(Failure::ForNow(Lost::Network(fault))),
        Ok(Err(NoAnswer::Refused(no))) if no.may_pass() => {
            return Err(Failure::ForNow(Lost::Refused(no)));
        }
        Ok(Err(NoAnswer::Refused(no))) => return Err(Failure::ForGood(no.into())),
        Ok(Err(NoAnswer::PeerFault(fault))) => return Err(Failure::ForGood(fault.into())),
        Err(_) => return Err(Failure::ForNow(Lost::Silent(silence_max))),
    };
    let content_type = answer
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("no type");
    match content_type.split(';').next().unwrap_or_default().trim() {
        "application/x-ndjson" | "application/jsonl" => Ok(answer),
        other => {
            Err(Failure::ForGood(PeerFault::NotAStream { content_type: other.to_owned() }.into()))
        }
    }
}

/// Removes a parameter from the query and leaves the others as they are written.
fn take_parameter(url: &mut Url, name: &str) -> Option<String> {
    let value = url.query_pairs().find(|(key, _)| key == name)?.1.into_owned();
    let others = url.query().unwrap_or_default().split('&');
    let others: Vec<&str> = others.filter(|pair| pair.split('=').next() != Some(name)).collect();
    let others = others.join("&");
    url.set_query((!others.is_empty()).then_some(&others));
    Some(value)
}

fn set_parameter(url: &mut Url, name: &str, value: &str) {
    take_parameter(url, name);
    url.query_pairs_mut().append_pair(name, value);
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n";
    /// Mark at the end of an answer: the connection stays open and silent.
    const HOLD: &str = "(hold)";

    /// Watches `/a` on a server that gives one of `answers` to each connection and then closes it.
    /// Compares the requests' targets and the events, in one list. Waits are shown in whole
    /// seconds.
    async fn check(answers: &[String], expect: &[&str]) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let mut watch = Client::new(&base).unwrap().watch("/a", WatchOptions::default()).unwrap();
        watch.silence_max = Duration::from_millis(300);

        let answers: Vec<String> = answers.to_vec();
        let (targets, mut asked) = tokio::sync::mpsc::channel(1);
        let server = tokio::spawn(async move {
            for answer in answers {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(socket.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                assert!(head.to_lowercase().contains("accept: application/x-ndjson\r\n"));
                targets.send(head.split(' ').nth(1).unwrap().to_owned()).await.unwrap();
                socket.write_all(answer.trim_end_matches(HOLD).as_bytes()).await.unwrap();
                if answer.ends_with(HOLD) {
                    let _ = socket.read_u8().await;
                }
            }
        });

        let mut story = Vec::new();
        while story.len() < expect.len() {
            let event = watch.next().await;
            if let Ok(target) = asked.try_recv() {
                story.push(format!("GET {target}"));
            }
            story.push(match event {
                Ok(Event::Connected { since }) => {
                    format!("connected, since {}", since.as_ref().map_or("-", Cursor::as_str))
                }
                Ok(Event::Frame(frame)) => {
                    format!("{:?} {}", frame.kind, frame.rev.as_ref().map_or("-", Cursor::as_str))
                }
                Ok(Event::Lost { why: Lost::Network(_), retry_in }) => {
                    format!("lost for {} s: (network)", retry_in.as_secs())
                }
                Ok(Event::Lost { why, retry_in }) => {
                    format!("lost for {} s: {why}", retry_in.as_secs())
                }
                Err(error) => format!("ended: {error}"),
            });
        }
        server.abort();
        assert_eq!(story, expect);
    }

    fn stream(frames: &str) -> String {
        format!("{STREAM}{frames}")
    }

    #[tokio::test]
    async fn it_resumes_from_the_last_whole_state() {
        check(&[
                stream("{\"kind\":\"snapshot\",\"rev\":\"e.1\",\"value\":{}}\n{\"kind\":\"merge\",\"value\":{\"part\":1}}\n"),
                stream("{\"kind\":\"merge\",\"rev\":\"e.3\",\"value\":{}}\n{\"kind\":\"syn"),
                stream("{\"kind\":\"synced\",\"rev\":\"e.3\"}\n(hold)"),
            ],
            &[
                "GET /a",
                "connected, since -",
                "Snapshot e.1",
                "Merge -",
                "lost for 0 s: the server ended the stream",
                "GET /a?since=e.1",
                "connected, since e.1",
                "Merge e.3",
                "lost for 0 s: the server ended the stream",
                "GET /a?since=e.3",
                "connected, since e.3",
                "Synced e.3",
            ],
        )
        .await;
    }

    #[tokio::test]
    async fn a_cut_in_the_middle_of_a_chunk_is_a_loss_too() {
        let chunked = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n\
                       1c\r\n{\"kind\":\"gone\",\"rev\":\"e.1\"}\n\r\nff\r\n{\"kind\":";
        check(
            &[chunked.to_owned(), stream(HOLD)],
            &[
                "GET /a",
                "connected, since -",
                "Gone e.1",
                "lost for 0 s: (network)",
                "GET /a?since=e.1",
                "connected, since e.1",
            ],
        )
        .await;
    }

    #[tokio::test]
    async fn silence_is_a_loss() {
        check(
            &[stream(HOLD), HOLD.to_owned(), stream(HOLD)],
            &[
                "GET /a",
                "connected, since -",
                "lost for 0 s: the server was silent for 0 s",
                "GET /a",
                "lost for 0 s: the server was silent for 0 s",
                "GET /a",
                "connected, since -",
            ],
        )
        .await;
    }

    #[tokio::test]
    async fn a_refusal_ends_it() {
        let body = "{\"type\":\"urn:halfping:problem:bad-path\",\"detail\":\"empty segment\"}";
        let answer =
            format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        check(
            &[answer],
            &["GET /a", "ended: 400 bad-path: empty segment", "ended: the watch has ended"],
        )
        .await;
    }

    #[tokio::test]
    async fn a_busy_server_is_asked_again_when_it_says() {
        let busy = |status: &str| {
            format!("HTTP/1.1 {status}\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n")
        };
        check(
            &[busy("503 Service Unavailable"), busy("429 Too Many Requests")],
            &[
                "GET /a",
                "lost for 1 s: 503 Service Unavailable",
                "GET /a",
                "lost for 1 s: 429 Too Many Requests",
            ],
        )
        .await;
    }

    #[tokio::test]
    async fn what_is_no_halfping_server_ends_it() {
        let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<html>";
        check(
            &[page.to_owned()],
            &["GET /a", "ended: the server answered with text/html rather than a stream of frames"],
        )
        .await;
        let moved = "HTTP/1.1 301 Moved\r\nlocation: https://b/\r\ncontent-length: 0\r\n\r\n";
        check(&[moved.to_owned()], &["GET /a", "ended: the server redirects (301) to https://b/"])
            .await;
        check(&[stream("{}\n")],
            &[
                "GET /a",
                "connected, since -",
                "ended: the server sent a line that is not a frame (missing field `kind` at line 1 column 2): {}",
            ],
        )
        .await;
    }

    #[tokio::test]
    async fn nobody_there_is_a_loss() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let mut watch = Client::new(&base).unwrap().watch("/a", WatchOptions::default()).unwrap();
        let Ok(Event::Lost { why: Lost::Network(fault), .. }) = watch.next().await else {
            panic!("no loss")
        };
        assert!(fault.is_connect());
        assert!(fault.to_string().starts_with("no connection: Connection refused"), "{fault}");
    }

    #[tokio::test]
    async fn options_win_over_the_query() {
        let client = Client::new("http://h").unwrap();
        let options = WatchOptions {
            rate: Some(0.5),
            depth: Some(2),
            filter: Some("a && b == \"c\"".into()),
            select: Some("d(e)".into()),
            order: Some("-d".into()),
            limit: Some(3),
            list: true,
            since: Some("e.9".into()),
            ..WatchOptions::default()
        };
        let watch = client.watch("/a?rate=7&where=x&limit=9&watch&since=e.1", options).unwrap();
        assert_eq!(
            watch.request_url().as_str(),
            "http://h/a?watch&rate=0.5&depth=2&delta=false&where=a+%26%26+b+%3D%3D+%22c%22\
             &select=d%28e%29&order=-d&limit=3&as=list&since=e.9"
        );
        let options = WatchOptions { count: true, whole: true, ..WatchOptions::default() };
        let watch = client.watch("/a", options).unwrap();
        assert_eq!(watch.request_url().as_str(), "http://h/a?delta=false&count=true");
        let watch = client.watch("/a?since=e.1", WatchOptions::default()).unwrap();
        assert_eq!(watch.request_url().as_str(), "http://h/a?since=e.1");
    }
}
