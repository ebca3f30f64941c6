//! `halfping bench` from end to end, small: both subjects are measured, and everybody gets the last value.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Runs a scenario and returns its first case's figures.
#[track_caller]
fn figures(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_halfping"))
        .arg("bench")
        .args(arguments)
        .args(["--runs", "1", "--json"])
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    report["cases"][0]["figures"].clone()
}

#[track_caller]
fn check_positive(figures: &Value, name: &str) {
    for subject in ["halfping", "floor"] {
        assert!(figures[name][subject].as_f64().is_some_and(|value| value > 0.0), "{name}: {figures}");
    }
}

#[test]
fn fan_out_in_both_modes() {
    for mode in ["lock-step", "free-running"] {
        let measured =
            figures(&["fanout", "--readers", "20", "--seconds", "0.3", "--payload", "200", "--mode", mode]);
        check_positive(&measured, "deliveries_per_s");
        check_positive(&measured, "age_p50_ms");
    }
}

#[test]
fn a_stalled_reader_has_little_to_read_before_the_newest_value() {
    let measured = figures(&["stall", "--seconds", "1.5"]);
    check_positive(&measured, "bytes_to_newest");
    check_positive(&measured, "age_during_p99_ms");
    // 3,000 updates of more than 200 bytes were made: whoever queues them has more than half a megabyte (PROTOCOL S3).
    let bytes = measured["bytes_to_newest"]["halfping"].as_f64();
    assert!(bytes.is_some_and(|bytes| bytes < 400_000.0), "{measured}");
}

#[test]
fn a_server_can_end_with_whoever_started_it() {
    let mut server = Command::new(env!("CARGO_BIN_EXE_halfping"))
        .args(["serve", "--listen", "127.0.0.1:0", "--until-stdin-ends"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let said = BufReader::new(server.stderr.take().expect("it is piped"));
    let mut lines = said.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("listening")));
    drop(server.stdin.take());
    // The end of its stderr is that of the process.
    assert!(lines.all(|line| !line.contains("panic")));
    assert!(server.wait().expect("it ended").success());
}
