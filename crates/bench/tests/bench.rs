//! `halfping-bench` from end to end, small: both subjects are measured, and all readers get the
//! last value.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The server to measure: it is built with another package, into the same directory.
#[track_caller]
fn server() -> PathBuf {
    let name = format!("halfping{}", std::env::consts::EXE_SUFFIX);
    let server = PathBuf::from(env!("CARGO_BIN_EXE_halfping-bench")).with_file_name(name);
    let hint = "`cargo build -p halfping-cli` builds it, `cargo xtask test build` all for tests";
    assert!(server.is_file(), "{} is not there: {hint}", server.display());
    server
}

/// The program. Checks first that the server to measure was built.
#[track_caller]
fn bench() -> Command {
    server();
    Command::new(env!("CARGO_BIN_EXE_halfping-bench"))
}

/// Runs a scenario.
#[track_caller]
fn run(arguments: &[&str]) -> Output {
    bench().args(arguments).arg("--json").output().expect("the binary runs")
}

/// Runs a scenario and returns what it prints.
#[track_caller]
fn report(arguments: &[&str]) -> Value {
    let output = run(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

/// The cases of a scenario that is measured beside its floor.
#[track_caller]
fn cases(arguments: &[&str]) -> Value {
    report(&[arguments, &["--runs", "1"]].concat())["cases"].clone()
}

/// The figures of its first case.
#[track_caller]
fn figures(arguments: &[&str]) -> Value {
    cases(arguments)[0]["figures"].clone()
}

#[track_caller]
fn check_positive(figures: &Value, name: &str) {
    for subject in ["halfping", "floor"] {
        assert!(
            figures[name][subject].as_f64().is_some_and(|value| value > 0.0),
            "{name}: {figures}"
        );
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
        // 3,000 updates of more than 200 bytes were made: a server that queues them holds more than
        // half a megabyte (PROTOCOL S3).
        assert!(figure(&measured, "bytes_to_newest") < 400_000.0, "{measured}");
    }
}

#[test]
fn credit_bounds_what_a_stalled_reader_has_to_read() {
    // PROTOCOL L10: the bytes on their way, and the newest value.
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
fn attacks_end_and_leave_nothing_open() {
    // One of each family that needs no large tree.
    let names = "half-prefaces,large-messages,command-floods,unread-streams,patch-appends,\
                 links-one-place,queue-session,nesting,h2-settings";
    let report = report(&["attack", "--seconds", "1", "--only", names]);
    let attacks = report["attacks"].as_array().expect("a list");
    assert_eq!((attacks.len(), &report["not_measured"]), (9, &Value::Array(vec![])), "{report}");
    for attack in attacks {
        assert!(attack["back_after_ms"].is_u64() && attack["panics"] == 0, "{attack}");
        assert!(attack["requests_failed"] == 0 && attack["lived"] == true, "{attack}");
        assert!(
            attack["age"]["during"]["p99_ms"].as_f64().is_some_and(|age| age > 0.0),
            "{attack}"
        );
        assert!(attack["memory"]["growth_bytes"].is_number(), "{attack}");
    }
    // On a busy machine one may end before its first answer.
    let answered = |attack: &&Value| attack["answers"].as_object().is_some_and(|of| !of.is_empty());
    assert!(attacks.iter().filter(answered).count() >= 4, "{report}");
}

#[cfg(target_os = "linux")]
#[test]
fn another_binary_is_attacked_by_turns() {
    let server = server();
    let server = server.to_str().expect("a path of text");
    let servers = ["--server", server, "--server", server];
    let report =
        report(&[&["attack", "--seconds", "0.5", "--only", "nothing"], &servers[..]].concat());
    let attacks = report["attacks"].as_array().expect("a list");
    assert_eq!(attacks.len(), 2, "{report}");
    assert!(attacks.iter().all(|attack| attack["server"] == server), "{report}");
}

#[test]
fn another_binary_is_measured_beside_the_floor() {
    let server = server();
    let server = server.to_str().expect("a path of text");
    let measured = figures(&["ingest", "--writers", "2", "--seconds", "0.2", "--server", server]);
    check_positive(&measured, "writes_per_s");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let output = run(&["latency", "--runs", "1", "--no-floor", "--server", "no-such-server"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("no-such-server"), "{said}");
}

#[test]
fn without_a_server_beside_it_the_command_that_builds_one_is_named() {
    let alone = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("release");
    std::fs::create_dir_all(&alone).expect("a directory");
    let program = alone.join("halfping-bench");
    std::fs::copy(env!("CARGO_BIN_EXE_halfping-bench"), &program).expect("a copy");
    let output = Command::new(program).args(["latency", "--no-floor"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1), "{said}");
    assert!(said.contains("`cargo build --release -p halfping-cli` builds it"), "{said}");
}

#[test]
fn an_attack_that_there_is_not_is_named() {
    let output = run(&["attack", "--only", "patch-nonsense"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("`patch-nonsense`"), "{said}");
}

#[test]
fn a_backup_of_a_queue_is_timed_beside_a_quiet_one() {
    let arguments =
        ["queue", "--only", "backup", "--backup-members", "500", "--backup-churn", "50"];
    let report = report(&arguments);
    let backup = &report["readers"][0];
    assert!(backup["reader"] == "backup" && backup["done_s"].is_number(), "{report}");
    assert!(backup["come_per_s"].as_f64().is_some_and(|rate| rate > 0.0), "{report}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_soak_leaves_samples_a_picture_and_verdicts() {
    let out = env!("CARGO_TARGET_TMPDIR");
    let output =
        run(&["soak", "--minutes", "0.1", "--every", "0.5", "--readers", "9", "--out", out]);
    // In so short a time all of it is still warming up, and some of it may grow; the report then
    // says so.
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    let quantities = report["quantities"].as_object().expect("quantities");
    let grows = quantities.values().any(|quantity| quantity["verdict"] == "GROWS");
    assert_eq!((output.status.success(), said.contains("these grow: ")), (!grows, grows), "{said}");
    assert_eq!(
        (&report["surprises"], &report["panics"]),
        (&Value::from(0), &Value::from(0)),
        "{report}"
    );
    assert!(
        report["quantities"]["resident_mib"]["middle"].as_f64().is_some_and(|mib| mib > 1.0),
        "{report}"
    );
    let samples =
        std::fs::read_to_string(report["csv"].as_str().expect("a path")).expect("it is there");
    let columns = |line: &str| line.split(',').count();
    assert!(samples.lines().count() > 8, "{samples}");
    assert!(samples.lines().all(|line| columns(line) == 14), "{samples}");
    let picture =
        std::fs::read_to_string(report["svg"].as_str().expect("a path")).expect("it is there");
    assert_eq!(picture.matches("<polyline").count(), 13);
}

#[cfg(unix)]
#[test]
fn a_soak_that_is_interrupted_ends_with_what_it_has() {
    let out = format!("{}/interrupted", env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&out).expect("a directory");
    let mut soak = bench()
        .args(["soak", "--every", "0.5", "--readers", "3", "--out", &out])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut said =
        BufReader::new(soak.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
    assert!(said.any(|line| line.contains("links")), "a first sample");
    let interrupted = Command::new("kill").args(["-INT", &soak.id().to_string()]).status();
    assert!(interrupted.is_ok_and(|status| status.success()));
    let rest: Vec<String> = said.collect();
    let output = soak.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{rest:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("too few samples"));
}

/// True if a slow link can be set up here.
#[cfg(target_os = "linux")]
fn has_slow_link() -> bool {
    let probe = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
    };
    let namespaces = ["--user", "--map-root-user", "--net", "true"];
    let has = (probe("unshare", &namespaces) || probe("unshare", &namespaces[2..]))
        && probe("tc", &["-V"]);
    if !has {
        eprintln!("skipped: it needs iproute2, and a system that lets us make network namespaces");
    }
    has
}

#[cfg(target_os = "linux")]
#[test]
fn every_value_gets_its_turn_on_a_slow_link() {
    if !has_slow_link() {
        return;
    }
    let measured = figures(&["shaped", "--seconds", "2"]);
    check_positive(&measured, "age_p50_ms");
    check_positive(&measured, "deliveries_least");
}

#[cfg(target_os = "linux")]
#[test]
fn slow_readers_of_a_small_queue_are_synced() {
    if !has_slow_link() {
        return;
    }
    let arguments = ["queue", "--only", "stream,session", "--members", "20", "--churn", "20"];
    let report = report(&[&arguments[..], &["--seconds", "1"]].concat());
    let readers = report["readers"].as_array().expect("a list");
    assert_eq!(readers.len(), 2, "{report}");
    for reader in readers {
        assert!(reader["done_s"].is_number() && reader["behind_s"].is_number(), "{reader}");
    }
}
