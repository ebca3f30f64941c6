//! `halfping bench` from end to end, small: figures for all kinds of servers, and nothing left
//! behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Output, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Halfping, halfping};
#[cfg(unix)]
use rustix::process::{Pid, Signal, kill_process};
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

/// A proxy to a server. `takes` is given what a client sends: true if that goes no further.
fn proxy(
    inside: SocketAddr,
    takes: impl Fn(&[u8], &mut TcpStream) -> bool + Send + Clone + 'static,
) -> SocketAddr {
    listen(move |mut client| {
        let mut upstream = TcpStream::connect(inside).unwrap();
        let mut back = upstream.try_clone().unwrap();
        let mut to_client = client.try_clone().unwrap();
        thread::spawn(move || {
            let _ = std::io::copy(&mut back, &mut to_client);
            let _ = to_client.shutdown(Shutdown::Both);
        });
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = client.read(&mut bytes) {
            let bytes = &bytes[..count];
            if !takes(bytes, &mut client) && upstream.write_all(bytes).is_err() {
                break;
            }
        }
        let _ = upstream.shutdown(Shutdown::Both);
    })
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
fn one_write_a_second_for_a_second_is_one_write() {
    for (rate, seconds) in [("1", "1"), ("0.1", "0.5")] {
        let arguments = ["bench", "--readers", "3", "--json", "--rate", rate, "--seconds", seconds];
        let output = halfping().args(arguments).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["writes"], 1, "{report}");
        let writes_per_s = report["writes_per_s"].as_f64().unwrap();
        assert!(writes_per_s <= 1.0 / seconds.parse::<f64>().unwrap(), "{report}");
    }
}

#[test]
fn memory_of_a_few_readers_has_a_note() {
    let (_, report) = check(&[], 0);
    if report["memory_bytes_per_reader"].is_number() {
        let note = "what a reader takes shows with --readers 1000 or more, not with 30";
        assert!(report["notes"].to_string().contains(note), "{report}");
    }
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
    let address = proxy(server.address, |bytes, client| {
        let hides = bytes.starts_with(b"GET /_metrics");
        if hides {
            let _ = client.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
        }
        hides
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

/// A long benchmark. Returns it when the readers are open and values are written.
#[cfg(unix)]
fn begin(server: &Halfping, at: SocketAddr) -> Child {
    let mut command = halfping();
    command.args(&SMALL[..5]).args(["--seconds", "600", "--json", &format!("{at}/made/here")]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Value number 0 is there before any reader.
    let is_loaded = |state: &str| state.contains("bench-") && !state.contains("\"0000000000000000");
    while !is_loaded(&state(server.address)) {
        thread::yield_now();
    }
    child
}

#[cfg(unix)]
fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_it_with_what_it_has() {
    let server = Halfping::serve("bench_interrupted", "");
    let child = begin(&server, server.address);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["is_interrupted"] == true && report["readers"] == 30, "{report}");
    check_positive(&report, &["writes_per_s", "deliveries"]);
    assert_eq!(state(server.address).trim(), "{}", "{said}");
}

/// A proxy to a server that holds each `DELETE` until it is told to pass it on. Returns its
/// address.
#[cfg(unix)]
fn holding_deletes(inside: SocketAddr) -> (SocketAddr, Sender<()>) {
    let (pass, passed) = channel();
    let passed = Arc::new(Mutex::new(passed));
    let address = proxy(inside, move |bytes, _| {
        if bytes.starts_with(b"DELETE") {
            let _ = passed.lock().unwrap().recv();
        }
        false
    });
    (address, pass)
}

#[cfg(unix)]
#[test]
fn a_second_interrupt_at_once_does_not_cut_the_clean_up_off() {
    let server = Halfping::serve("bench_interrupted_twice", "");
    let (address, pass) = holding_deletes(server.address);
    let mut child = begin(&server, address);
    interrupt(&child);
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.next().unwrap().unwrap().starts_with("stopping"));
    interrupt(&child);
    // Held until the second was seen: it would have ended the process.
    thread::sleep(Duration::from_millis(100));
    drop(pass);
    assert!(child.wait().unwrap().success(), "{:?}", said.collect::<Vec<_>>());
    assert_eq!(state(server.address).trim(), "{}");
}

#[cfg(unix)]
#[test]
fn a_later_interrupt_ends_it_at_once_and_tells_what_is_left() {
    let server = Halfping::serve("bench_interrupted_later", "");
    let (address, _pass) = holding_deletes(server.address);
    let mut child = begin(&server, address);
    let until = Instant::now() + Duration::from_secs(30);
    let status = loop {
        interrupt(&child);
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => thread::sleep(Duration::from_millis(50)),
        }
        assert!(Instant::now() < until, "it does not end");
    };
    assert_eq!(status.code(), Some(130));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let left = state(server.address);
    let name = &left[left.find("bench-").unwrap()..][.."bench-".len() + 16];
    let remedy = format!("`halfping delete http://{address}/made/here/{name}` removes it");
    assert!(said.contains(&remedy) && said.contains("in /made that was made for it"), "{said}");
}
