//! The command line without a server: help, mistakes, and servers that cannot be reached.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::common::halfping;

/// Runs `halfping` and compares its exit code; its output has to contain each of `expect`.
#[track_caller]
fn check(args: &[&str], stdin: &str, code: i32, expect: &[&str]) {
    check_in(&[], args, stdin, code, expect);
}

/// Runs it with environment variables too.
#[track_caller]
fn check_in(environment: &[(&str, &str)], args: &[&str], stdin: &str, code: i32, expect: &[&str]) {
    let mut command = halfping();
    command.envs(environment.iter().copied());
    let mut child = command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may end before all of it is written.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stdout}{stderr}");
    let said = if code == 0 { stdout } else { stderr };
    for expect in expect {
        assert!(said.contains(expect), "{args:?} did not say `{expect}`: {said}");
    }
}

/// An address without a listener.
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
    for command in [
        "serve", "demo", "get", "put", "merge", "delete", "watch", "replay", "check", "backup",
        "restore", "rules",
    ] {
        check(&[command, "--help"], "", 0, &["Examples:", &format!("halfping {command}")]);
    }
}

#[test]
fn help_says_where_each_command_keeps_its_state_and_what_restore_makes_the_root() {
    check(&["serve", "--help"], "", 0, &["[default: ./halfping-data]"]);
    check(&["demo", "--help"], "", 0, &["[default: $XDG_STATE_HOME/halfping/demo"]);
    let help =
        Command::new(env!("CARGO_BIN_EXE_halfping")).args(["demo", "--help"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&help.stdout).contains("./halfping-data"));
    check(&["backup", "--help"], "", 0, &["`restore` makes that resource the root"]);
    check(&["restore", "--help"], "", 0, &["a backup of /orders has the orders at /,"]);
}

#[test]
fn a_tilde_that_no_shell_has_replaced_is_refused() {
    let config = file("tilde.toml", "data = \"~/x\"\n");
    let says = ["~/x: only a shell knows what `~` stands for", "hint: write the directory whole"];
    check(&["serve", "--listen", "0", "--config", &config], "", 4, &says);
    for command in ["serve", "demo"] {
        check(&[command, "--listen", "0", "--data=~/x"], "", 4, &says);
        check_in(&[("HALFPING_DATA", "~/x")], &[command, "--listen", "0"], "", 4, &says);
    }
    check(&["restore", "-", "~/x"], "", 4, &says);
    assert!(!std::path::Path::new("~").exists());
}

#[test]
fn a_backup_that_gzip_has_compressed_is_told_how_to_be_restored() {
    let target = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (backup, store) = (target.join("backup.ndjson.gz"), target.join("of-gzip"));
    std::fs::write(&backup, b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03").unwrap();
    let (file, data) = (backup.to_str().unwrap(), store.to_str().unwrap());
    let hint = format!("hint: gunzip < {file} | halfping restore - {data}");
    check(&["restore", file, data], "", 4, &["is compressed with gzip", &hint]);
    assert!(!store.exists());
}

#[test]
fn a_wrong_command_line_is_2() {
    check(&[], "", 2, &["Usage: halfping <COMMAND>"]);
    check(&["put", "h"], "", 2, &["<JSON>"]);
    check(&["get", "ftp://h"], "", 2, &["expected http:// or https://, not ftp://"]);
    check(&["get", "h:port"], "", 2, &["invalid port number"]);
    check(&["get", "h/a/../b"], "", 2, &["the path `/a/../b` has a `.` or `..` segment"]);
    check(
        &["replay", "--to", "h", "--speed", "0", "-"],
        "",
        2,
        &["expected a positive number, or `max`"],
    );
    check(
        &["replay", "--to", "h", "--loop", "-"],
        "",
        2,
        &["--loop cannot start stdin again", "hint: "],
    );
    check(
        &["replay", "--to", "h/?a", "-"],
        "",
        2,
        &["paths cannot follow the query of http://h/?a"],
    );
    check(&["serve", "--listen", "localhost"], "", 2, &["such as 127.0.0.1:7070"]);
    check(&["serve", "--data", "d", "--memory"], "", 2, &["cannot be used with"]);
}

#[test]
fn who_is_let_in_is_said_so_that_it_can_be_true() {
    for (args, says) in [
        (["--cors", "any,none"], "--cors: `any` stands alone"),
        (["--cors", "none,https://a.example"], "--cors: `none` stands alone"),
        (["--cors", "any,https://a.example"], "--cors: `any` stands alone"),
        (["--cors", "https://*.a.example"], "there are no patterns"),
        (["--cors", "a.example"], "it begins with no scheme"),
        (["--allowed-host", "any,a"], "--allowed-host: `any` stands alone"),
        (["--allowed-host", "*.a.example"], "there are no patterns"),
        (["--allowed-host", "a.example:80"], "leave out the port"),
        (["--allowed-host", "https://a.example/x"], "write \"a.example\""),
        (["--cors", "https://a.example/"], "write \"https://a.example\""),
        (["--limit", "body_bytes=5s"], "a size in B, kB, MB, GB, TB, KiB, MiB, GiB or TiB"),
        (["--limit", "body_byte=5"], "did you mean `body_bytes`?"),
        (["--limit", "body_byte=1MB"], "did you mean `body_bytes`?"),
        (["--limit", "body_bytes"], "a limit is NAME=VALUE"),
        (["--console", "maybe"], "expected on or off"),
        (["--listen", "70711"], "or a port"),
    ] {
        check(&[&["serve", "--memory"], &args[..]].concat(), "", 2, &[says]);
    }
    for args in [["--cors", "any,none"], ["--allowed-host", "any,a"]] {
        check(&[&["demo", "--memory"], &args[..]].concat(), "", 2, &["stands alone"]);
    }
}

#[test]
fn an_empty_variable_is_as_good_as_none() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let names = [
        "HALFPING_LISTEN",
        "HALFPING_CONFIG",
        "HALFPING_DATA",
        "HALFPING_CORS",
        "HALFPING_ALLOWED_HOSTS",
        "HALFPING_CONSOLE",
        "HALFPING_READ_ONLY",
        "HALFPING_OPEN",
        "HALFPING_LOG",
        "HALFPING_LOG_FORMAT",
    ];
    let empty = names.map(|name| (name, ""));
    // Both commands get to the point of finding the address in use.
    for command in ["serve", "demo"] {
        let args = [command, "--memory", "--listen", &address];
        check_in(&empty, &args, "", 3, &["cannot listen on"]);
    }
    let port = address.rsplit(':').next().unwrap();
    check_in(
        &empty,
        &["serve", "--memory", "--port", port],
        "",
        3,
        &[&format!("127.0.0.1:{port}")],
    );
    check_in(
        &empty,
        &["serve", "--memory", "--listen", port],
        "",
        3,
        &[&format!("127.0.0.1:{port}")],
    );
    check_in(&[("HALFPING_LISTEN", port)], &["demo", "--memory"], "", 3, &["cannot listen on"]);
}

