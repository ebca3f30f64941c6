//! Credentials that nothing repeats: shown in every place, good and bad, at every level and in both
//! formats of the log, and then looked for in all that the server said (PROTOCOL I5, L14).
//!
//! `HALFPING_SECRETS=full` makes it a hundred thousand requests and messages.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::Value;
use tungstenite::Message;

use crate::common::halfping;
use crate::disk::{self, PATIENCE};
use crate::raw::Connection;

/// A part of each secret that was made here. Signatures and tickets have no such part.
const MARK: &str = "sesame";
const KEY: &str = "hpk_sesame_of_the_importer";
const LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];

/// A server with all that it logs.
struct Server {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Server {
    fn start(directory: &Path, level: &str, format: &str) -> Server {
        let address = disk::address();
        let mut command = halfping();
        command.args(["serve", "--memory", "--listen", &address.to_string(), "--config"]);
        command.arg(directory.join("halfping.toml"));
        command.args(["--log", level, "--log-format", format]);
        let mut child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        let lines = log.clone();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut log = lines.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < PATIENCE, "{}", log.lock().unwrap());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Server { child, address, log }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One who shows secrets to a server, and keeps what comes back.
struct Visitor {
    address: SocketAddr,
    connection: Connection,
    /// Requests and messages so far.
    sent: usize,
    answers: String,
    /// Answers that are tickets, and nothing else.
    tickets: Vec<String>,
}

impl Visitor {
    fn new(address: SocketAddr) -> Visitor {
        let connection = Connection::open(address);
        Visitor { address, connection, sent: 0, answers: String::new(), tickets: Vec::new() }
    }

    /// Sends a request, and keeps its answer. Of one that has no end, the head.
    fn ask(&mut self, request: &str) -> u16 {
        self.sent += 1;
        self.connection.send(&crate::raw::request(request));
        let head = self.connection.try_head();
        let Some((status, headers)) = head else {
            self.connection = Connection::open(self.address);
            return 0;
        };
        self.answers += &format!("{status} {headers:?}\n");
        let has = |name: &str, value: &str| {
            headers.iter().any(|(known, is)| known == name && is.contains(value))
        };
        let is_stream = has("content-type", "event-stream") || has("content-type", "ndjson");
        if is_stream || has("connection", "close") {
            self.connection = Connection::open(self.address);
            return status;
        }
        let answer = self.connection.body(status, headers, request.starts_with("HEAD "));
        let body = String::from_utf8_lossy(&answer.body);
        match serde_json::from_str::<Value>(&body).ok().as_ref().and_then(|it| it.get("ticket")) {
            Some(ticket) => self.tickets.push(ticket.as_str().unwrap().to_owned()),
            None => self.answers += &format!("{body}\n"),
        }
        status
    }

    /// Shows a secret in each place of requests.
    fn show(&mut self, secret: &str) {
        for header in [
            format!("Authorization: Bearer {secret}"),
            format!("Authorization: {secret}"),
            format!("Authorization: Basic {secret}"),
            format!("Cookie: hp={secret}"),
            format!("Cookie: a=b; hp={secret}; c=d\nOrigin: http://localhost"),
            format!("Cookie: hp={secret}\nAuthorization: Bearer {secret}"),
            format!("Cookie: hp={secret}\nOrigin: https://evil.example"),
        ] {
            for line in ["GET /a", "PUT /a", "POST /b", "GET /_metrics", "POST /_auth/ticket"] {
                self.ask(&format!("{line}\n{header}\n\n1"));
            }
            self.ask(&format!("GET /a?watch\n{header}"));
            self.ask(&format!("GET /a?%zz\n{header}"));
        }
        for target in [
            format!("/a?access_token={secret}"),
            format!("/a?watch&access_token={secret}"),
            format!("/a?watch&access_token={secret}&nonsense"),
            format!("/a?watch&%61ccess_token={secret}&depth=x"),
            format!("/_streams?path=/a&access_token={secret}&ticket={secret}"),
            format!("/a?watch&ticket={secret}"),
            format!("/a?ticket={secret}&watch&where=x%20=="),
            format!("/_console/?access_token={secret}"),
        ] {
            self.ask(&format!("GET {target}"));
            self.ask(&format!("GET {target}\nAuthorization: Bearer {secret}"));
        }
        let commands = format!("[{{\"auth\":\"{secret}\",\"ref\":1}},{{\"auth\":[\"{secret}\"]}}]");
        self.ask(&format!("POST /_streams\n\n{commands}"));
    }

