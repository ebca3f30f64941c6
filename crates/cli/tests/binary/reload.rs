//! Rules and keys that are read again while the binary runs: by SIGHUP, when a file has changed, and
//! from a URL.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::disk;
use crate::who_may_see_what::Server;

const PATIENCE: Duration = Duration::from_secs(60);

const PUBLIC: &str = "[[rule]]\nallow = [\"read\", \"write\"]\npath = \"/public\"\n";
const METRICS: &str = "[[rule]]\nallow = [\"read\"]\npath = \"/_metrics\"\n";
const OTHER: &str = "[[rule]]\nallow = [\"read\", \"write\"]\npath = \"/other\"\n";

fn configure(directory: &Path, text: &str) {
    std::fs::write(directory.join("halfping.toml"), text).unwrap();
}

/// Waits until something is so.
#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn status(server: &Server, request: &str) -> u16 {
    let answer = server.ask(request);
    answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

#[track_caller]
fn until_status(server: &Server, request: &str, expect: u16) {
    until(&format!("{request}: {expect}"), || status(server, request) == expect);
}

#[track_caller]
fn until_said(server: &Server, text: &str) {
    until(text, || server.said.lock().unwrap().contains(text));
}

/// The lines of a stream.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn open(server: &Server, path: &str, header: &str) -> Stream {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let accept = "Accept: application/x-ndjson";
        let head = format!("GET {path}?watch HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n{header}");
        stream.write_all(format!("{head}\r\n\r\n").as_bytes()).unwrap();
        Stream(BufReader::new(stream))
    }

    /// Waits for a line that has this text.
    #[track_caller]
    fn until(&mut self, text: &str) {
        let mut all = String::new();
        while !all.lines().last().unwrap_or_default().contains(text) {
            assert!(self.0.read_line(&mut all).unwrap() > 0, "no {text} in {all}");
        }
    }
}

#[cfg(unix)]
fn hang_up(server: &Server) {
    let id = rustix::process::Pid::from_child(&server.child);
    rustix::process::kill_process(id, rustix::process::Signal::HUP).unwrap();
}

#[cfg(unix)]
#[test]
fn by_sighup_rules_are_read_again_and_bad_ones_change_nothing() {
    let directory = disk::directory("reload-by-signal");
    configure(&directory, &format!("{PUBLIC}{OTHER}{METRICS}"));
    let server = Server::start(&directory, &[]);
    assert_eq!(status(&server, "PUT /public\n\n0"), 201);
    assert_eq!(status(&server, "PUT /other\n\n0"), 201);
    let mut public = Stream::open(&server, "/public", "X-None: 1");
    let mut other = Stream::open(&server, "/other", "X-None: 1");
    public.until("synced");
    other.until("synced");

    configure(&directory, &format!("{PUBLIC}{METRICS}"));
    hang_up(&server);
    other.until("unauthorized");
    assert_eq!(status(&server, "GET /other"), 401);
    assert_eq!(status(&server, "PUT /public\n\n1"), 200);
    public.until("\"value\":1");
    until_said(&server, "rules=2 rules_before=3");

    configure(
        &directory,
        &format!("{PUBLIC}{METRICS}[[rule]]\nalow = [\"read\"]\npath = \"/x\"\n"),
    );
    hang_up(&server);
    until_said(&server, "rules and keys stay as they were");
    let said = server.said.lock().unwrap().clone();
    assert!(said.contains("halfping.toml: line 8: unknown setting `alow`"), "{said}");
    assert_eq!(status(&server, "PUT /public\n\n2"), 200);
    public.until("\"value\":2");
    let metrics = server.ask("GET /_metrics");
    for never in ["{outcome=\"ok\"} 0", "{outcome=\"failed\"} 0"] {
        assert!(!metrics.contains(&format!("halfping_reloads_total{never}")), "{metrics}");
    }

    configure(&directory, &format!("read_only = true\n{PUBLIC}{METRICS}{OTHER}"));
    hang_up(&server);
    until_status(&server, "GET /other", 200);
    until_said(&server, "`read_only` has changed: that counts when the server is started again");
    assert_eq!(status(&server, "PUT /public\n\n3"), 200);
}

#[test]
fn a_file_that_has_changed_is_read_without_being_asked_for() {
    let directory = disk::directory("reload-by-look");
    let issuer = "[[auth.issuer]]\nissuer = \"https://id.example.org/\"\naudience = [\"halfping\"]\nfile = \"jwks.json\"\nalgorithms = [\"EdDSA\"]\n";
    let own =
        "[[rule]]\nallow = [\"read\"]\npath = \"/users/{user}\"\nwhen = \"user == claims.sub\"\n";
    std::fs::write(directory.join("jwks.json"), set(&[1])).unwrap();
    configure(&directory, &format!("{issuer}{PUBLIC}{own}"));
    let server = Server::start(&directory, &[]);
    let (first, second) = (bearer(1), bearer(2));
    assert_eq!(status(&server, &format!("GET /users/u1\n{first}")), 404);
    assert_eq!(status(&server, &format!("GET /users/u1\n{second}")), 401);
    let mut stream = Stream::open(&server, "/users/u1", &first);
    stream.until("synced");
    // The keys are another file.
    std::fs::write(directory.join("jwks.json"), set(&[2])).unwrap();
    stream.until("revoked");
    until_status(&server, &format!("GET /users/u1\n{second}"), 404);
    assert_eq!(status(&server, &format!("GET /users/u1\n{first}")), 401);
    // Keys that cannot be read leave those that are there.
    std::fs::write(directory.join("jwks.json"), "{\"keys\":").unwrap();
    until_said(&server, "rules and keys stay as they were");
    assert_eq!(status(&server, &format!("GET /users/u1\n{second}")), 404);
    // An editor puts another file in place of this one.
    std::fs::write(directory.join("jwks.json"), set(&[2])).unwrap();
    let new = directory.join("halfping.toml.new");
    std::fs::write(&new, format!("{issuer}{PUBLIC}{own}{OTHER}")).unwrap();
    std::fs::rename(&new, directory.join("halfping.toml")).unwrap();
    until_status(&server, "PUT /other\n\n1", 201);
}

