//! Watching: the [`Machine`] driven over HTTP.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Response, Url};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::client::Client;
use crate::error::{NetworkFault, NoAnswer, PathError, PeerFault, Refusal, TokenFault, WatchError};
use crate::frame::{Cursor, Frame, Kind};
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
    /// The token has expired. The next attempt asks for another.
    TokenExpired,
    /// There is no token to show.
    Token(TokenFault),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Closed => f.write_str("the server ended the stream"),
            Lost::Silent(time) => write!(f, "the server was silent for {} s", time.as_secs()),
            Lost::Refused(refusal) => refusal.fmt(f),
            Lost::Network(fault) => fault.fmt(f),
            Lost::TokenExpired => f.write_str("the token has expired"),
            Lost::Token(fault) => fault.fmt(f),
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
    /// A token that a stream ended with: another one is asked for.
    ended: Option<HeaderValue>,
    silence_max: Duration,
}

/// A stream, and the token that opened it.
type Opened = (Response, Option<HeaderValue>);

enum State {
    Waiting {
        until: Instant,
    },
    Connecting {
        since: Option<Cursor>,
        answer: Pin<Box<dyn Future<Output = Result<Opened, Failure>> + Send>>,
    },
    Streaming {
        answer: Response,
        token: Option<HeaderValue>,
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
            ended: None,
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
                        self.ended.clone(),
                        self.silence_max,
                    ));
                    self.state = State::Connecting { since, answer };
                }
                State::Connecting { since, answer } => match answer.await {
                    Ok((answer, token)) => {
                        let since = since.take();
                        self.state = State::Streaming { answer, token, heard: Instant::now() };
                        return Ok(Event::Connected { since });
                    }
                    Err(Failure::ForNow(why)) => return Ok(self.lost(why)),
                    Err(Failure::ForGood(error)) => return Err(self.end(error)),
                },
                State::Streaming { answer, token, heard } => {
                    match self.machine.next_frame() {
                        Ok(Some(frame)) if self.client.renews() && ends_with_token(&frame) => {
                            self.ended = token.take();
                            return Ok(self.lost(Lost::TokenExpired));
                        }
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

/// True for the frame by which a stream ends with the token that opened it (I17).
fn ends_with_token(frame: &Frame) -> bool {
    let problem = frame.problem.as_ref().and_then(|problem| problem.name());
    frame.kind == Kind::Error && problem == Some("token-expired")
}

/// Opens the stream. The wait for the head of the answer is limited like silence on the stream.
async fn connect(
    client: Client,
    url: Url,
    mut token: Option<HeaderValue>,
    silence_max: Duration,
) -> Result<Opened, Failure> {
    let request = client.http().get(url).header(ACCEPT, "application/x-ndjson");
    let answer =
        match timeout_at(Instant::now() + silence_max, client.send_showing(request, &mut token))
            .await
        {
            Ok(Ok(answer)) => answer,
            Ok(Err(NoAnswer::Network(fault))) => return Err(Failure::ForNow(Lost::Network(fault))),
            Ok(Err(NoAnswer::Token(fault))) => return Err(Failure::ForNow(Lost::Token(fault))),
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
        "application/x-ndjson" | "application/jsonl" => Ok((answer, token)),
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
mod tests;