    /// Shows a secret in each place of a session.
    fn speak(&mut self, secret: &str) {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let url = format!("ws://{}/", self.address);
        let (mut socket, _) = tungstenite::client(url, stream).expect("a session");
        for (text, is_answered) in [
            (format!("{{\"auth\":\"{secret}\",\"ref\":1}}"), true),
            (format!("{{\"auth\":[\"{secret}\"],\"ref\":2}}"), true),
            (format!("{{\"auth\":\"{secret}\",\"auth\":\"{secret}\",\"ref\":3}}"), true),
            (format!("{{\"auth\":\"{secret}\",\"path\":\"/a\",\"ref\":4}}"), true),
            (format!("{{\"auht\":\"{secret}\",\"ref\":5}}"), false),
            (format!("[{{\"auth\":null}},{{\"auth\":\"{secret}"), false),
        ] {
            self.sent += 1;
            if socket.send(Message::text(text)).is_err() {
                break;
            }
            if let (true, Ok(Message::Text(answer))) = (is_answered, socket.read()) {
                self.answers += &format!("{answer}\n");
            }
        }
        // The last answer, or the end.
        let _ = socket.send(Message::text(r#"{"get":"/none","ref":9}"#));
        while let Ok(message) = socket.read() {
            self.answers += &format!("{message}\n");
            if message.to_text().is_ok_and(|text| text.contains("\"ref\":9")) {
                break;
            }
        }
    }
}

/// Tokens by openssl: whose, when it ends, and whether its signature is right.
fn tokens(directory: &Path) -> Vec<String> {
    let script = r#"
        b64() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
        token() {
            now=$(date +%s)
            claims="{\"iss\":\"https://id.test/\",\"aud\":\"halfping\",\"iat\":$now,\"exp\":$((now + $2)),\"sub\":\"$1\"}"
            signed="$(printf '{"alg":"HS256"}' | b64).$(printf %s "$claims" | b64)"
            echo "$signed.$(printf %s "$signed" | openssl dgst -sha256 -hmac "$3" -binary | b64)"
        }
        openssl rand -hex 32 > hs256.key
        token kim 3600 "$(cat hs256.key)"
        token gone 3600 "$(cat hs256.key)"
        token kim -3600 "$(cat hs256.key)"
        token kim 3600 "another secret"
    "#;
    let output = Command::new("sh").arg("-c").arg(script).current_dir(directory).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let tokens: Vec<String> = said.lines().map(str::to_owned).collect();
    assert_eq!(tokens.len(), 4, "{said}{}", String::from_utf8_lossy(&output.stderr));
    tokens
}

#[test]
fn no_log_no_metric_and_no_error_repeats_a_credential() {
    let directory = disk::directory("secrets");
    let hash = Command::new("sh").arg("-c").arg(format!("printf %s {KEY} | sha256sum")).output();
    let hash = String::from_utf8(hash.unwrap().stdout).unwrap();
    let hash = hash.split(' ').next().unwrap();
    let config = format!(
        "[auth]\ncookie = \"hp\"\nquery_token = true\nrevoked = \"/revoked\"\n\
         [[auth.issuer]]\nissuer = \"https://id.test/\"\naudience = [\"halfping\"]\nsecret_file = \"hs256.key\"\nalgorithms = [\"HS256\"]\n\
         [[auth.key]]\nsha256 = \"{hash}\"\nclaims = {{ sub = \"importer\" }}\n\
         [[rule]]\nallow = [\"read\", \"write\"]\npath = \"/\"\nwhen = \"claims.sub == 'importer'\"\n\
         [[rule]]\nallow = [\"read\"]\npath = \"/a\"\nwhen = \"claims.sub == 'kim'\"\n"
    );
    std::fs::write(directory.join("halfping.toml"), config).unwrap();
    let mut secrets = tokens(&directory);
    let [good, revoked, expired, _] = secrets.clone().try_into().unwrap();
    secrets.extend([
        KEY.to_owned(),
        format!("hpk_{MARK}_of_nobody"),
        format!("{MARK}-eyJhbGciOiJIUzI1NiJ9.{MARK}.{MARK}"),
        format!("hpk_{}", MARK.repeat(1_500)),
    ]);
    // Signatures, and what is signed of the claims: of an answer, any long part of a token.
    let parts = secrets.iter().flat_map(|secret| secret.split('.').skip(1));
    let mut looked_for: BTreeSet<String> = parts.map(str::to_owned).collect();
    looked_for.insert(MARK.to_owned());

    let wanted = match std::env::var("HALFPING_SECRETS").as_deref() {
        Ok("full") => 100_000,
        _ => 4_000,
    };
    let mut sent = 0;
    for format in ["text", "json"] {
        for level in LEVELS {
            let server = Server::start(&directory, level, format);
            let mut visitor = Visitor::new(server.address);
            let importer = format!("Authorization: Bearer {KEY}");
            visitor.ask(&format!(
                "PUT /revoked\n{importer}\n\n{{\"sub\":{{\"gone\":9999999999}},\"jti\":{{}}}}"
            ));
            let of = |visitor: &mut Visitor, token: &str| {
                visitor.ask(&format!("GET /a\nAuthorization: Bearer {token}"))
            };
            visitor.ask(&format!("PUT /a\n{importer}\n\n1"));
            assert_eq!(of(&mut visitor, &good), 200);
            assert_eq!((of(&mut visitor, &revoked), of(&mut visitor, &expired)), (401, 401));
            while visitor.sent * LEVELS.len() * 2 < wanted {
                for secret in &secrets {
                    visitor.show(secret);
                    visitor.speak(secret);
                }
                let tickets: Vec<String> = visitor.tickets.drain(..).collect();
                assert!(!tickets.is_empty(), "somebody gets a ticket");
                for ticket in tickets {
                    visitor.ask(&format!("GET /a?watch&ticket={ticket}"));
                    visitor.ask(&format!("GET /a?watch&ticket={ticket}"));
                    visitor.ask(&format!("GET /a\nAuthorization: Bearer {ticket}"));
                    looked_for.insert(ticket);
                }
                for path in ["/_server", "/_metrics"] {
                    assert_eq!(visitor.ask(&format!("GET {path}\n{importer}")), 200);
                }
            }
            sent += visitor.sent;
            let answers = &visitor.answers;
            let expected = ["halfping_problems", "unauthorized", "revoked", "token-expired"];
            for text in expected.iter().chain(&["\"halfping-subject\", \"kim\"", "\"sub\":\"kim\""])
            {
                assert!(answers.contains(text), "{text} is in no answer");
            }
            let log = server.log.lock().unwrap().clone();
            assert!(level != "trace" || log.lines().count() > 100, "it logs: {log}");
            for (what, text) in [("the answers", answers), ("the log", &log)] {
                for secret in &looked_for {
                    let found = text.lines().find(|line| line.contains(secret.as_str()));
                    assert_eq!(found, None, "in {what}, {level}, {format}");
                }
            }
        }
    }
    println!("{sent} requests and messages");
    assert!(sent >= wanted);
}
