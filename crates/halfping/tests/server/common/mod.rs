//! A server in this process, and conversations with it.

// Each test file uses its own part; the helpers are tests too.
#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod identity;
pub(crate) mod raw;
pub(crate) mod session;

use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use halfping::{Api, Hosts, Limits, Options, Server};
use tokio::sync::oneshot;

use raw::{Answer, Connection, DEADLINE, Stream};

/// A server that runs on threads of its own. It is told to stop when it is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) api: Api,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

pub(crate) fn serve() -> Running {
    serve_with(Options::default())
}

pub(crate) fn serve_limited(change: impl FnOnce(&mut Limits)) -> Running {
    let mut options = Options::default();
    change(&mut options.limits);
    serve_with(options)
}

/// Starts a server with these options, except that any `Host` is allowed: tests send `test`.
pub(crate) fn serve_with(options: Options) -> Running {
    serve_exactly(Options { hosts: Hosts::Any, ..options })
}

/// Starts a server with exactly these options.
pub(crate) fn serve_exactly(options: Options) -> Running {
    serve_api(Api::new(options))
}

/// Starts a server of this API.
pub(crate) fn serve_api(api: Api) -> Running {
    let (stop, stopped) = oneshot::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    let of_server = api.clone();
    let thread = std::thread::spawn(move || {
        let runtime = runtime();
        runtime.block_on(async {
            let server = Server::bind("127.0.0.1:0".parse().unwrap(), of_server).await?;
            tell.send(server.local_addr()).unwrap();
            server.run(async { drop(stopped.await) }).await
        })
    });
    let address = told.recv_timeout(DEADLINE).expect("the server starts");
    Running { address, api, stop: Some(stop), thread: Some(thread) }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

impl Running {
    pub(crate) fn talk(&self) -> Talk {
        Talk { connection: Connection::open(self.address) }
    }

    #[track_caller]
    pub(crate) fn stream(&self, short: &str) -> Stream {
        Stream::open(self.address, short)
    }

    /// Opens a stream of server-sent events at a path.
    #[track_caller]
    pub(crate) fn sse(&self, target: &str) -> Stream {
        self.stream(&format!("GET {target}\nAccept: text/event-stream"))
    }

    /// Opens a stream of lines at a path.
    #[track_caller]
    pub(crate) fn ndjson(&self, target: &str) -> Stream {
        self.stream(&format!("GET {target}\nAccept: application/x-ndjson"))
    }

    /// Opens a session at a target.
    #[track_caller]
    pub(crate) fn session(&self, target: &str) -> session::Session {
        session::Session::open(self.address, target)
    }

    /// Makes writes that are expected to work, on a connection of their own: `PUT /a 1`, `MERGE /
    /// {"a":1}`, `DELETE /a`.
    #[track_caller]
    pub(crate) fn write(&self, writes: &[&str]) -> Vec<Answer> {
        self.talk().write(writes)
    }

    /// Reads a metric without labels.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let metrics = self.talk().ask("GET /_metrics");
        let value =
            metrics.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {}", metrics.text())).parse().unwrap()
    }

    /// Waits until this many links are open: each request that waits for a change has one.
    #[track_caller]
    pub(crate) fn until_links(&self, links: u64) {
        let until = Instant::now() + DEADLINE;
        while self.metric("halfping_links") < links {
            assert!(Instant::now() < until, "the server has less than {links} links");
            std::thread::yield_now();
        }
    }

    /// Tells the server to stop.
    pub(crate) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Tells the server to stop, and waits until it has. Returns the time that this took.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Duration {
        let begun = Instant::now();
        self.begin_stop();
        let thread = self.thread.take().unwrap();
        while !thread.is_finished() {
            assert!(begun.elapsed() < DEADLINE, "the server does not stop");
            std::thread::yield_now();
        }
        thread.join().expect("no panic").expect("no error");
        begun.elapsed()
    }
}

/// Requests and expected answers on one connection.
pub(crate) struct Talk {
    pub(crate) connection: Connection,
}

impl Talk {
    #[track_caller]
    pub(crate) fn ask(&mut self, short: &str) -> Answer {
        self.connection.ask(short)
    }

