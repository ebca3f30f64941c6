//! Identity and rules in the binary: the guide's example, the page to log in, and settings.

use crate::common::halfping;
use crate::disk;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const GUIDE: &str = include_str!("../../../../docs/guides/who-may-see-what.md");

/// A server with the configuration in a directory, and all that it logs.
pub(crate) struct Server {
    pub(crate) child: std::process::Child,
    pub(crate) address: SocketAddr,
    pub(crate) said: Arc<Mutex<String>>,
}

impl Server {
    pub(crate) fn start(directory: &Path, options: &[&str]) -> Server {
        let mut command = halfping();
        command.args(["serve", "--memory", "--listen", "127.0.0.1:0", "--config"]);
        command.arg(directory.join("halfping.toml")).args(options);
        let mut child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let said = Arc::new(Mutex::new(String::new()));
        let log = said.clone();
        let mut lines = lines.inspect(move |line| {
            let mut log = log.lock().unwrap();
            log.push_str(line);
            log.push('\n');
        });
        let listens = |line: String| line.split_once("listening on http://")?.1.trim().parse().ok();
        let address = lines.by_ref().find_map(listens).expect("it says where it listens");
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, address, said }
    }

    /// The answer to a request that is the last of its connection.
    pub(crate) fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
        let head = head.replace('\n', "\r\n");
        let (line, rest) = head.split_once("\r\n").unwrap_or((&head, "X-None: 1"));
        let length = body.len();
        let text = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{rest}\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The blocks of a page, each with its language.
fn blocks(page: &str) -> Vec<(&str, String)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let language = info.split(' ').next().unwrap();
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push((language, text.join("\n")));
    }
    blocks
}

/// Runs a block of the guide where its files are.
#[track_caller]
fn run(directory: &Path, script: &str) -> String {
    let output = Command::new("sh").arg("-c").arg(script).current_dir(directory).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{script}\n{said}{errors}");
    said
}

#[test]
fn the_guide_tells_what_happens() {
    let directory = disk::directory("who-may-see-what");
    let blocks = blocks(GUIDE);
    let of = |wanted: &'static str| blocks.iter().filter(move |(language, _)| *language == wanted);
    let (_, config) = of("toml").next().expect("a configuration");
    std::fs::write(directory.join("halfping.toml"), config).unwrap();
    let (_, secret) = of("sh").next().expect("the secret is made");
    run(&directory, secret);
    let server = Server::start(&directory, &[]);
    let mut compared = 0;
    let after_secret = blocks.iter().position(|(_, text)| text == secret).unwrap() + 1;
    for (place, (language, script)) in blocks.iter().enumerate().skip(after_secret) {
        if *language != "sh" {
            continue;
        }
        let script = script.replace("127.0.0.1:7070", &server.address.to_string());
        let said = run(&directory, &script);
        if let Some(("text", expect)) = blocks.get(place + 1).map(|(l, t)| (*l, t)) {
            assert_eq!(said.trim(), expect.trim(), "{script}");
            compared += 1;
        }
    }
    assert!(compared >= 4, "{compared} blocks have an output");
}

#[test]
fn the_page_to_log_in_is_for_everybody_and_what_it_shows_is_not() {
    // PROTOCOL I13b
    let directory = disk::directory("log-in");
    let rules =
        "[auth]\nanonymous = false\ncookie = \"hp\"\n[[rule]]\nallow = [\"read\"]\npath = \"/\"\n";
    std::fs::write(directory.join("halfping.toml"), rules).unwrap();
    for (options, is_there) in
        [(&[][..], true), (&["--console", "on"], true), (&["--console", "off"], false)]
    {
        let server = Server::start(&directory, options);
        for who in ["X-None: 1", "Authorization: Bearer forged", "Cookie: hp=expired"] {
            let page = server.ask(&format!("GET /_console/\n{who}"));
            let expect = if is_there { "HTTP/1.1 200" } else { "HTTP/1.1 404" };
            assert!(page.starts_with(expect), "{options:?} {who}: {page}");
            assert_eq!(page.contains("<!doctype html>"), is_there, "{page}");
            let own = server.ask(&format!("GET /_server\n{who}"));
            assert!(own.starts_with("HTTP/1.1 401"), "{options:?} {who}: {own}");
        }
    }
}

#[test]
fn a_configuration_that_cannot_be_kept_is_refused_at_the_start() {
    let directory = disk::directory("refused");
    let rule = "[[rule]]\nallow = [\"read\"]\npath = \"/a/{b}\"\n";
    for (config, options, says) in [
        (format!("{rule}when = \"b in me.teams\"\n"), &[][..], "[auth] profile = "),
        (format!("{rule}wen = \"true\"\n"), &[], "unknown setting `wen`"),
        ("[auth]\ncookie = \"hp\"\n".to_owned(), &["--cors", "any"], "do not go together"),
        (
            "[[auth.issuer]]\nissuer = \"i\"\naudience = [\"a\"]\nalgorithms = [\"ES256\"]\nfile = \"none.json\"\n".to_owned(),
            &[],
            "none.json cannot be read",
        ),
        (
            "[[auth.issuer]]\nissuer = \"i\"\naudience = [\"a\"]\nalgorithms = [\"HS256\"]\nsecret_file = \"halfping.toml\"\n".to_owned(),
            &["--port", "0"],
            "",
        ),
    ] {
        std::fs::write(directory.join("halfping.toml"), &config).unwrap();
        if says.is_empty() {
            // Files are found beside the configuration, wherever the server is started.
            drop(Server::start(&directory, options));
            continue;
        }
        let mut command = halfping();
        command.args(["serve", "--memory", "--listen", "127.0.0.1:0", "--config"]);
        let output = command.arg(directory.join("halfping.toml")).args(options).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{config}: {said}");
        assert!(said.contains(says), "{config}: {said}");
    }
}
