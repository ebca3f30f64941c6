//! A client's side of a WebSocket session: commands, answers, and mirrors of its links.
//!
//! The WebSocket is tungstenite's, the crate json-patch applies patches: none of Halfping's own
//! code is used here.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

use super::raw::DEADLINE;

/// An open session.
pub(crate) struct Session {
    socket: WebSocket<TcpStream>,
    refs: u64,
}

/// Result of the next look at a session.
#[derive(Debug)]
pub(crate) enum Told {
    Message(Value),
    Closed(u16),
    /// The connection ended without a close frame.
    Cut,
    /// Nothing came in the given time.
    Nothing,
}

impl Session {
    #[track_caller]
    pub(crate) fn open(address: SocketAddr, target: &str) -> Session {
        Session::try_open(address, target).unwrap_or_else(|error| panic!("{target}: {error}"))
    }

    pub(crate) fn try_open(address: SocketAddr, target: &str) -> Result<Session, String> {
        let stream =
            TcpStream::connect_timeout(&address, DEADLINE).map_err(|error| error.to_string())?;
        Session::over(stream, address, target)
    }

    pub(crate) fn over(
        stream: TcpStream,
        address: SocketAddr,
        target: &str,
    ) -> Result<Session, String> {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        let mut request = format!("ws://{address}{target}").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "halfping.v1".parse().unwrap());
        // Small buffers: there are hundreds of these.
        let mut config = WebSocketConfig::default();
        config.read_buffer_size = 8 << 10;
        config.write_buffer_size = 0;
        let opened = tungstenite::client::client_with_config(request, stream, Some(config));
        let (socket, _) = opened.map_err(|error| error.to_string())?;
        Ok(Session { socket, refs: 0 })
    }

    /// Opens a session with a server by this name.
    #[track_caller]
    pub(crate) fn named(stream: TcpStream, authority: &str, target: &str) -> Session {
        let request = format!("ws://{authority}{target}").into_client_request().unwrap();
        let (socket, _) = tungstenite::client(request, stream).expect("a session");
        Session { socket, refs: 0 }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.socket.get_ref()
    }

    pub(crate) fn try_say(&mut self, command: &Value) -> Result<(), Error> {
        self.socket.send(Message::text(command.to_string()))
    }

    #[track_caller]
    pub(crate) fn say(&mut self, command: &Value) {
        self.try_say(command).expect("the connection takes a command");
    }

    /// A number for `ref` that was not used yet.
    pub(crate) fn fresh(&mut self) -> u64 {
        self.refs += 1;
        self.refs
    }

    /// Sends a command with a `ref` of its own and waits for the answer; other messages are
    /// dropped.
    #[track_caller]
    pub(crate) fn ask(&mut self, mut command: Value) -> Value {
        let number = self.fresh();
        command["ref"] = json!(number);
        self.say(&command);
        loop {
            let message = self.next();
            if message["ref"] == number {
                return message;
            }
        }
    }

    /// The next event within this time. Pings are answered along the way.
    pub(crate) fn next_within(&mut self, time: Duration) -> Told {
        let until = Instant::now() + time;
        loop {
            let left =
                until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.stream().set_read_timeout(Some(left)).unwrap();
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    let message = serde_json::from_str(&text);
                    return Told::Message(
                        message.unwrap_or_else(|error| panic!("{error} in {text}")),
                    );
                }
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Close(frame)) => {
                    drop(self.socket.flush());
                    return Told::Closed(frame.map_or(1005, |frame| frame.code.into()));
                }
                Ok(other) => panic!("the server sent {other:?}"),
                Err(Error::Io(e))
                    if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if Instant::now() >= until {
                        return Told::Nothing;
                    }
                }
                Err(Error::Io(e)) if e.kind() == ErrorKind::Interrupted => {}
                Err(Error::Protocol(
                    error @ tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
                )) => {
                    drop(error);
                    return Told::Cut;
                }
                Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_)) => {
                    return Told::Cut;
                }
                Err(error) => panic!("the server breaks the rules: {error}"),
            }
        }
    }

    /// The next message.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Value {
        match self.next_within(DEADLINE) {
            Told::Message(message) => message,
            other => panic!("no message: {other:?}"),
        }
    }

    /// The next message that is state, not an answer.
    #[track_caller]
    pub(crate) fn state(&mut self) -> Value {
        loop {
            let message = self.next();
            if message.get("ref").is_none() && message.get("rev").is_some() {
                return message;
            }
        }
    }

    /// The code with which the server closes; the messages before are dropped.
    #[track_caller]
    pub(crate) fn closed(&mut self) -> u16 {
        let until = Instant::now() + DEADLINE;
        loop {
            match self.next_within(until.saturating_duration_since(Instant::now())) {
                Told::Message(_) => {}
                Told::Closed(code) => return code,
                other => panic!("the session is not closed: {other:?}"),
            }
        }
    }

    /// Sends a close and waits for the answer to it.
    #[track_caller]
    pub(crate) fn close(mut self) {
        let frame =
            tungstenite::protocol::CloseFrame { code: CloseCode::Normal, reason: "".into() };
        self.socket.close(Some(frame)).expect("the connection takes a close frame");
        assert_eq!(self.closed(), 1000);
    }
}

