//! Servers that can be reached from elsewhere, and who may write there (PROTOCOL W16).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::halfping;

const EVERYWHERE: &[&str] = &["--memory", "--listen", "0.0.0.0:0"];
const RULE: &str = "[[rule]]\nallow = [\"read\", \"write\"]\npath = \"/a\"\n";

/// A server, with what it said before it listened.
struct Server {
    child: Child,
    address: SocketAddr,
    said: String,
}

impl Server {
    fn start(mut command: Command) -> Server {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut said = String::new();
        let port = lines.by_ref().find_map(|line| {
            let port = line
                .split_once("listening on http://")
                .and_then(|(_, at)| at.trim().rsplit(':').next()?.parse::<u16>().ok());
            said += &line;
            said.push('\n');
            port
        });
        let address =
            ([127, 0, 0, 1], port.unwrap_or_else(|| panic!("it does not listen: {said}")));
        // Its further log must not fill a pipe that nobody empties.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, address: address.into(), said }
    }

    /// The answer to a request that is the last of its connection.
    fn ask(&self, line: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let length = body.len();
        let text = format!(
            "{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command with these arguments, and with a configuration file.
fn command(words: &[&[&str]], test: &str, config: &str) -> Command {
    let mut command = halfping();
    command.args(words.concat());
    if !config.is_empty() {
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("open-{test}.toml"));
        std::fs::write(&file, config).unwrap();
        command.arg("--config").arg(file);
    }
    command
}

#[test]
fn without_rules_a_server_elsewhere_takes_no_writes_and_says_what_to_do() {
    // PROTOCOL W16, W14
    for words in [&["serve"][..], &["demo", "--vehicles", "1"]] {
        let server = Server::start(command(&[words, EVERYWHERE], "closed", ""));
        let flag = if words[0] == "serve" { "--open" } else { "--open-to-all" };
        for told in ["WARN", "nobody can write", "[[rule]]", "127.0.0.1", flag] {
            assert!(server.said.contains(told), "{told}: {}", server.said);
        }
        for line in ["PUT /a", "PATCH /a", "POST /a", "DELETE /a"] {
            let answer = server.ask(line, "1");
            assert!(answer.starts_with("HTTP/1.1 403"), "{line}: {answer}");
            for told in ["urn:halfping:problem:not-open", "--open", "HALFPING_OPEN=1", "[[rule]]"] {
                assert!(answer.contains(told), "{line}: {told}: {answer}");
            }
        }
        let read = server.ask("GET /", "");
        assert!(read.starts_with("HTTP/1.1 200"), "{read}");
    }
}

#[test]
fn a_server_elsewhere_takes_writes_where_somebody_said_who_may() {
    // PROTOCOL W16
    let key = "[[auth.key]]\nsha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"\n";
    let only_known = format!("[auth]\nanonymous = false\n{key}");
    let mut by_environment = command(&[&["demo", "--vehicles", "1"], EVERYWHERE], "", "");
    by_environment.env("HALFPING_OPEN", "1");
    for (command, status, warning) in [
        (
            command(&[&["serve", "--open"], EVERYWHERE], "", ""),
            201,
            "may read and write everything",
        ),
        (
            command(&[&["serve"], EVERYWHERE], "set", "open = true\n"),
            201,
            "may read and write everything",
        ),
        (by_environment, 201, "may read and write everything"),
        (command(&[&["serve"], EVERYWHERE], "rule", RULE), 201, ""),
        (
            command(&[&["serve"], EVERYWHERE], "known", &only_known),
            401,
            "everybody who gets in may",
        ),
        // Who gets in without a credential may do everything: that is no rule.
        (command(&[&["serve"], EVERYWHERE], "anybody", "[auth]\n"), 403, "nobody can write"),
        (command(&[&["serve", "--open", "--read-only"], EVERYWHERE], "", ""), 405, ""),
    ] {
        let server = Server::start(command);
        let answer = server.ask("PUT /a", "1");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{}{answer}", server.said);
        assert!(server.said.contains(warning), "{warning}: {}", server.said);
        assert!(!warning.is_empty() || !server.said.contains("anybody"), "{}", server.said);
    }
}

#[test]
fn on_a_loopback_address_everything_is_as_it_was() {
    for listen in ["127.0.0.1:0", "[::ffff:127.0.0.1]:0"] {
        for words in [&["serve"][..], &["demo", "--vehicles", "1"]] {
            let server =
                Server::start(command(&[words, &["--memory", "--listen", listen]], "", ""));
            let warns = ["anybody", "nobody"].iter().any(|word| server.said.contains(word));
            assert!(!warns, "{}", server.said);
            let answer = server.ask("PUT /a", "1");
            assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        }
    }
    let config = "[[auth.key]]\nsha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"\n";
    let server = Server::start(command(&[&["serve", "--memory", "--port", "0"]], "auth", config));
    let warning = "there is [auth] and no [[rule]]: everybody who gets in may read and write";
    assert!(server.said.contains(warning), "{}", server.said);
}
