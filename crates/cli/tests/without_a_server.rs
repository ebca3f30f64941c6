//! What the command line does on its own: help, mistakes, and servers that are not there.

#![allow(clippy::unwrap_used)] // The helpers here are tests too; clippy sees only functions marked so.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};

/// Runs `halfping` and compares its exit code; each of `expect` has to be somewhere in what it says.
#[track_caller]
fn check(args: &[&str], stdin: &str, code: i32, expect: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_halfping"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HALFPING_")) {
        command.env_remove(name);
    }
    let mut child = command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone before all of it is written.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stdout}{stderr}");
    let said = if code == 0 { stdout } else { stderr };
    for expect in expect {
        assert!(said.contains(expect), "{args:?} did not say `{expect}`: {said}");
    }
}

/// An address at which nobody listens.
fn nowhere() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn file(name: &str, text: &str) -> String {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn help_has_examples_and_exit_codes() {
    check(&["--help"], "", 0, &["Exit codes:", "halfping demo", "replay"]);
    check(&["--version"], "", 0, &["halfping 0."]);
    for command in
        ["serve", "demo", "get", "put", "merge", "delete", "watch", "replay", "check", "backup", "restore"]
    {
        check(&[command, "--help"], "", 0, &["Examples:", &format!("halfping {command}")]);
    }
}

#[test]
fn a_wrong_command_line_is_2() {
    check(&[], "", 2, &["Usage: halfping <COMMAND>"]);
    check(&["put", "h"], "", 2, &["<JSON>"]);
    check(&["get", "ftp://h"], "", 2, &["expected http:// or https://, not ftp://"]);
    check(&["get", "h:port"], "", 2, &["invalid port number"]);
    check(&["get", "h/a/../b"], "", 2, &["the path `/a/../b` has a `.` or `..` segment"]);
    check(&["replay", "--to", "h", "--speed", "0", "-"], "", 2, &["expected a positive number, or `max`"]);
    check(&["replay", "--to", "h", "--loop", "-"], "", 2, &["--loop cannot start stdin again", "hint: "]);
    check(&["replay", "--to", "h/?a", "-"], "", 2, &["paths cannot follow the query of http://h/?a"]);
    check(&["serve", "--listen", "localhost"], "", 2, &["such as 127.0.0.1:7070"]);
    check(&["serve", "--data", "d", "--memory"], "", 2, &["cannot be used with"]);
}

#[test]
fn a_server_that_is_not_there_is_3() {
    let nowhere = nowhere();
    let said = format!("cannot reach http://{nowhere}: no connection: Connection refused");
    let recording = "{\"t\":1,\"path\":\"/a\",\"value\":1}\n";
    for args in [&["get", &nowhere][..], &["put", &nowhere, "1"], &["delete", &nowhere], &["watch", &nowhere]]
    {
        check(args, "", 3, &[&said, "hint: is a server running there?"]);
    }
    check(&["replay", "--to", &nowhere, "-"], recording, 3, &["error: line 1: ", &said]);
}

#[test]
fn an_address_that_is_taken_is_3() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    check(
        &["serve", "--memory", "--listen", &address],
        "",
        3,
        &["cannot listen on", "hint: another server runs there"],
    );
}

#[test]
fn bad_input_is_4() {
    let nowhere = nowhere();
    check(&["put", &nowhere, "hello"], "", 4, &["the value is not JSON", "hint: ", "'\"hello\"'"]);
    check(&["merge", &nowhere, "-"], "{\"a\":", 4, &["the value is not JSON: EOF while parsing"]);
    check(&["replay", "--to", &nowhere, "no-such-file"], "", 4, &["cannot read no-such-file: No such file"]);
    check(&["replay", "--to", &nowhere, "-"], "", 4, &["-: nothing to replay"]);
    check(
        &["replay", "--to", &nowhere, "-"],
        "\n\n{\"t\":1}\n",
        4,
        &["-: line 3: column 7: missing field `path`"],
    );
    check(&["serve", "--config", "no-such-file"], "", 4, &["cannot read no-such-file: No such file"]);
    let config = file("wrong.toml", "listen = \"127.0.0.1:0\"\n\n[cors]\norigin = []\n");
    check(
        &["serve", "--config", &config],
        "",
        4,
        &["wrong.toml: line 4 (`origin = []`): unknown field `origin`"],
    );
}
