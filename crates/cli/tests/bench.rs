//! `halfping bench` from end to end, small: figures for all kinds of servers, and nothing left
//! behind.

// The helpers here are tests too; clippy recognises only functions marked so.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread;

use common::{Halfping, halfping};
use serde_json::Value;

/// Few readers for a short time.
const SMALL: [&str; 7] = ["bench", "--readers", "30", "--rate", "50", "--seconds", "0.5"];

fn bench(arguments: &[&str]) -> Output {
    halfping().args(SMALL).args(arguments).output().unwrap()
}

/// Runs a benchmark; returns its text, and its output as JSON.
#[track_caller]
fn check(arguments: &[&str], code: i32) -> (String, Value) {
    let output = bench(&[arguments, &["--json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    (said, serde_json::from_slice(&output.stdout).unwrap())
}

#[track_caller]
fn check_positive(report: &Value, names: &[&str]) {
    for name in names {
        assert!(report[name].as_f64().is_some_and(|value| value > 0.0), "{name}: {report}");
    }
}

const DELIVERIES: &[&str] = &["writes_per_s", "deliveries_per_s", "age_p50_ms", "age_p99_ms"];

/// The whole state of a server.
fn state(address: SocketAddr) -> String {
    let output = halfping().args(["get", &address.to_string()]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Answers each connection in a thread of its own. Returns the address.
fn listen(answer: impl Fn(TcpStream) + Send + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            thread::spawn(move || answer(stream));
        }
    });
    address
}

#[test]
fn a_server_of_its_own_is_measured() {
    let (_, report) = check(&[], 0);
    assert!(report["readers"] == 30 && report["is_own_server"] == true, "{report}");
    check_positive(&report, DELIVERIES);
    // The server tells its memory and processor time if the system does.
    let told = if cfg!(target_os = "linux") { 0 } else { 1 };
    assert!(report["notes"].to_string().matches("_metrics").count() <= told, "{report}");
}

#[test]
fn a_table_has_the_same_figures() {
    let output = bench(&[]);
    let table = String::from_utf8(output.stdout).unwrap();
    for row in [
        "server memory per idle reader",
        "deliveries a second",
        "age on delivery, p99",
        "server CPU time per delivered update",
        "one core carries about",
    ] {
        assert!(table.contains(row), "{row}: {table}");
    }
    assert!(table.contains("30 of 30"), "{table}");
}

#[test]
fn what_was_written_on_a_server_is_removed() {
    let server = Halfping::serve("bench_removed", "");
    let (said, report) = check(&[&format!("{}/scratch/here", server.address)], 0);
    assert_eq!(report["is_own_server"], false, "{report}");
    check_positive(&report, DELIVERIES);
    assert_eq!(state(server.address).trim(), "{}", "{said}");
}

#[test]
fn what_others_have_above_the_value_stays() {
    let server = Halfping::serve("bench_others", "");
    let put = |path: &str, value: &str| {
        let url = format!("{}{path}", server.address);
        assert!(halfping().args(["put", &url, value]).output().unwrap().status.success());
    };
    put("/scratch", "{}");
    let at = |path: &str| format!("{}{path}", server.address);
    check(&[&at("/scratch/a/b")], 0);
    assert_eq!(state(server.address).trim(), "{\"scratch\":{}}");
    put("/scratch/a", "{\"kept\":{}}");
    check(&[&at("/scratch/a/b/")], 0);
    assert_eq!(state(server.address).trim(), "{\"scratch\":{\"a\":{\"kept\":{}}}}");
}

#[test]
fn a_read_only_server_is_told_what_readers_take() {
    let server = Halfping::serve("bench_read_only", "read_only = true");
    let (said, report) = check(&[&server.address.to_string()], 1);
    assert!(said.contains("read-only"), "{said}");
    assert!(report["readers"] == 30 && report["deliveries"].is_null(), "{report}");
}

#[test]
fn a_server_that_lets_few_in_is_measured_with_these() {
    let server = Halfping::serve("bench_limit", "[limits]\nconnections = 12");
    let (said, report) = check(&[&server.address.to_string()], 1);
    assert!(said.contains("readers were let in: 503 too-many-connections"), "{said}");
    let readers = report["readers"].as_u64().unwrap();
    assert!((1..12).contains(&readers), "{report}");
    let note = format!("of 30 readers, {readers} are measured");
    assert!(report["notes"].to_string().contains(&note), "{report}");
    check_positive(&report, DELIVERIES);
}

#[test]
fn a_server_that_hides_its_metrics_is_measured_from_outside() {
    let server = Halfping::serve("bench_hidden", "");
    let inside = server.address;
    let address = listen(move |mut client| {
        let mut upstream = TcpStream::connect(inside).unwrap();
        let mut back = upstream.try_clone().unwrap();
        let mut to_client = client.try_clone().unwrap();
        thread::spawn(move || {
            let _ = std::io::copy(&mut back, &mut to_client);
            let _ = to_client.shutdown(Shutdown::Both);
        });
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = client.read(&mut bytes) {
            let passed = if bytes.starts_with(b"GET /_metrics") {
                client.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            } else {
                upstream.write_all(&bytes[..count])
            };
            if passed.is_err() {
                break;
            }
        }
        let _ = upstream.shutdown(Shutdown::Both);
    });
    let (_, report) = check(&[&address.to_string()], 0);
    check_positive(&report, DELIVERIES);
    assert!(report["notes"].to_string().contains("does not show /_metrics"), "{report}");
    for unknown in ["memory_bytes_per_reader", "server_cpu_us_per_delivery"] {
        assert_eq!(report[unknown], Value::Null, "{report}");
    }
}

#[test]
fn what_is_no_halfping_server_is_told() {
    for answer in ["200 OK\r\ncontent-type: text/html", "405 Method Not Allowed"] {
        let address = listen(move |mut stream| {
            let _ = stream.read(&mut [0; 4096]);
            let _ = write!(stream, "HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
        });
        let output = bench(&[&address.to_string()]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("is it a Halfping server?"), "{answer}: {said}");
        assert!(!output.status.success(), "{answer}: {said}");
        assert!(output.stdout.is_empty(), "{answer}: {output:?}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_it_with_what_it_has() {
    let server = Halfping::serve("bench_interrupted", "");
    let mut command = halfping();
    command.args(&SMALL[..5]).args(["--seconds", "600", "--json", &server.address.to_string()]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Value number 0 is there before any reader.
    let is_loaded = |state: &str| state.contains("bench-") && !state.contains("\"0000000000000000");
    while !is_loaded(&state(server.address)) {
        thread::yield_now();
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["is_interrupted"] == true && report["readers"] == 30, "{report}");
    check_positive(&report, &["writes_per_s", "deliveries"]);
    assert!(!state(server.address).contains("bench-"), "{said}");
}
