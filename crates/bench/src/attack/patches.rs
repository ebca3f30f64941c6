//! JSON Patches that are short, and cause much work.

use super::ground::Ground;
use super::material::{self, VALUE, expect};
use super::scenario::Scenario;
use crate::plain::Plain;

/// Bytes of the tree that is compared and copied.
const TREE_BYTES: u64 = 125_000_000;
/// Bytes of the array that is appended many times.
const ARRAY_BYTES: usize = 1 << 20;
/// Appends in one patch.
const APPENDS: usize = 30;

const PATCH_TYPE: &str = "application/json-patch+json";

/// Common parts of most of these: a large tree, and a patch that works on copies.
const OF_TREE: Scenario = Scenario {
    prepare: |plain, _| material::records(plain, VALUE, TREE_BYTES),
    bound: |terms| (4 * terms.patch_work_bytes(), "4 x patch_work_bytes"),
    ..Scenario::PLAIN
};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "patch-test",
        summary: "patches of 45 bytes at `/` that compare 125 MB with a number",
        crew: &[(1, test)],
        bound: |_| (0, "0: what is compared is not built"),
        ..OF_TREE
    },
    Scenario {
        name: "patch-copy",
        summary: "patches at `/` that copy 125 MB, more than a patch may",
        crew: &[(1, copy)],
        bound: |_| (0, "0: the length is known before"),
        ..OF_TREE
    },
    Scenario {
        name: "patch-move",
        summary: "patches at `/` that move 125 MB to and fro",
        crew: &[(1, rename)],
        ..OF_TREE
    },
    Scenario {
        name: "patch-appends",
        summary: "patches that append 30 times to an array of 1 MB",
        prepare: |plain, _| {
            let array = format!("[{}0]", "0,".repeat(ARRAY_BYTES / 2));
            expect(&plain.put(VALUE, array.as_bytes())?)
        },
        crew: &[(1, append)],
        ..OF_TREE
    },
];

fn test(ground: &Ground, _: usize) {
    patch(ground, "/", &[r#"[{"op":"test","path":"/attack","value":1}]"#.to_owned()]);
}

fn copy(ground: &Ground, _: usize) {
    patch(ground, "/", &[r#"[{"op":"copy","from":"/attack/value","path":"/copied"}]"#.to_owned()]);
}

fn rename(ground: &Ground, _: usize) {
    let step = |from: &str, to: &str| format!(r#"[{{"op":"move","from":"{from}","path":"{to}"}}]"#);
    patch(ground, "/", &[step("/attack/value", "/moved"), step("/moved", "/attack/value")]);
}

fn append(ground: &Ground, _: usize) {
    let operations = vec![r#"{"op":"add","path":"/-","value":1}"#; APPENDS];
    patch(ground, VALUE, &[format!("[{}]", operations.join(","))]);
}

/// Sends each of some patches in turn, again and again.
fn patch(ground: &Ground, path: &str, patches: &[String]) {
    ground.again(0, patches, |ground, patch| {
        let body = Some((PATCH_TYPE, patch.as_bytes()));
        let status = Plain::new(ground.address).ask("PATCH", path, body)?.status;
        Ok(format!("answered {status}"))
    });
}
