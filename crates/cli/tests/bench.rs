//! `halfping bench` from end to end, small: both subjects are measured, and everybody gets the last value.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Runs a scenario and returns its cases.
#[track_caller]
fn cases(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_halfping"))
        .arg("bench")
        .args(arguments)
        .args(["--runs", "1", "--json"])
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    report["cases"].clone()
}

/// The figures of its first case.
#[track_caller]
fn figures(arguments: &[&str]) -> Value {
    cases(arguments)[0]["figures"].clone()
}

#[track_caller]
fn check_positive(figures: &Value, name: &str) {
    for subject in ["halfping", "floor"] {
        assert!(figures[name][subject].as_f64().is_some_and(|value| value > 0.0), "{name}: {figures}");
    }
}

fn figure(figures: &Value, name: &str) -> f64 {
    figures[name]["halfping"].as_f64().unwrap_or_else(|| panic!("{name}: {figures}"))
}

#[test]
fn fan_out_in_both_modes_and_transports() {
    for mode in ["lock-step", "free-running"] {
        for transport in ["ws", "sse"] {
            let measured = figures(&[
                "fanout",
                "--readers",
                "20",
                "--seconds",
                "0.3",
                "--payload",
                "200",
                "--mode",
                mode,
                "--transport",
                transport,
            ]);
            check_positive(&measured, "deliveries_per_s");
            check_positive(&measured, "age_p50_ms");
        }
    }
}

#[test]
fn latency_of_a_delivery() {
    let measured = figures(&["latency", "--seconds", "0.5"]);
    check_positive(&measured, "age_p50_ms");
    check_positive(&measured, "values");
}

#[test]
fn idle_connections_of_both_kinds() {
    for transport in ["ws", "sse"] {
        let measured = figures(&["idle", "--connections", "100", "--transport", transport]);
        check_positive(&measured, "opened_per_s");
    }
}

#[test]
fn many_links_on_one_session() {
    let all = cases(&["mux", "--links", "3000", "--seconds", "0.5"]);
    check_positive(&all[0]["figures"], "state_bytes_per_resource");
    for name in ["watches_per_s", "age_alone_p50_ms", "age_among_p50_ms"] {
        check_positive(&all[1]["figures"], name);
    }
}

#[test]
fn a_stalled_reader_has_little_to_read_before_the_newest_value() {
    for transport in ["ws", "sse"] {
        let measured = figures(&["stall", "--seconds", "1.5", "--transport", transport]);
        check_positive(&measured, "bytes_to_newest");
        check_positive(&measured, "age_during_p99_ms");
        // 3,000 updates of more than 200 bytes were made: whoever queues them has more than half a megabyte (PROTOCOL S3).
        assert!(figure(&measured, "bytes_to_newest") < 400_000.0, "{measured}");
    }
}

#[test]
fn credit_bounds_what_a_stalled_reader_has_to_read() {
    // PROTOCOL L10: what is on its way, and the newest value.
    let measured = figures(&["stall", "--seconds", "1.5", "--credit", "16384", "--no-floor"]);
    assert!(figure(&measured, "bytes_to_newest") < 32_768.0, "{measured}");
}

#[test]
fn a_session_that_comes_back_gets_what_it_missed_and_no_more() {
    let measured = figures(&["resume", "--links", "500", "--commits", "100", "--touched", "10"]);
    check_positive(&measured, "bytes_to_synced");
    // PROTOCOL L6, S8: ten merged changes, whatever the number of commits and of links.
    assert_eq!(figure(&measured, "changes"), 10.0, "{measured}");
    assert!(
        figure(&measured, "bytes_to_synced") < figure(&measured, "bytes_first_time") / 10.0,
        "{measured}"
    );
}

#[test]
fn writes_are_acknowledged() {
    let measured = figures(&["ingest", "--writers", "8", "--seconds", "0.3"]);
    check_positive(&measured, "writes_per_s");
}

#[cfg(target_os = "linux")]
#[test]
fn every_value_gets_its_turn_on_a_slow_link() {
    let probe = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
    };
    let namespaces = ["--user", "--map-root-user", "--net", "true"];
    if !(probe("unshare", &namespaces) || probe("unshare", &namespaces[2..])) || !probe("tc", &["-V"]) {
        return eprintln!("skipped: it needs iproute2, and a system that lets us make network namespaces");
    }
    let measured = figures(&["shaped", "--seconds", "2"]);
    check_positive(&measured, "age_p50_ms");
    check_positive(&measured, "deliveries_least");
}

#[test]
fn a_server_can_end_with_whoever_started_it() {
    let mut server = Command::new(env!("CARGO_BIN_EXE_halfping"))
        .args(["serve", "--memory", "--listen", "127.0.0.1:0", "--until-stdin-ends"])
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