/// A client's state of one link.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// The last complete state; `None` when nothing is there.
    pub(crate) value: Option<Value>,
    /// The state that is being made by a change in parts.
    partial: Option<Option<Value>>,
    /// True if [`Mirrors::synced`] resumes it.
    pub(crate) known: bool,
    pub(crate) phase: Phase,
}

/// The client's knowledge of the server's state of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A `watch` was sent.
    Opening,
    /// The `watch` was answered, or is known to have been handled.
    #[default]
    Open,
    /// An `unwatch` was sent.
    Leaving,
}

/// The links of a session and their states.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mirrors {
    pub(crate) views: HashMap<u64, View>,
    /// The `rev` of the newest message that was synced.
    pub(crate) synced: Option<String>,
    /// True if links have rates: `rev` may then be older than that of the message before (PROTOCOL
    /// L6).
    pub(crate) rated: bool,
    newest: u64,
}

impl Mirrors {
    pub(crate) fn new(rated: bool) -> Mirrors {
        Mirrors { rated, ..Mirrors::default() }
    }

    /// Adds a link that was or is being requested.
    pub(crate) fn open(&mut self, link: u64, phase: Phase) {
        self.views.insert(link, View { phase, ..View::default() });
    }

    /// Applies a message of state. Returns whether it was synced (PROTOCOL L5, L6). `open` says
    /// which links it may be about.
    #[track_caller]
    pub(crate) fn take(&mut self, message: &Value) -> bool {
        let rev = message["rev"].as_str().unwrap_or_else(|| panic!("no rev: {message}"));
        assert!(message["t"].is_u64(), "no t: {message}");
        let number = revision(rev);
        assert!(
            self.rated || number >= self.newest,
            "the cursor goes back from {}: {message}",
            self.newest
        );
        self.newest = number;
        for change in message.get("set").map_or(&Vec::new(), |set| set.as_array().expect("a list"))
        {
            let link = change[0].as_u64().unwrap_or_else(|| panic!("no link: {change}"));
            let view = self
                .views
                .get_mut(&link)
                .unwrap_or_else(|| panic!("link {link} is not open: {message}"));
            view.apply(change);
        }
        let synced = message.get("synced").is_some_and(|synced| synced == true);
        if synced {
            for (link, view) in self.views.iter_mut().filter(|(_, view)| view.phase == Phase::Open)
            {
                assert!(
                    view.partial.is_none(),
                    "synced, and link {link} has parts missing: {message}"
                );
                view.known = true;
            }
            self.synced = Some(rev.to_owned());
        }
        synced
    }

    /// Discards the state of one connection: parts of changes. The rest can be resumed from
    /// [`Mirrors::synced`].
    pub(crate) fn cut(&mut self) {
        // The next connection may be at an older revision than one that was not synced.
        self.newest = 0;
        self.views.retain(|_, view| view.phase != Phase::Leaving);
        for view in self.views.values_mut() {
            (view.partial, view.phase) = (None, Phase::Opening);
        }
    }
}

impl View {
    #[track_caller]
    fn apply(&mut self, change: &Value) {
        let (kind, body) = (change[1].as_str().unwrap_or_default(), &change[2]);
        let mut value = self.partial.take().unwrap_or_else(|| self.value.clone());
        match kind {
            "snapshot" => value = Some(body.clone()),
            "merge" => {
                json_patch::merge(value.get_or_insert(Value::Null), body);
            }
            "patch" => {
                let target =
                    value.as_mut().unwrap_or_else(|| panic!("a patch of nothing: {change}"));
                for operation in body.as_array().unwrap_or_else(|| panic!("no patch: {change}")) {
                    // PROTOCOL S7: the target of a `remove` may be gone already.
                    let gone = operation["op"] == "remove"
                        && target.pointer(operation["path"].as_str().unwrap_or_default()).is_none();
                    if !gone {
                        let one: json_patch::Patch =
                            serde_json::from_value(json!([operation])).unwrap();
                        json_patch::patch(target, &one).unwrap_or_else(|e| {
                            panic!("{e}: {operation} does not apply to {target}")
                        });
                    }
                }
            }
            "gone" => {
                assert_eq!(change.as_array().map(Vec::len), Some(2), "{change}");
                value = None;
            }
            _ => panic!("a change of unknown kind: {change}"),
        }
        match change.get(3) {
            None => self.value = value,
            Some(more) => {
                assert_eq!(more, "more", "{change}");
                self.partial = Some(value);
            }
        }
    }
}

/// The number in a cursor. Clients never need it; tests compare it with the expected one.
#[track_caller]
pub(crate) fn revision(cursor: &str) -> u64 {
    let number = cursor.rsplit_once('.').and_then(|(_, number)| number.parse().ok());
    number.unwrap_or_else(|| panic!("no number in the cursor {cursor}"))
}
