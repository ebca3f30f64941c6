//! Output on a terminal. Values come from strangers, and control characters command a terminal.

#![cfg(unix)]

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use crate::common::{Halfping, halfping};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// CSI as one character of C1, OSC, DEL, and a text that runs backwards.
const HOSTILE: &str = "\u{9b}2J\u{9d}0;owned\u{7}\u{7f}\u{202e}drowssap";

/// Starts the binary with a terminal as its standard output. Returns the other side of the
/// terminal.
fn on_a_terminal(words: &[&str]) -> (Child, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut command = halfping();
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(theirs)
        .stderr(Stdio::null())
        .env("NO_COLOR", "1");
    (command.spawn().unwrap(), File::from(ours))
}

/// The output up to this text, or to the end.
fn read_until(terminal: &mut File, text: &str) -> String {
    let (mut said, mut some) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&said).contains(text) {
        match terminal.read(&mut some) {
            Ok(0) => break,
            Ok(count) => said.extend_from_slice(&some[..count]),
            // Linux returns this when the other side is closed.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                break;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error}"),
        }
    }
    String::from_utf8(said).unwrap()
}

#[test]
fn a_value_that_is_shown_on_a_terminal_does_not_command_it() {
    let server = Halfping::serve("terminal", "");
    let body = serde_json::json!({ "text": HOSTILE, HOSTILE: 1 });
    // As bytes: an escape would be harmless already.
    let body = body.to_string().replace("\\u0007", "");
    let request = format!(
        "PUT /hostile HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut connection = TcpStream::connect(server.address).unwrap();
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");

    let url = format!("{}/hostile", server.address);
    for (words, end) in [
        (vec!["get", &url], "\n"),
        (vec!["watch", "--json", &url], "synced"),
        (vec!["watch", "--json", &url, &url], "synced"),
        (vec!["watch", &url], "\n"),
    ] {
        let (mut child, mut terminal) = on_a_terminal(&words);
        let shown = read_until(&mut terminal, end);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            shown.contains("\\u009b2J") && shown.contains("\\u202edrowssap"),
            "{words:?}: {shown:?}"
        );
        let commands = |c: char| {
            (c.is_control() && c != '\r' && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c)
        };
        assert!(!shown.contains(commands), "{words:?}: {shown:?}");
    }
    // Programs get the bytes that the server sends. PROTOCOL V6
    let sent: String = body
        .chars()
        .map(|c| match c {
            '\u{7f}'..='\u{9f}' => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        })
        .collect();
    let piped = halfping().args(["get", &url]).output().unwrap();
    assert_eq!(String::from_utf8(piped.stdout).unwrap(), format!("{sent}\n"));
}
