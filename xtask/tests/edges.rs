//! Test that dependencies point one way, and that the engine does no IO. A new edge needs a change
//! of this file, in a commit of its own that gives the reason.

mod checkout;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

/// Each package of the workspace, and the packages of ours that it may depend on, also for its
/// tests.
const EDGES: &[(&str, &[&str])] = &[
    ("halfping-shape", &[]),
    // Who somebody is has nothing to do with what a tree is.
    ("halfping-credentials", &[]),
    ("halfping-rules", &["halfping-shape"]),
    ("halfping-engine", &["halfping-shape"]),
    ("halfping-websocket", &[]),
    ("halfping-journal", &["halfping-engine"]),
    // The simulator has whole servers as well, without sockets: what a reader is told is made there.
    ("halfping-sim", &["halfping", "halfping-engine", "halfping-journal", "halfping-shape"]),
    (
        "halfping",
        &[
            "halfping-credentials",
            "halfping-engine",
            "halfping-journal",
            "halfping-rules",
            "halfping-shape",
            "halfping-websocket",
        ],
    ),
    ("halfping-client", &["halfping-shape"]),
    ("halfping-pages", &[]),
    (
        "halfping-cli",
        &["halfping", "halfping-client", "halfping-pages", "halfping-rules", "halfping-shape"],
    ),
    // The benchmark needs the limits, for servers of other versions that do not report theirs. It
    // measures from outside.
    ("halfping-bench", &["halfping-engine"]),
    ("xtask", &[]),
];

/// Packages that do no IO.
const WITHOUT_IO: &[&str] =
    &["halfping-credentials", "halfping-engine", "halfping-rules", "halfping-shape"];

/// All that they may use: bytes, tables, text of JSON, of TOML and of paths, errors; for
/// credentials, also heads of requests, hashes and signatures. None of these does IO, but for the
/// random numbers of `ring`, which are among the names below.
const MAY_BE_USED: &[&str] = &[
    "base64",
    "bytes",
    "form_urlencoded",
    "hashbrown",
    "http",
    "indexmap",
    "percent-encoding",
    "ring",
    "serde",
    "serde_json",
    "subtle",
    "thiserror",
    "toml",
];

/// Names of clocks, threads, files, sockets and randomness, which they must not use: all of that is
/// an argument there.
const NEVER_USED: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "SystemRandom",
    "ring::rand",
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
fn packages_without_io_depend_on_nothing_that_does_io() {
    let packages = packages();
    for name in WITHOUT_IO {
        let (_, dependencies) =
            packages.iter().find(|(found, _)| found == name).expect("a package of ours");
        for (dependency, kind) in dependencies {
            let is_allowed = MAY_BE_USED.contains(&dependency.as_str())
                || WITHOUT_IO.contains(&dependency.as_str())
                || kind == "dev";
            assert!(
                is_allowed,
                "{name} may not use {dependency} ({kind}); it may use {MAY_BE_USED:?}"
            );
        }
    }
}

#[test]
fn packages_without_io_have_no_clock_no_thread_and_no_file_or_socket() {
    for name in WITHOUT_IO {
        let folder = format!("crates/{}/src", name.trim_start_matches("halfping-"));
        let sources = checkout::files(&folder, &["rs"]);
        assert!(!sources.is_empty(), "{folder} has sources");
        // Its tests may print figures.
        let is_of_tests = |path: &Path| path.components().any(|part| part.as_os_str() == "tests");
        for (path, text) in sources.iter().filter(|(path, _)| !is_of_tests(path)) {
            for (number, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                for never in NEVER_USED {
                    assert!(
                        !code.contains(never),
                        "{}:{}: `{never}` in {name}: pass it in as an argument",
                        path.display(),
                        number + 1
                    );
                }
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
