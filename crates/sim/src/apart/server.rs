//! A whole server in this process, as one reader sees it: requests in, the text of answers out.
//! Cursors in that text are numbers, in the order in which the reader was first given them.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use halfping::{Api, ApiKey, Auth, AuthConfig, Hosts, Limits, Options, Rules, new_api_key};
use http::Request;
use http_body::Body as _;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::rules::Claims;
use super::script::{Script, Tag, wide};
use crate::model::merge;

/// Times that a body is asked for more after it asked to be asked.
const TURNS_MAX: usize = 1000;
/// Characters of a cursor's epoch, and of one that is sealed.
const EPOCH: usize = 12;
const SEALED: usize = 22;

/// The one who waits for a body.
#[derive(Default)]
struct Waiter(AtomicBool);

impl Wake for Waiter {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Answering = Pin<Box<dyn Future<Output = Response>>>;

/// What a follower follows: a stream, or a request that is not answered yet.
enum Source {
    Body(Body),
    Request(Answering),
    Ended,
}

/// A stream, a session or a long poll.
pub(crate) struct Follower {
    source: Source,
    waiter: Arc<Waiter>,
    /// What it shows of which paths, by link; `None` for one whose state is not followed here.
    pub(crate) mirrors: Option<BTreeMap<u64, Mirror>>,
    /// True if what came last says that nothing is missing.
    pub(crate) is_synced: bool,
    /// The cursor that came last; `None` for one that is told of no states.
    pub(crate) last: Option<Option<String>>,
}

/// A reader's state of one resource.
#[derive(Clone, Debug)]
pub(crate) struct Mirror {
    pub(crate) path: &'static str,
    pub(crate) value: Option<Value>,
}

pub(crate) struct Server {
    pub(crate) api: Api,
    router: Router,
    reader: String,
    wide: String,
    /// Cursors that the reader was given, in order.
    pub(crate) given: Vec<String>,
    /// Those of them that were the `ETag` of an answer.
    tags: Vec<String>,
    pub(crate) followers: Vec<Follower>,
}

/// A key, and its entry in the configuration.
fn key(number: u8, claims: &Claims) -> (String, ApiKey) {
    let (key, hash) = new_api_key(&[number; 32]);
    let claims = json!({ "sub": claims.sub, "roles": claims.roles, "teams": claims.teams });
    let claims = claims.as_object().cloned().unwrap_or_default();
    (key.reveal().to_owned(), ApiKey { sha256: hash.hex(), claims })
}

impl Server {
    pub(crate) fn new(script: &Script, rules: Rules) -> Result<Server, String> {
        let ((reader, one), (wide, other)) = (key(1, &script.claims), key(2, &wide()));
        let config = AuthConfig { key: vec![one, other], ..AuthConfig::default() };
        let auth = Auth::new(&config, rules, |file| std::fs::read(file));
        let auth = auth.map_err(|error| error.to_string())?;
        let limits = Limits::default().with(|limits| {
            limits.tombstones_per_object = script.tombstones;
            limits.slice_bytes = script.slice_bytes;
        });
        let api = Api::new(Options { limits, auth, hosts: Hosts::Any, ..Options::default() });
        let (router, given, tags, followers) = (api.router(), Vec::new(), Vec::new(), Vec::new());
        Ok(Server { api, router, reader, wide, given, tags, followers })
    }

    /// The cursor that a tag means.
    pub(crate) fn cursor(&self, tag: Tag) -> Option<&str> {
        match tag {
            Tag::Given(number) if !self.given.is_empty() => {
                Some(&self.given[number % self.given.len()])
            }
            _ => None,
        }
    }

    /// A tag as it stands in a header.
    pub(crate) fn quoted(&self, tag: Tag) -> Option<String> {
        match tag {
            Tag::Any => Some("*".to_owned()),
            tag => self.cursor(tag).map(|cursor| format!("\"{cursor}\"")),
        }
    }

    /// `since=CURSOR`, as the last parameter of a query.
    pub(crate) fn since(&self, tag: Tag) -> String {
        self.cursor(tag).map_or(String::new(), |cursor| format!("&since={cursor}"))
    }