/// A JWK set of the keys of these numbers.
fn set(numbers: &[u8]) -> String {
    let key = |number: &u8| {
        let pair = pair(*number);
        let x = BASE64_URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        format!("{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"{number}\",\"x\":\"{x}\"}}")
    };
    format!("{{\"keys\":[{}]}}", numbers.iter().map(key).collect::<Vec<_>>().join(","))
}

fn pair(number: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[number; 32]).unwrap()
}

/// A header with a token of u1 that is signed with the key of a number.
fn bearer(number: u8) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let encode = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
    let head = encode(format!("{{\"alg\":\"EdDSA\",\"kid\":\"{number}\"}}"));
    let claims = encode(format!(
        "{{\"iss\":\"https://id.example.org/\",\"aud\":\"halfping\",\"sub\":\"u1\",\"exp\":{}}}",
        now + 3600
    ));
    let signature = pair(number).sign(format!("{head}.{claims}").as_bytes());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref());
    format!("Authorization: Bearer {head}.{claims}.{signature}")
}

/// An issuer that answers every request with the same head and body, until these are others.
struct Issuer {
    address: SocketAddr,
    answer: Arc<Mutex<(String, String)>>,
    asked: Arc<Mutex<usize>>,
}

impl Issuer {
    fn start(head: &str, body: &str) -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new((head.to_owned(), body.to_owned())));
        let asked = Arc::new(Mutex::new(0));
        let (answers, counts) = (answer.clone(), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).unwrap_or(0) == 0 {
                        break;
                    }
                    request.push(byte[0]);
                }
                *counts.lock().unwrap() += 1;
                let (head, body) = answers.lock().unwrap().clone();
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
                );
            }
        });
        Issuer { address, answer, asked }
    }

    fn answers(&self, head: &str, body: &str) {
        *self.answer.lock().unwrap() = (head.to_owned(), body.to_owned());
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

fn with_issuer(test: &str, issuer: &Issuer) -> PathBuf {
    let directory = disk::directory(test);
    let address = issuer.address;
    let text = format!(
        "[[auth.issuer]]\nissuer = \"https://id.example.org/\"\naudience = [\"halfping\"]\njwks = \"http://{address}/keys?x=1\"\nalgorithms = [\"EdDSA\"]\n"
    );
    configure(
        &directory,
        &format!(
            "{text}{PUBLIC}{METRICS}[[rule]]\nallow = [\"read\"]\npath = \"/users/{{user}}\"\nwhen = \"user == claims.sub\"\n"
        ),
    );
    directory
}

#[test]
fn keys_come_from_their_url_and_follow_their_issuer() {
    let issuer = Issuer::start("200 OK", &set(&[1]));
    let server = Server::start(&with_issuer("keys-at-a-url", &issuer), &[]);
    let read = |number| format!("GET /users/u1\n{}", bearer(number));
    assert_eq!(status(&server, &read(1)), 404, "it has waited for the first keys");
    let mut stream = Stream::open(&server, "/users/u1", &bearer(1));
    stream.until("synced");
    issuer.answers("200 OK", &set(&[2]));
    assert_eq!(status(&server, &read(2)), 404, "one that is new is fetched for");
    stream.until("revoked");
    assert_eq!(status(&server, &read(1)), 401);
    assert_eq!(issuer.asked(), 2);
    for forged in 10..30 {
        assert_eq!(status(&server, &read(forged)), 401);
    }
    assert_eq!(issuer.asked(), 2, "forged names fetch nothing");
}

#[test]
fn a_url_that_does_not_work_is_a_warning_and_the_server_starts() {
    let elsewhere = "302 Found\r\nLocation: file:///etc/passwd";
    let long = "x".repeat((1 << 20) + 1);
    for (head, body, expect) in [
        ("500 Internal Server Error", "", "it answers 500"),
        (elsewhere, "", "it redirects (302) to file:///etc/passwd"),
        ("200 OK", "<html>", "the set of keys cannot be read"),
        ("200 OK", &long, "its answer is longer than 1048576 bytes"),
    ] {
        let issuer = Issuer::start(head, body);
        let server = Server::start(&with_issuer("keys-at-no-url", &issuer), &[]);
        assert_eq!(status(&server, "PUT /public\n\n1"), 201);
        until_said(&server, "the keys of an issuer cannot be fetched");
        let said = server.said.lock().unwrap().clone();
        assert!(said.contains(expect), "{said}");
        assert_eq!(status(&server, &format!("GET /users/u1\n{}", bearer(1))), 401);
        let metrics = server.ask("GET /_metrics");
        assert!(metrics.contains("halfping_key_fetches_total{outcome=\"failed\"} "), "{metrics}");
        assert!(!metrics.contains("halfping_key_fetches_total{outcome=\"failed\"} 0"));
    }
}
