//! Test that no files depend on each other in a circle.
//!
//! The rule: modules of the same parent depend on each other one way, each taken with all modules
//! beneath it. A module and those beneath it may depend on each other, as they are one thing in
//! several files. The paths in the code count (`use`, and `crate::...` in place), followed through
//! names that are passed on by `pub use`; tests within the code do not count. For TypeScript: no
//! file imports, directly or not, a file that imports it.

mod checkout;
mod modules;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use modules::circles::{Graph, circles};
use modules::{Modules, Place};
use serde_json::Value;

#[test]
fn no_crate_has_a_circle_of_modules() {
    let roots = roots();
    assert!(roots.len() > 8, "the roots of our crates: {roots:?}");
    let found: Vec<String> = roots.iter().flat_map(|root| circles_of(root)).collect();
    assert!(found.is_empty(), "circles of modules:\n{}", found.join("\n"));
}

#[test]
fn no_typescript_file_imports_what_imports_it() {
    for folder in ["clients/typescript/src", "web"] {
        let graph = imports(&checkout::root().join(folder));
        assert!(!graph.is_empty(), "{folder} has imports");
        let found = circles(&graph);
        assert!(found.is_empty(), "circles of files in {folder}:\n{}", found.join("\n"));
    }
}

#[test]
fn a_planted_circle_is_found_and_a_module_may_know_those_beneath_it() {
    let crate_of = |files: &[(&str, &str)]| {
        let folder = tempfile(files);
        circles_of(&folder.join("lib.rs"))
    };
    let fine = [
        ("lib.rs", "mod a; mod b; pub use b::B;"),
        ("a.rs", "mod c; pub(crate) struct A; use c::C;"),
        ("a/c.rs", "use super::A; use crate::b::B; pub(crate) struct C;"),
        ("b.rs", "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }"),
    ];
    assert_eq!(crate_of(&fine), [] as [String; 0]);

    let mut with_use = fine;
    with_use[3].1 = "pub struct B; use crate::a::A;";
    assert_eq!(crate_of(&with_use).len(), 1, "by `use`");

    let mut in_place = fine;
    in_place[3].1 = "pub struct B; fn f() -> [u8; 2] { [0, vec![crate::a::f()][0]] }";
    assert_eq!(crate_of(&in_place).len(), 1, "in place, in a macro");

    let mut by_its_name_in_the_root = fine;
    by_its_name_in_the_root[0].1 = "mod a; mod b; pub use a::A;";
    by_its_name_in_the_root[3].1 = "pub struct B; use crate::A;";
    assert_eq!(crate_of(&by_its_name_in_the_root).len(), 1, "by a name that is passed on");
}

/// The root files of our crates' libraries and programs.
fn roots() -> Vec<PathBuf> {
    let packages = checkout::packages();
    let targets = packages.iter().flat_map(|package| checkout::list(&package["targets"]));
    let is_code = |target: &Value| ["lib", "bin"].iter().any(|kind| target["kind"][0] == *kind);
    let path = |target: Value| PathBuf::from(target["src_path"].as_str().expect("a path"));
    targets.filter(is_code).map(path).collect()
}

/// The circles of a crate, each with the modules around it.
fn circles_of(root: &Path) -> Vec<String> {
    let edges = Modules::read(root).edges();
    let mut parents: BTreeSet<Place> = BTreeSet::new();
    for (from, to) in &edges {
        parents.insert(common(from, to).to_vec());
    }
    let circles_in = |parent: Place| {
        let mut graph = Graph::new();
        for (from, to) in edges.iter().filter(|(from, to)| common(from, to) == parent) {
            let depth = parent.len();
            if let (Some(a), Some(b)) = (from.get(depth), to.get(depth)) {
                let why = graph.entry((a.clone(), b.clone())).or_default();
                why.push_str(&format!(" {} uses {};", from.join("::"), to.join("::")));
            }
        }
        let at = format!("{}: {}", root.display(), parent.join("::"));
        circles(&graph).into_iter().map(move |circle| format!("{at} {circle}"))
    };
    parents.into_iter().flat_map(circles_in).collect()
}

/// The innermost module that contains both.
fn common<'p>(one: &'p [String], other: &[String]) -> &'p [String] {
    let length = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    &one[..length]
}

/// The imports between the files of a folder of TypeScript.
fn imports(folder: &Path) -> Graph {
    let within = folder.strip_prefix(checkout::root()).expect("in the checkout").to_owned();
    let files = checkout::files(&within.to_string_lossy(), &["ts", "tsx"]);
    let names: BTreeSet<PathBuf> = files.iter().map(|(path, _)| path.clone()).collect();
    let mut graph = Graph::new();
    for (path, text) in &files {
        // `import`, `export ... from` and `import(...)` all end in a quoted text that begins with a
        // dot.
        let quoted = text.split(['\'', '"']).skip(1).filter(|text| {
            (text.starts_with("./") || text.starts_with("../"))
                && !text.contains(char::is_whitespace)
        });
        for target in quoted {
            let Some(target) = file(path, target, &names) else { continue };
            let name =
                |path: &Path| path.strip_prefix(&within).expect("in it").display().to_string();
            graph.insert((name(path), name(&target)), "imports it".to_owned());
        }
    }
    graph
}

/// The file that a module's name stands for.
fn file(importer: &Path, target: &str, names: &BTreeSet<PathBuf>) -> Option<PathBuf> {
    let mut path = importer.parent()?.to_owned();
    for part in target.split('/') {
        match part {
            "." => {}
            ".." => drop(path.pop()),
            part => path.push(part),
        }
    }
    let text = path.to_string_lossy();
    let stem = text.strip_suffix(".js").unwrap_or(&text);
    let ways = ["", ".ts", ".tsx", "/index.ts", "/index.tsx"];
    ways.iter().map(|end| PathBuf::from(format!("{stem}{end}"))).find(|way| names.contains(way))
}

/// A folder with these files, new for each call.
fn tempfile(files: &[(&str, &str)]) -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("circles-{number}"));
    for (name, text) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("in a folder")).expect("a folder can be made");
        fs::write(path, text).expect("a file can be written");
    }
    folder
}
