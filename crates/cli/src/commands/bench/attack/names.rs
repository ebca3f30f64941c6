//! Names that nobody sees: of members that were removed, and of levels that no body has at once.

use std::io;
use std::time::Duration;

use super::ground::Ground;
use super::scenario::Scenario;
use crate::commands::bench::plain::Plain;

/// Where members with long names come and go.
const GRAVEYARD: &str = "/attack/graves";
/// Objects that each remember what was removed.
const OBJECTS: u64 = 280;
/// Members that are removed from each, with names of 1,000 bytes.
const REMOVED: u64 = 1024;
/// Members that come, or go, in one write.
const AT_ONCE: u64 = 256;
/// Where something is nested more and more deeply.
const SHAFT: &str = "/attack/shaft";
/// Levels at which readers' parsers commonly stop.
const LEVELS_MAX: usize = 128;
/// How often a value is copied into itself.
const COPIES: u64 = 3;
/// How long it takes until all of it is there.
const FILL: Duration = Duration::from_secs(10);

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "tombstone-names",
        summary: "280 objects, each with 1,024 removed members with names of 1,000 bytes",
        least: FILL,
        crew: &[(1, bury)],
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
        crew: &[(1, dig)],
        bound: |_| (0, "0"),
        ..Scenario::PLAIN
    },
];

fn bury(ground: &Ground, _: usize) {
    let mut plain = Plain::new(ground.address);
    let length = ground.terms.key_bytes().min(1000) as usize;
    for object in 0..OBJECTS {
        let path = format!("{GRAVEYARD}/{object}");
        for first in (0..REMOVED).step_by(AT_ONCE as usize) {
            if !ground.goes_on() {
                return;
            }
            let patch = |value: &str| {
                let name = |member| format!("\"{object}-{member:0length$}\":{value}", length = length - 8);
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

fn dig(ground: &Ground, _: usize) {
    let mut deepest = 0;
    // Once: what is there afterwards is as deep as it gets.
    if dig_once(ground, &mut deepest).is_err() {
        ground.count("cut");
    }
    ground.count(&format!("levels: {deepest}"));
    if deepest > LEVELS_MAX {
        ground.fault(&format!("{deepest} levels"));
    }
    while ground.rest(Duration::from_secs(1)) {}
}

/// Puts a value as deep as one may be where the deepest path leads, then patches as deep a value in
/// at each of the places below it.
fn dig_once(ground: &Ground, deepest: &mut usize) -> io::Result<()> {
    let mut plain = Plain::new(ground.address);
    let (json_depth, path_depth) = (ground.terms.json_depth(), ground.terms.path_depth());
    let nested = |levels: u64| {
        let levels = levels as usize;
        format!("{}0{}", "{\"a\":".repeat(levels), "}".repeat(levels))
    };
    // The deepest that is taken: a server may count both together.
    let mut place = String::new();
    for names in (1..path_depth).rev() {
        place = format!("{SHAFT}{}", "/a".repeat(names as usize));
        let status = plain.put(&place, nested(json_depth - 1).as_bytes())?.status;
        if status < 300 {
            ground.count(&format!("put beneath {names} names"));
            break;
        }
    }
    let mut patch = |operation: String| {
        let body = Some(("application/json-patch+json", operation.as_bytes()));
        io::Result::Ok(plain.ask("PATCH", &place, body)?.status)
    };
    for pointer in 1..=path_depth {
        let (pointer, value) = ("/a".repeat(pointer as usize), nested(json_depth - 3));
        let add = format!("[{{\"op\":\"add\",\"path\":\"{pointer}\",\"value\":{value}}}]");
        ground.count(&format!("add: {}", patch(add)?));
    }
    // What is there is copied as far down as is taken, and then once more.
    for _ in 0..COPIES {
        for names in (1..path_depth).rev() {
            let pointer = "/a".repeat(names as usize);
            let copy = format!("[{{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"{pointer}/b\"}}]");
            if patch(copy)? < 300 {
                ground.count(&format!("copied beneath {names} names"));
                break;
            }
        }
    }
    *deepest = depth(&plain.get("/")?.body);
    Ok(())
}

/// Levels of objects in a text without strings that hold braces.
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
