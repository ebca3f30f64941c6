//! The real binary with its state on disk, and requests that may find no server.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::halfping;

/// The longest single wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An empty directory for one test.
pub(crate) fn directory(test: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// An address that stays free while nobody listens there: not one that the system gives to outgoing
/// connections.
pub(crate) fn address() -> SocketAddr {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    loop {
        let port =
            10_000 + (std::process::id() % 15_000) as u16 + TAKEN.fetch_add(7, Ordering::Relaxed);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Waits until a condition holds.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "it never came to be: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a counter has grown by `count`; each step has a deadline of its own.
pub(crate) fn more(what: &str, counted: &AtomicU64, count: u64) {
    let before = counted.load(Ordering::Relaxed);
    for next in 1..=count {
        until(what, || counted.load(Ordering::Relaxed) >= before + next);
    }
}

/// A server whose state is in a directory.
pub(crate) struct Durable {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    lines: Receiver<String>,
}

/// Options of a server's start.
#[derive(Clone)]
pub(crate) struct Start {
    pub(crate) data: PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) config: Option<PathBuf>,
    /// The option `--console`, if given. While the server's own state is shown, the last write
    /// before a crash may have a later cursor afterwards (PROTOCOL W9).
    pub(crate) console: Option<&'static str>,
}

impl Start {
    pub(crate) fn new(data: &Path, address: SocketAddr) -> Start {
        Start { data: data.to_owned(), address, config: None, console: None }
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = halfping();
        command.args(["serve", "--listen", &self.address.to_string(), "--data"]).arg(&self.data);
        if let Some(console) = self.console {
            command.args(["--console", console]);
        }
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        command
    }

    /// Starts the server, and does not wait.
    pub(crate) fn begin(&self) -> Durable {
        self.begin_with(self.command())
    }

    fn begin_with(&self, mut command: Command) -> Durable {
        let mut child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (send, lines) = channel();
        // The log must not fill a pipe that nobody empties.
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        Durable { child, address: self.address, lines }
    }

    /// Starts the server, and waits until it listens.
    pub(crate) fn serve(&self) -> Durable {
        self.try_serve().unwrap_or_else(|said| panic!("the server does not start: {said}"))
    }

    /// As [`Start::serve`]; returns the output of a server that ends instead.
    pub(crate) fn try_serve(&self) -> Result<Durable, String> {
        self.of(self.command())
    }

    /// As [`Start::try_serve`], with another command that starts a server there.
    pub(crate) fn of(&self, command: Command) -> Result<Durable, String> {
        let server = self.begin_with(command);
        let (mut said, until) = (String::new(), Instant::now() + PATIENCE);
        loop {
            match server.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains("listening on http://") => return Ok(server),
                Ok(line) => said.push_str(&format!("{line}\n")),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("the server does not listen after {PATIENCE:?}: {said}")
                }
                Err(RecvTimeoutError::Disconnected) => return Err(said),
            }
        }
    }
}

impl Durable {
    /// Kills the process.
    pub(crate) fn kill(mut self) -> ExitStatus {
        self.child.kill().unwrap();
        self.child.wait().unwrap()
    }

    /// Asks the server to stop, and waits until it has.
    pub(crate) fn stop(mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status,
                None => assert!(Instant::now() < until, "the server does not stop"),
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for a line of the log.
    pub(crate) fn says(&self, what: &str) -> String {
        let (mut said, until) = (String::new(), Instant::now() + PATIENCE);
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(what) => return line,
                Ok(line) => said.push_str(&format!("{line}\n")),
                Err(error) => panic!("it never says `{what}` ({error}): {said}"),
            }
        }
    }

    /// One value of the metrics, with labels as they are written.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let answer = Http::new(self.address).ask("GET", "/_metrics", &[], "").unwrap();
        let text = String::from_utf8(answer.body).unwrap();
        let value =
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    pub(crate) fn health(&self) -> Value {
        Http::new(self.address).ask("GET", "/_health", &[], "").unwrap().json()
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let said: Vec<String> = self.lines.iter().collect();
            eprintln!("the server of the test that failed had said last:\n{}", said.join("\n"));
        }
    }
}

/// A connection that is made again when it is lost.
pub(crate) struct Http {
    address: SocketAddr,
    socket: Option<BufReader<TcpStream>>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn etag(&self) -> String {
        self.header("etag").unwrap_or_else(|| panic!("no ETag: {self:?}")).to_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The name of a problem.
    pub(crate) fn problem(&self) -> String {
        self.json()["type"].as_str().unwrap_or_default().replace("urn:halfping:problem:", "")
    }
}

impl Http {
    pub(crate) fn new(address: SocketAddr) -> Http {
        Http { address, socket: None }
    }

    /// True if the last answer left the connection open.
    pub(crate) fn is_open(&self) -> bool {
        self.socket.is_some()
    }

    /// Sends a request. After an error its outcome is unknown, unless no connection could be made.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &str,
    ) -> io::Result<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
        headers.iter().for_each(|header| request.push_str(&format!("{header}\r\n")));
        request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        let answer = self.try_ask(&request);
        if answer.is_err() {
            self.socket = None;
        }
        answer
    }

    fn try_ask(&mut self, request: &str) -> io::Result<Answer> {
        if self.socket.is_none() {
            let socket = TcpStream::connect_timeout(&self.address, PATIENCE)?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.set_write_timeout(Some(PATIENCE))?;
            self.socket = Some(BufReader::new(socket));
        }
        let socket = self.socket.as_mut().unwrap();
        socket.get_mut().write_all(request.as_bytes())?;
        let mut line = || -> io::Result<String> {
            let mut line = String::new();
            match socket.read_line(&mut line)? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(line.trim_end().to_owned()),
            }
        };
        let status = line()?.get(9..12).and_then(|status| status.parse().ok());
        let mut answer =
            Answer { status: status.unwrap_or(0), headers: Vec::new(), body: Vec::new() };
        loop {
            let line = line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            answer.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length =
            answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        answer.body = vec![0; length];
        socket.read_exact(&mut answer.body)?;
        if answer.header("connection") == Some("close") {
            self.socket = None;
        }
        Ok(answer)
    }
}
