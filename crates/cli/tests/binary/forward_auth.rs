//! Forward-auth by the real binary: a service is asked who sends a request (PROTOCOL I34a, I35).

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::halfping;
use crate::disk;
use crate::raw::{Answer, Connection, DEADLINE, Stream};

const RULES: &str = r#"
[[rule]]
allow = ["read", "write"]
path = "/users/{user}"
when = "user == claims.sub"

[[rule]]
allow = ["read", "write"]
path = "/staff"
when = "'staff' in claims.groups"

[[rule]]
allow = ["read"]
path = "/public"
"#;

/// A service on a port: what it answers to each cookie, and the questions that it got.
#[derive(Clone)]
struct Service {
    address: SocketAddr,
    answers: Arc<Mutex<HashMap<&'static str, String>>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Service {
    fn start() -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let service = Service {
            address: listener.local_addr().unwrap(),
            answers: Arc::default(),
            heads: Arc::default(),
        };
        let own = service.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let own = own.clone();
                std::thread::spawn(move || own.serve(&stream));
            }
        });
        service
    }

    fn serve(&self, mut stream: &TcpStream) {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let lower = head.to_ascii_lowercase();
        let line = |name: &str| lower.lines().find_map(|line| line.strip_prefix(name));
        let shown = line("cookie: ").or(line("authorization: ")).unwrap_or_default().to_owned();
        self.heads.lock().unwrap().push(head);
        let known = self.answers.lock().unwrap().get(&*shown).cloned();
        let answer =
            known.unwrap_or_else(|| "401 No\nWWW-Authenticate: Basic realm=\"x\"".to_owned());
        if answer == "silent" {
            std::thread::sleep(DEADLINE);
            return;
        }
        let (head, body) = answer.split_once("\n\n").unwrap_or((&answer, ""));
        let head = head.replace('\n', "\r\n");
        let length = body.len();
        let _ = write!(
            stream,
            "HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
    }

    fn answers(&self, shown: &'static str, answer: &str) {
        self.answers.lock().unwrap().insert(shown, answer.to_owned());
    }

    fn asked(&self) -> usize {
        self.heads.lock().unwrap().len()
    }
}

fn config(service: &Service, settings: &str) -> String {
    let url = format!("url = \"http://{}/check?from=halfping\"", service.address);
    format!("[auth.forward]\n{url}\n{settings}\n{RULES}")
}

/// The binary, and all that it said.
struct Server {
    child: Child,
    address: SocketAddr,
    said: Arc<Mutex<String>>,
    file: PathBuf,
}