    /// A session that watches paths, from a state. `is_refreshed`: it does so first as somebody
    /// else.
    pub(crate) fn commands(
        &self,
        paths: &[&str],
        shape: &str,
        since: Tag,
        is_refreshed: bool,
    ) -> Value {
        let watch = |first: usize| {
            let links =
                paths.iter().enumerate().map(|(number, path)| json!([first + number, path]));
            let mut watch = json!({ "watch": links.collect::<Vec<_>>(), "ref": first });
            for parameter in shape.split('&').filter(|parameter| !parameter.is_empty()) {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, "true"));
                let value = value.replace("%3E", ">");
                watch[name] = match name {
                    "depth" | "limit" | "count" | "delta" => {
                        serde_json::from_str(&value).unwrap_or_default()
                    }
                    _ => value.into(),
                };
            }
            if let Some(cursor) = self.cursor(since) {
                watch["since"] = cursor.into();
            }
            watch
        };
        match is_refreshed {
            false => json!([watch(1)]),
            true => json!([
                { "auth": self.wide, "ref": 100 },
                watch(11),
                { "auth": self.reader, "ref": 101 },
                watch(1),
            ]),
        }
    }

    pub(crate) fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answering {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header("host", "test")
            .header("authorization", format!("Bearer {}", self.reader));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map_or(Body::empty(), |body| Body::from(body.to_string()));
        let answer = self.router.clone().oneshot(request.body(body).expect("a good request"));
        Box::pin(async move { answer.await.unwrap_or_else(|never| match never {}) })
    }

    /// The answer to a request, with its body if that ends.
    pub(crate) async fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
        mirrors: Option<BTreeMap<u64, Mirror>>,
    ) -> (String, String, Option<Follower>) {
        let answer = self.request(method, target, headers, body).await;
        let head = head(&answer);
        let mut follower = Follower::new(Source::Body(answer.into_body()), mirrors);
        let text = follower.read();
        let goes_on = !matches!(follower.source, Source::Ended);
        (head, text, goes_on.then_some(follower))
    }

    /// Follows the answer to a request that may take its time.
    pub(crate) fn wait(&mut self, request: Answering) {
        self.followers.push(Follower::new(Source::Request(request), None));
    }

    /// A text as it is the same for equal readers: without times, with members and operations in
    /// order, and with tokens for cursors. `learns`: cursors that are new are remembered.
    ///
    /// The `ETag` of an answer is a number, by the order in which they first came. In a stream
    /// `last` is the cursor before the text: `<=>` is the same, and `<+>` another, since that of a
    /// first state, or of a late one, may depend on what is hidden (PROTOCOL I28c). Of those, only
    /// the last is remembered.
    pub(crate) fn plain(
        &mut self,
        text: &str,
        last: &mut Option<Option<String>>,
        learns: bool,
    ) -> String {
        let before = last.clone().flatten();
        let text = text.lines().map(in_order).collect::<Vec<_>>().join("\n");
        let mut out = String::with_capacity(text.len());
        let mut rest = &*text;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("\"t\":") {
                let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
                (out, rest) = (out + "\"t\":T", &after[end..]);
                continue;
            }
            let Some(length) = cursor(rest) else {
                let length = rest.chars().next().map_or(1, char::len_utf8);
                out.push_str(&rest[..length]);
                rest = &rest[length..];
                continue;
            };
            let found = &rest[..length];
            // That of a state, in clear, is told as it is.
            match length == EPOCH + 1 + SEALED {
                false => out.push_str(&found[EPOCH..]),
                true => out.push_str(&match last {
                    None => self.token(found, learns),
                    Some(last) => {
                        *last = Some(found.to_owned());
                        let is_same = before.as_deref() == Some(found);
                        if is_same { "<=>" } else { "<+>" }.to_owned()
                    }
                }),
            }
            rest = &rest[length..];
        }
        if let Some(Some(last)) = last
            && learns
            && before.as_ref() != Some(last)
        {
            self.given.push(last.clone());
        }
        out
    }

    fn token(&mut self, found: &str, learns: bool) -> String {
        if !learns {
            return "<?>".to_owned();
        }
        let number = self.tags.iter().position(|tag| tag == found).unwrap_or_else(|| {
            self.tags.push(found.to_owned());
            self.given.push(found.to_owned());
            self.tags.len() - 1
        });
        format!("<{number}>")
    }
}

/// A line with the members of what is JSON in it, and the operations of a patch, in order.
fn in_order(line: &str) -> String {
    let (before, json) = line.split_at(if line.starts_with("data: ") { 6 } else { 0 });
    let Ok(mut value) = serde_json::from_str::<Value>(json) else { return line.to_owned() };
    fn sort(value: &mut Value) {
        match value {
            Value::Array(list) => {
                list.iter_mut().for_each(sort);
                let is_patch = list.iter().all(|one| one.get("op").is_some());
                let are_links = list.iter().all(|one| one.get(1).is_some_and(Value::is_string));
                if is_patch || are_links {
                    list.sort_by_key(Value::to_string);
                }
            }
            Value::Object(members) => members.values_mut().for_each(sort),
            _ => {}
        }
    }
    sort(&mut value);
    format!("{before}{value}")
}