    /// Sends a request and compares the answer with the expected one: the status, perhaps the name
    /// of a problem; lines of headers; an empty line and the body.
    ///
    /// A header's value can be `*`, or end in `*`; `!Name` must be absent. Each expected line of a
    /// problem's body has to be somewhere in it. After a problem, the same connection has to work
    /// and the tree has to be unchanged (PROTOCOL X1, X2, X3).
    #[track_caller]
    pub(crate) fn check(&mut self, short: &str, expect: &str) -> Answer {
        self.check_bytes(&raw::request(short), short, expect)
    }

    #[track_caller]
    pub(crate) fn check_bytes(&mut self, request: &[u8], short: &str, expect: &str) -> Answer {
        let problem =
            expect.lines().next().and_then(|first| first.trim().split_once(' ')).is_some();
        let before = problem.then(|| self.ask("GET /?depth=0").cursor());
        self.connection.send(request);
        let answer = self.connection.answer(short.starts_with("HEAD "));
        compare(short, &answer, expect, short.starts_with("HEAD "));
        if let Some(before) = before {
            self.connection.send(&raw::request("GET /?depth=0"));
            let after = self.connection.try_head();
            let (status, headers) =
                after.unwrap_or_else(|| panic!("{short}: the connection is gone after it"));
            let after = self.connection.body(status, headers, false);
            assert_eq!(after.cursor(), before, "{short}: changed the tree");
        }
        answer
    }

    /// See [`Running::write`].
    #[track_caller]
    pub(crate) fn write(&mut self, writes: &[&str]) -> Vec<Answer> {
        let one = |write: &&str| {
            let mut words = write.splitn(3, ' ');
            let (method, path) = (words.next().unwrap(), words.next().unwrap());
            let body = words.next().unwrap_or_default();
            let answer = match method {
                "MERGE" => self.ask(&format!(
                    "PATCH {path}\nContent-Type: application/merge-patch+json\n\n{body}"
                )),
                _ => self.ask(&format!("{method} {path}\n\n{body}")),
            };
            assert!(
                (200..300).contains(&answer.status),
                "{write}: {} {}",
                answer.status,
                answer.text()
            );
            answer
        };
        writes.iter().map(one).collect()
    }
}

/// Compares an answer with the expected one; see [`Talk::check`].
#[track_caller]
pub(crate) fn compare(short: &str, answer: &Answer, expect: &str, to_head: bool) {
    let (head, body) = match expect.split_once("\n\n") {
        Some((head, body)) => (head, Some(body)),
        None => (expect, None),
    };
    let said = format!("{short}\n\n{answer:?}");
    let mut lines = head.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut words = lines.next().expect("a status").split(' ');
    assert_eq!(answer.status.to_string(), words.next().unwrap(), "{said}");
    for line in lines {
        if let Some(absent) = line.strip_prefix('!') {
            assert_eq!(answer.header(absent), None, "{absent} in {said}");
            continue;
        }
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no header: {line}"));
        let has = answer.header(name).unwrap_or_else(|| panic!("no {name} in {said}"));
        match value.strip_suffix('*') {
            Some(start) => assert!(has.starts_with(start), "{name} in {said}"),
            None => assert_eq!(has, value, "{name} in {said}"),
        }
    }
    let Some(problem) = words.next() else {
        if let Some(body) = body {
            assert_eq!(answer.text(), body, "{said}");
        }
        return;
    };
    // PROTOCOL X1
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{said}");
    if to_head {
        assert!(answer.body.is_empty(), "{said}");
        return;
    }
    let document = answer.json();
    assert_eq!(document["type"], format!("urn:halfping:problem:{problem}"), "{said}");
    assert_eq!(document["status"], answer.status, "{said}");
    for member in ["title", "detail"] {
        assert!(
            document[member].as_str().is_some_and(|text| !text.is_empty()),
            "{member} in {said}"
        );
    }
    assert_eq!(document.get("limit").is_some(), document.get("max").is_some(), "{said}");
    for line in body.unwrap_or_default().lines().filter(|line| !line.is_empty()) {
        assert!(answer.text().contains(line), "{line:?} in {said}");
    }
    if matches!(answer.status, 429 | 503) {
        // PROTOCOL X3
        assert!(answer.header("retry-after").is_some_and(|s| s.parse::<u64>().is_ok()), "{said}");
    }
}
