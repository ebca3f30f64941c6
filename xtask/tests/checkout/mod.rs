//! The files of the checkout, without what was built or installed in it.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::fs;
use std::path::{Path, PathBuf};

const NOT_OURS: &[&str] = &["target", "node_modules", ".git", ".tools"];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ lies in the checkout").to_owned()
}

/// All files under a folder of the checkout that end so: their paths from the root, and their text.
pub(crate) fn files(folder: &str, extensions: &[&str]) -> Vec<(PathBuf, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && !NOT_OURS.contains(&name) {
                folders.push(path);
            } else if path.extension().is_some_and(|end| extensions.iter().any(|wanted| end == *wanted)) {
                let text =
                    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                found.push((path.strip_prefix(&root).expect("under the root").to_owned(), text));
            }
        }
    }
    found.sort();
    found
}
