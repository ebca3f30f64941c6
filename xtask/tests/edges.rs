//! Test that dependencies point one way, and that the engine does no IO. A new edge needs a change
//! of this file, in a commit of its own that gives the reason.

mod checkout;

use std::collections::BTreeSet;

use serde_json::Value;

/// Each package of the workspace, and the packages of ours that it may depend on, also for its
/// tests.
const EDGES: &[(&str, &[&str])] = &[
    ("halfping-engine", &[]),
    ("halfping-websocket", &[]),
    ("halfping-journal", &["halfping-engine"]),
    ("halfping-sim", &["halfping-engine", "halfping-journal"]),
    ("halfping", &["halfping-engine", "halfping-journal", "halfping-websocket"]),
    ("halfping-client", &[]),
    ("halfping-pages", &[]),
    ("halfping-cli", &["halfping", "halfping-client", "halfping-pages"]),
    // The benchmark needs the limits, for servers of other versions that do not report theirs. It
    // measures from outside.
    ("halfping-bench", &["halfping-engine"]),
    ("xtask", &[]),
];

/// All that the engine may use: bytes, tables, text of JSON and of paths, errors. None of these
/// does IO.
const ENGINE_USES: &[&str] =
    &["bytes", "hashbrown", "indexmap", "percent-encoding", "serde", "serde_json", "thiserror"];

/// Names of clocks, threads, files and sockets, which the engine must not use: time and input are
/// arguments there.
const ENGINE_NEVER: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "async fn",
    "println!",
];

#[test]
fn dependencies_between_our_crates_point_one_way() {
    let packages = packages();
    let ours: BTreeSet<&str> = packages.iter().map(|(name, _)| name.as_str()).collect();
    let listed: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    assert_eq!(ours, listed, "the packages of the workspace, and those that EDGES lists");

    for (name, dependencies) in &packages {
        let (_, allowed) = EDGES.iter().find(|(listed, _)| listed == name).expect("compared above");
        for (dependency, kind) in dependencies {
            assert!(
                !ours.contains(dependency.as_str()) || allowed.contains(&dependency.as_str()),
                "{name} may not depend on {dependency} ({kind}); it may on {allowed:?}"
            );
        }
    }
}

#[test]
fn the_engine_depends_on_nothing_that_does_io() {
    let packages = packages();
    let (_, dependencies) =
        packages.iter().find(|(name, _)| name == "halfping-engine").expect("the engine");
    for (dependency, kind) in dependencies {
        assert!(
            kind == "dev" || ENGINE_USES.contains(&dependency.as_str()),
            "the engine may not use {dependency} ({kind}); it may use {ENGINE_USES:?}"
        );
    }
}

#[test]
fn the_engine_has_no_clock_no_thread_and_no_file_or_socket() {
    let sources = checkout::files("crates/engine/src", &["rs"]);
    assert!(!sources.is_empty(), "the engine has sources");
    for (path, text) in sources {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for never in ENGINE_NEVER {
                assert!(
                    !code.contains(never),
                    "{}:{}: `{never}` in the engine: pass it in as an argument",
                    path.display(),
                    number + 1
                );
            }
        }
    }
}

/// The packages of the workspace: name, and dependencies with their kind (`normal`, `dev`,
/// `build`).
fn packages() -> Vec<(String, Vec<(String, String)>)> {
    let text = |value: &Value| value.as_str().unwrap_or("normal").to_owned();
    checkout::packages()
        .iter()
        .map(|package| {
            let dependencies = checkout::list(&package["dependencies"]);
            let named = dependencies
                .iter()
                .map(|found| (text(&found["name"]), text(&found["kind"])))
                .collect();
            (text(&package["name"]), named)
        })
        .collect()
}
