//! Test of floors: modules stand above each other, and use what is below them.
//!
//! `FLOORS` lists the modules at the root of each of our larger crates, from the ground up, each
//! with all modules beneath it. A module may use its own floor and those below; that there is no
//! circle on a floor is tested in `circles.rs`. A new module gets a place on the lowest floor that
//! has all it uses below it or beside it.

mod checkout;
mod modules;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use modules::{Modules, Place};

/// The floors of a crate, from the ground up.
type Floors = &'static [&'static [&'static str]];

const FLOORS: &[(&str, Floors)] = &[
    (
        "engine",
        &[
            // Words that all of it speaks in.
            &["cursor", "grow", "limits", "mutants", "path", "refusal", "times"],
            &["tree"],
            &["rows"],
            &["read"],
            &["write"],
            &["engine"],
        ],
    ),
    (
        "journal",
        &[&["journal"], &["backend", "committer", "faulty", "memory"], &["store"], &["open"]],
    ),
    (
        "credentials",
        &[
            &["algorithm", "encoding", "reason", "secret"],
            &["identity"],
            // Tokens and keys, and what is kept of and for them.
            &["api_key", "cache", "claims", "jwk", "jws", "key", "key_set", "revoked", "ticket"],
            // What the server deals with: settings, heads of requests, fetches.
            &["config", "refresh", "shown"],
            &["verifier"],
        ],
    ),
    (
        "halfping",
        &[
            // Tools, each of use alone.
            &[
                "answers", "aside", "clock", "delivery", "hint", "mutants", "names", "patience",
                "preface",
            ],
            &["error", "problem", "process", "socket", "tag"],
            // What is asked for, by whom, and whether it may be.
            &["access", "auth", "budget", "commit", "metrics", "shape"],
            &["connection", "direct", "seen"],
            // The engine behind its lock.
            &["hub"],
            &["ahead", "answer", "own", "room", "shown", "transports"],
            &["http"],
            &["api"],
            &["server", "view"],
        ],
    ),
];

#[test]
fn modules_use_only_what_stands_below_them() {
    for (name, floors) in FLOORS {
        let root = checkout::root().join("crates").join(name).join("src/lib.rs");
        let found = upwards(&root, floors);
        assert!(found.is_empty(), "crates/{name}, against FLOORS:\n{}", found.join("\n"));
    }
}

#[test]
fn every_planted_edge_upwards_is_found() {
    for (name, floors) in FLOORS {
        let height: BTreeMap<&str, usize> = heights(floors);
        for (low, high) in height.iter().flat_map(|low| height.iter().map(move |high| (low, high)))
        {
            let edges = [(place(low.0), place(high.0))].into();
            let is_found = !against(&edges, floors).is_empty();
            assert_eq!(is_found, low.1 < high.1, "{name}: {} uses {}", low.0, high.0);
        }
        let unknown = [(place("unheard_of"), place(floors[0][0]))].into();
        assert_eq!(against(&unknown, floors).len(), 1, "{name}: a module on no floor");
    }
}

/// The uses in a crate that its floors do not allow, and its modules that stand on none.
fn upwards(root: &Path, floors: Floors) -> Vec<String> {
    let modules = Modules::read(root);
    let mut found = against(&modules.edges(), floors);
    let all: BTreeSet<&str> = modules.top().collect();
    let listed: BTreeSet<&str> = heights(floors).into_keys().collect();
    found.extend(listed.difference(&all).map(|gone| format!("{gone} is listed and is no module")));
    found.extend(all.difference(&listed).map(|new| format!("{new} stands on no floor")));
    found
}

/// Those edges that lead upwards, or begin or end at a module on no floor.
fn against(edges: &BTreeSet<(Place, Place)>, floors: Floors) -> Vec<String> {
    let heights = heights(floors);
    let height = |place: &Place| heights.get(place[0].as_str());
    // The root of a crate has the names that it publishes, and may know all.
    let within = edges.iter().filter(|(from, to)| !from.is_empty() && !to.is_empty());
    let is_wrong =
        |(from, to): &&(Place, Place)| height(from).is_none() || height(to) > height(from);
    let told = |(from, to): &(Place, Place)| format!("{} uses {}", from.join("::"), to.join("::"));
    within.filter(is_wrong).map(told).collect()
}

fn heights(floors: Floors) -> BTreeMap<&'static str, usize> {
    let each = floors.iter().enumerate();
    each.flat_map(|(height, floor)| floor.iter().map(move |module| (*module, height))).collect()
}

fn place(module: &str) -> Place {
    vec![module.to_owned()]
}