/// Bytes of the cursor with which a text begins, if it does.
fn cursor(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let epoch = bytes.get(..EPOCH)?;
    let is_epoch = epoch.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
    if !is_epoch || bytes.get(EPOCH) != Some(&b'.') {
        return None;
    }
    let is_inside = |b: &&u8| b.is_ascii_alphanumeric() || **b == b'-' || **b == b'_';
    let length = bytes[EPOCH + 1..].iter().take_while(is_inside).count();
    (length > 0).then_some(EPOCH + 1 + length)
}

/// The head of an answer, as text.
fn head(answer: &Response) -> String {
    let mut lines: Vec<String> = answer
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    lines.sort();
    format!("{} {}", answer.status().as_u16(), lines.join("; "))
}

impl Follower {
    fn new(source: Source, mirrors: Option<BTreeMap<u64, Mirror>>) -> Follower {
        Follower { source, waiter: Arc::default(), mirrors, is_synced: false, last: None }
    }

    /// Reads all that there is to be read now.
    pub(crate) fn read(&mut self) -> String {
        let waker = Waker::from(self.waiter.clone());
        let mut cx = Context::from_waker(&waker);
        let mut text = String::new();
        for _ in 0..TURNS_MAX {
            self.waiter.0.store(false, Ordering::Relaxed);
            let body = match &mut self.source {
                Source::Ended => break,
                Source::Body(body) => body,
                Source::Request(request) => match request.as_mut().poll(&mut cx) {
                    Poll::Ready(answer) => {
                        text.push_str(&format!("{}\n", head(&answer)));
                        self.source = Source::Body(answer.into_body());
                        continue;
                    }
                    Poll::Pending if self.waiter.0.load(Ordering::Relaxed) => continue,
                    Poll::Pending => break,
                },
            };
            match Pin::new(body).poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_default();
                    text.push_str(&String::from_utf8_lossy(&data));
                }
                Poll::Ready(Some(Err(error))) => text.push_str(&format!("error: {error}")),
                Poll::Ready(None) => self.source = Source::Ended,
                Poll::Pending if self.waiter.0.load(Ordering::Relaxed) => {}
                Poll::Pending => break,
            }
        }
        self.mirror(&text);
        text
    }

    /// Applies what came to the states that are followed here.
    fn mirror(&mut self, text: &str) {
        let Some(mirrors) = &mut self.mirrors else { return };
        for line in text.lines() {
            let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
            if let Some(kind) = message["kind"].as_str() {
                let link = match message["path"].as_str() {
                    None => mirrors.values_mut().next(),
                    Some(path) => mirrors.values_mut().find(|mirror| mirror.path == path),
                };
                self.is_synced = message.get("rev").is_some();
                if let Some(mirror) = link {
                    mirror.apply(kind, &message["value"]);
                }
                continue;
            }
            if let Some(link) = message["link"].as_u64() {
                mirrors.remove(&link);
            }
            for change in message["set"].as_array().into_iter().flatten() {
                let link = change[0].as_u64().unwrap_or_default();
                if let Some(mirror) = mirrors.get_mut(&link) {
                    mirror.apply(change[1].as_str().unwrap_or_default(), &change[2]);
                }
            }
            if message.get("t").is_some() {
                self.is_synced = message["synced"] == true;
            }
        }
    }
}

impl Mirror {
    fn apply(&mut self, kind: &str, body: &Value) {
        match kind {
            "snapshot" => self.value = Some(body.clone()),
            "merge" => merge(self.value.get_or_insert(Value::Null), body),
            "patch" => {
                let value = self.value.get_or_insert(Value::Null);
                for operation in body.as_array().into_iter().flatten() {
                    let place = operation["path"].as_str().unwrap_or_default();
                    // What is to be removed may not be there (PROTOCOL S7).
                    if operation["op"] == "remove" && value.pointer(place).is_none() {
                        continue;
                    }
                    let patch = serde_json::from_value::<json_patch::Patch>(json!([operation]));
                    let done = patch.map(|patch| json_patch::patch(value, &patch).is_ok());
                    if !done.unwrap_or(false) {
                        *value = json!(format!("the patch {operation} does not apply"));
                    }
                }
            }
            "gone" => self.value = None,
            _ => {}
        }
    }
}