impl Server {
    fn start(test: &str, service: &Service, settings: &str) -> Server {
        let file = disk::directory(test).join("halfping.toml");
        std::fs::write(&file, config(service, settings)).unwrap();
        let mut command: Command = halfping();
        command.args(["serve", "--memory", "--listen", "127.0.0.1:0", "--log", "trace"]);
        command.arg("--config").arg(&file);
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let listens = |line: String| line.split_once("listening on http://")?.1.trim().parse().ok();
        let address = lines.by_ref().find_map(listens).expect("it says where it listens");
        let said = Arc::new(Mutex::new(String::new()));
        let log = said.clone();
        std::thread::spawn(move || {
            for line in lines {
                let mut log = log.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Server { child, address, said, file }
    }

    /// Has the server read another configuration.
    fn reload(&self, config: &str) {
        let times = || self.said.lock().unwrap().matches("rules and keys were read again").count();
        let (before, begun) = (times(), Instant::now());
        std::fs::write(&self.file, config).unwrap();
        while times() == before {
            assert!(begun.elapsed() < DEADLINE, "the file is not read again");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    #[track_caller]
    fn ask(&self, short: &str) -> Answer {
        Connection::open(self.address).ask(short)
    }

    /// Checks the status of an answer, and whom it is for.
    #[track_caller]
    fn check(&self, short: &str, status: u16, subject: Option<&str>) -> Answer {
        let answer = self.ask(short);
        let found = (answer.status, answer.header("halfping-subject"));
        assert_eq!(found, (status, subject), "{short}: {}", answer.text());
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const JSON: &str = "200 OK\nContent-Type: application/json; charset=utf-8";

#[test]
fn a_service_is_asked_who_sends_a_request() {
    // PROTOCOL I34a
    let service = Service::start();
    service.answers("s=kim", &format!("{JSON}\n\n{{\"sub\":\"kim\",\"groups\":[\"staff\"]}}"));
    service.answers("s=evil", "403 No");
    service.answers("s=login", "302 Found\nLocation: http://127.0.0.1:1/login");
    service.answers("s=broken", "500 No");
    service.answers("s=text", &format!("{JSON}\n\nno JSON"));
    service.answers("s=list", &format!("{JSON}\n\n[]"));
    service.answers("s=long", &format!("{JSON}\n\n{{\"a\":\"{}\"}}", "x".repeat(100_000)));
    service.answers("s=nobody", "204 OK");
    service.answers("basic a2ltomtpbq==", &format!("{JSON}\n\n{{\"sub\":\"kim\"}}"));
    let server = Server::start("forward-asked", &service, "cache_ms = 600000");
    let kim = "Cookie: s=kim\nOrigin: http://localhost";
    server.check(&format!("PUT /users/kim?x\n{kim}\n\n1"), 400, Some("kim"));
    server.check(&format!("PUT /users/kim\n{kim}\n\n1"), 201, Some("kim"));
    server.check(&format!("PUT /staff\n{kim}\n\n1"), 201, Some("kim"));
    server.check(&format!("PUT /users/u1\n{kim}\n\n1"), 403, Some("kim"));
    assert_eq!(service.asked(), 1, "one question is enough");
    let head = service.heads.lock().unwrap()[0].to_ascii_lowercase();
    for line in [
        "get /check?from=halfping http/1.1",
        "cookie: s=kim",
        "x-forwarded-method: put",
        "x-forwarded-uri: /users/kim?x",
        "x-forwarded-host: localhost",
    ] {
        assert!(head.lines().any(|found| found == line), "{line}: {head}");
    }
    assert!(!head.contains("origin"), "it is shown what it asked for, and no more: {head}");
    server.check("GET /users/kim\nAuthorization: Basic a2ltomtpbQ==", 200, Some("kim"));
    let refused = server.check("GET /public\nCookie: s=gone", 401, None);
    assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"x\""));
    server.check("GET /public\nCookie: s=login", 401, None);
    server.check("GET /public\nCookie: s=evil", 403, None);
    server.check("GET /public\nCookie: s=nobody", 404, None);
    for cookie in ["s=broken", "s=text", "s=list", "s=long"] {
        let answer = server.check(&format!("GET /public\nCookie: {cookie}"), 503, None);
        assert!(answer.text().contains("identity-unavailable"), "{}", answer.text());
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    server.check("GET /public", 404, None);
}

#[test]
fn names_and_groups_may_be_in_fields_of_the_answer() {
    // PROTOCOL I34a
    let service = Service::start();
    let fields = "202 OK\nRemote-User: kim\nRemote-Groups: staff, night shift,";
    service.answers("s=kim", fields);
    service.answers("s=nameless", "200 OK\nRemote-Groups: staff");
    let settings = "headers = [\"Cookie\"]\nsubject = \"Remote-User\"\nlists = { groups = \"Remote-Groups\" }\nclaims = []";
    let server = Server::start("forward-fields", &service, settings);
    let kim = "Cookie: s=kim\nOrigin: http://localhost";
    server.check(&format!("PUT /users/kim\n{kim}\n\n1"), 201, Some("kim"));
    server.check(&format!("PUT /staff\n{kim}\n\n1"), 201, Some("kim"));
    // One whom it lets in without a name is not taken for anybody.
    server.check("GET /staff\nCookie: s=nameless", 503, None);
    let said = server.said.lock().unwrap().clone();
    assert!(said.contains("does not say whom in Remote-User"), "{said}");
}

#[test]
fn who_is_in_stays_while_the_service_is_away_and_no_longer_than_that() {
    // PROTOCOL I35
    let service = Service::start();
    let claims = format!("{JSON}\n\n{{\"sub\":\"kim\"}}");
    service.answers("s=kim", &claims);
    let settings = "timeout_ms = 500\ncache_ms = 200\nstale_ms = 4000";
    let server = Server::start("forward-stale", &service, settings);
    let kim = "Cookie: s=kim\nOrigin: http://localhost";
    server.check(&format!("PUT /users/kim\n{kim}\n\n1"), 201, Some("kim"));
    let short = format!("GET /users/kim?watch\n{kim}\nAccept: application/x-ndjson");
    let mut stream = Stream::open(server.address, &short);
    stream.until_synced();
    service.answers("s=kim", "silent");
    let begun = Instant::now();
    while server.ask(&format!("GET /users/kim\n{kim}")).status != 503 {
        assert!(begun.elapsed() < DEADLINE, "who comes now is let in");
        std::thread::sleep(Duration::from_millis(50));
    }
    let end = stream.next();
    assert!(begun.elapsed() > Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(end.problem.unwrap()["type"], "urn:halfping:problem:token-expired");
    service.answers("s=kim", &claims);
    let mut stream = Stream::open(server.address, &short);
    stream.until_synced();
    service.answers("s=kim", "401 No");
    let end = stream.next();
    assert_eq!(end.problem.unwrap()["type"], "urn:halfping:problem:revoked");
}

#[test]
fn no_log_repeats_what_is_shown_to_the_service() {
    // PROTOCOL I34a
    let service = Service::start();
    service.answers("s=sesame-1", &format!("{JSON}\n\n{{\"sub\":\"kim\"}}"));
    service.answers("s=sesame-2", "500 sesame");
    service.answers("s=sesame-3", &format!("{JSON}\n\n{{\"sesame"));
    let server = Server::start("forward-secrets", &service, "cache_ms = 0");
    let mut answers = String::new();
    for _ in 0..20 {
        for header in [
            "Cookie: s=sesame-1",
            "Cookie: s=sesame-2",
            "Cookie: s=sesame-3",
            "Cookie: s=sesame-4",
            "Authorization: Bearer sesame",
            "Authorization: Basic sesame",
        ] {
            for line in
                ["GET /public", "GET /users/kim", "PUT /public", "GET /_metrics", "GET /_server"]
            {
                let answer = server.ask(&format!("{line}\n{header}"));
                answers += answer.text();
                answers += &format!("{:?}", answer.headers);
            }
        }
    }
    let log = server.said.lock().unwrap().clone();
    assert!(log.lines().count() > 100, "it logs: {} lines", log.lines().count());
    for (what, text) in [("the answers", &answers), ("the log", &log)] {
        let found = text.lines().find(|line| line.contains("sesame"));
        assert_eq!(found, None, "in {what}");
    }
}

#[test]
fn settings_that_cannot_work_are_refused_at_the_start() {
    let directory = disk::directory("forward-refused");
    for (settings, says) in [
        ("", "[auth.forward] url: say which URL"),
        ("url = \"ftp://x\"", "line 2"),
        ("url = \"http://u:p@x\"", "no user"),
        ("url = \"http://x\"\nheaders = []", "line 3"),
        ("url = \"http://x\"\nheaders = [\"a b\"]", "no name of a header"),
        ("url = \"http://x\"\nheaders = [\"Client-Cert\"]", "cannot be passed on"),
        ("url = \"http://x\"\ntimeout_ms = 0", "[auth.forward] timeout_ms"),
        ("uri = \"http://x\"", "uri"),
    ] {
        let file = directory.join("halfping.toml");
        std::fs::write(&file, format!("[auth.forward]\n{settings}\n")).unwrap();
        let mut command = halfping();
        command.args(["serve", "--memory", "--listen", "127.0.0.1:0", "--config"]).arg(&file);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{settings}: {said}");
        assert!(said.contains(says), "{settings}: {said}");
    }
    let file = directory.join("halfping.toml");
    std::fs::write(&file, "[auth.forward]\nurl = \"http://127.0.0.1:1\"\n").unwrap();
    let mut command = halfping();
    command.args(["serve", "--memory", "--cors", "any", "--listen", "127.0.0.1:0", "--config"]);
    let output = command.arg(&file).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("a cookie and CORS that is open to any page"), "{said}");
}

#[test]
fn another_service_is_asked_once_the_configuration_names_it() {
    // PROTOCOL I29, I37
    let (service, other) = (Service::start(), Service::start());
    let claims = format!("{JSON}\n\n{{\"sub\":\"kim\"}}");
    service.answers("s=kim", &claims);
    other.answers("s=kim", &claims);
    let settings = "cache_ms = 600000";
    let server = Server::start("forward-reload", &service, settings);
    let kim = "Cookie: s=kim\nOrigin: http://localhost";
    server.check(&format!("PUT /users/kim\n{kim}\n\n1"), 201, Some("kim"));
    let short = format!("GET /users/kim?watch\n{kim}\nAccept: application/x-ndjson");
    let mut stream = Stream::open(server.address, &short);
    stream.until_synced();
    server
        .reload(&(config(&service, settings) + "\n[[rule]]\nallow = [\"read\"]\npath = \"/new\""));
    server.check(&format!("GET /new\n{kim}"), 404, Some("kim"));
    server.check(&format!("PUT /users/kim\n{kim}\n\n2"), 200, Some("kim"));
    assert_eq!(stream.next().value.unwrap(), "2", "it goes on");
    assert_eq!(service.asked(), 1, "what the service said is still so");
    server.reload(&config(&other, settings));
    let end = stream.next();
    assert_eq!(end.problem.unwrap()["type"], "urn:halfping:problem:token-expired");
    server.check(&format!("GET /users/kim\n{kim}"), 200, Some("kim"));
    assert_eq!((service.asked(), other.asked()), (1, 1));
}