#[test]
fn what_is_no_halfping_server_is_3() {
    // A site that answers everything with a web page.
    let site = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = site.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in site.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let page = "<html></html>";
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close";
            let _ = write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{page}", page.len());
        }
    });
    let hint = "hint: is it a Halfping server?";
    check(&["get", &address], "", 3, &["answered with text/html rather than JSON", hint]);
    check(&["put", &address, "1"], "", 3, &["without the cursor", hint]);
    check(&["delete", &format!("{address}/a")], "", 3, &["without the cursor", hint]);
    check(&["watch", &address], "", 3, &["rather than a stream", hint]);
    check(&["backup", &address, "-"], "", 3, &["rather than a stream"]);
}

#[test]
fn no_proxy_is_asked_for_what_is_on_this_machine() {
    let (nowhere, proxy) = (nowhere(), nowhere());
    let proxy = format!("http://{proxy}");
    let environment = ["http_proxy", "HTTP_PROXY", "all_proxy"].map(|name| (name, proxy.as_str()));
    let said = format!("cannot reach http://{nowhere}: no connection: Connection refused");
    check_in(&environment, &["get", &nowhere], "", 3, &[&said]);
    // An existing proxy would have answered for another machine.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        let len = stream.read(&mut head).unwrap();
        let _ = stream.write_all(
            b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
        String::from_utf8_lossy(&head[..len]).into_owned()
    });
    let environment = [("http_proxy", proxy.as_str()), ("no_proxy", ""), ("NO_PROXY", "")];
    check_in(&environment, &["get", &nowhere], "", 3, &["Connection refused"]);
    check_in(&environment, &["get", "http://halfping.invalid/a"], "", 3, &["502"]);
    assert!(asked.join().unwrap().starts_with("GET http://halfping.invalid/a"));
}

#[test]
fn a_server_that_is_not_there_is_3() {
    let nowhere = nowhere();
    let said = format!("cannot reach http://{nowhere}: no connection: Connection refused");
    let recording = "{\"t\":1,\"path\":\"/a\",\"value\":1}\n";
    for args in [
        &["get", &nowhere][..],
        &["put", &nowhere, "1"],
        &["delete", &nowhere],
        &["watch", &nowhere],
    ] {
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
        &["cannot listen on", "hint: another server runs there; --port "],
    );
}

#[test]
fn bad_input_is_4() {
    let nowhere = nowhere();
    check(&["put", &nowhere, "hello"], "", 4, &["the value is not JSON", "hint: ", "'\"hello\"'"]);
    check(&["merge", &nowhere, "-"], "{\"a\":", 4, &["the value is not JSON: EOF while parsing"]);
    check(
        &["replay", "--to", &nowhere, "no-such-file"],
        "",
        4,
        &["cannot read no-such-file: No such file"],
    );
    check(&["replay", "--to", &nowhere, "-"], "", 4, &["-: nothing to replay"]);
    check(
        &["replay", "--to", &nowhere, "-"],
        "\n\n{\"t\":1}\n",
        4,
        &["-: line 3: column 7: missing field `path`"],
    );
    check(
        &["serve", "--config", "no-such-file"],
        "",
        4,
        &["cannot read no-such-file: No such file"],
    );
    let config = file("wrong.toml", "listen = \"127.0.0.1:0\"\n\n[cors]\norigin = []\n");
    check(
        &["serve", "--config", &config],
        "",
        4,
        &[
            "wrong.toml: line 4 (`origin = []`): unknown setting `origin`",
            "hint: did you mean `origins`?",
        ],
    );
    let config = file("yes.toml", "# who may write\nread_only = yes\n");
    check(
        &["serve", "--config", &config],
        "",
        4,
        &[
            "yes.toml: line 2 (`read_only = yes`): `read_only` is true or false",
            "hint: write read_only = true",
        ],
    );
    let tight = file("tight.toml", "[regions]\nephemeral = [\"/a/b/c\"]\n");
    check(
        &["serve", "--memory", "--config", &tight, "--limit", "path_depth=2"],
        "",
        2,
        &["--limit: regions.ephemeral: `/a/b/c` is not a pattern"],
    );
}
