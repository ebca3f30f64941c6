//! Names that the server keeps out of sight: of removed members, and of levels that no single body
//! holds.

use std::io;
use std::time::Duration;

use super::ground::Ground;
use super::scenario::Scenario;
use crate::plain::Plain;

/// The objects in which members with long names come and go.
const OBJECTS_AT: &str = "/attack/graves";
/// Objects that each remember removed members.
const OBJECTS: u64 = 280;
/// Members that are removed from each, with names of 1,000 bytes.
const REMOVED: u64 = 1024;
/// Members that come, or go, in one write.
const AT_ONCE: u64 = 256;
/// The value that is nested more and more deeply.
const NESTED: &str = "/attack/shaft";
/// Levels at which readers' parsers commonly stop.
const LEVELS_MAX: usize = 128;
/// Time until everything is in place.
const FILL: Duration = Duration::from_secs(10);

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "tombstone-names",
        summary: "280 objects, each with 1,024 removed members with names of 1,000 bytes",
        least: FILL,
        crew: &[(1, remove_members)],
        bound: |terms| {
            (
                2 * terms.tombstones_bytes() + AT_ONCE * 16 * terms.key_bytes(),
                "2 x tombstones_bytes (64 MiB where there is none) + 16 x the names of one write",
            )
        },
        ..Scenario::PLAIN
    },
    Scenario {
        name: "nesting",
        summary: "values as deep as bodies may be, beneath deep paths, and patched further down",
        crew: &[(1, nest)],
        bound: |_| (0, "0"),
        ..Scenario::PLAIN
    },
];

fn remove_members(ground: &Ground, _: usize) {
    let mut plain = Plain::new(ground.address);
    let length = ground.terms.key_bytes().min(1000) as usize;
    for object in 0..OBJECTS {
        let path = format!("{OBJECTS_AT}/{object}");
        for first in (0..REMOVED).step_by(AT_ONCE as usize) {
            if !ground.goes_on() {
                return;
            }
            let patch = |value: &str| {
                let name =
                    |member| format!("\"{object}-{member:0length$}\":{value}", length = length - 8);
                let all: Vec<String> = (first..first + AT_ONCE).map(name).collect();
                format!("{{{}}}", all.join(","))
            };
            for value in ["0", "null"] {
                match plain.merge(&path, patch(value).as_bytes()) {
                    Ok(answer) => ground.count(&format!("answered {}", answer.status)),
                    Err(_) => ground.count("cut"),
                }
            }
        }
    }
    ground.count("buried all");
    while ground.rest(Duration::from_secs(1)) {}
}

fn nest(ground: &Ground, _: usize) {
    let mut deepest = 0;
    // Once is enough: the value is then as deep as it gets.
    if nest_once(ground, &mut deepest).is_err() {
        ground.count("cut");
    }
    ground.count(&format!("levels: {deepest}"));
    if deepest > LEVELS_MAX {
        ground.fault(&format!("{deepest} levels"));
    }
    while ground.rest(Duration::from_secs(1)) {}
}

/// Makes two deep values at the end of the deepest path, nests an array at the bottom of one, and
/// copies it to the bottom of the other: each step is as deep as a body, a path or a pointer may
/// be.
fn nest_once(ground: &Ground, deepest: &mut usize) -> io::Result<()> {
    let mut plain = Plain::new(ground.address);
    let (json_depth, path_depth) = (ground.terms.json_depth(), ground.terms.path_depth());
    let names = |count: u64| "/a".repeat(count as usize);
    let place = format!("{NESTED}{}", names(path_depth.saturating_sub(2)));
    let chain = |levels: u64| {
        let levels = levels as usize;
        format!("{}{{}}{}", "{\"a\":".repeat(levels), "}".repeat(levels))
    };
    // One of the pointer's names belongs to the target itself.
    let below = path_depth.min(json_depth).saturating_sub(2);
    let both = format!("{{\"from\":{},\"a\":{}}}", chain(below), chain(below));
    let status = plain.put(&place, both.as_bytes())?.status;
    ground.count(&format!("put: {status}"));
    let levels = json_depth.saturating_sub(3) as usize;
    let array = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let add = format!("{{\"op\":\"add\",\"path\":\"/from{}\",\"value\":{array}}}", names(below));
    let copy =
        format!("{{\"op\":\"copy\",\"from\":\"/from\",\"path\":\"{}/b\"}}", names(below + 1));
    for (what, operation) in [("add", add), ("copy", copy)] {
        let patch = format!("[{operation}]");
        let body = Some(("application/json-patch+json", patch.as_bytes()));
        let status = plain.ask("PATCH", &place, body)?.status;
        ground.count(&format!("{what}: {status}"));
    }
    *deepest = depth(&plain.get("/")?.body);
    Ok(())
}

/// Levels of nesting in a JSON text. Its strings must hold no brackets.
fn depth(json: &[u8]) -> usize {
    let (mut now, mut most) = (0usize, 0);
    for byte in json {
        match byte {
            b'{' | b'[' => now += 1,
            b'}' | b']' => now = now.saturating_sub(1),
            _ => {}
        }
        most = most.max(now);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_counted() {
        assert_eq!(depth(br#"{"a":{"b":[{}]},"c":0}"#), 4);
        assert_eq!(depth(b"0"), 0);
        assert_eq!(depth("[".repeat(9).as_bytes()), 9);
    }
}
