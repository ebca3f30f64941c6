//! The modules of a crate and the uses between them, by the tokens of its sources.
#![allow(dead_code, reason = "each test file uses some of it")]

pub(crate) mod circles;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A module's place: the names from the root of its crate.
pub(crate) type Place = Vec<String>;

/// The modules of one crate that have files of their own, and the uses between them.
#[derive(Default)]
pub(crate) struct Modules {
    files: BTreeMap<Place, PathBuf>,
    /// Paths within the crate as the code has them: the module that has the path, and its target.
    paths: BTreeSet<(Place, Place)>,
    /// Names that a module has from elsewhere in the crate: by `use` or `pub use`.
    names: BTreeMap<Place, Place>,
}

impl Modules {
    /// Reads a crate from the file of its root, without its tests.
    pub(crate) fn read(root: &Path) -> Modules {
        let mut modules = Modules::default();
        let folder = root.parent().expect("a file in a folder").to_owned();
        modules.read_file(root, &folder, Vec::new());
        modules
    }

    /// The uses between modules that have files.
    pub(crate) fn edges(&self) -> BTreeSet<(Place, Place)> {
        let edges = self.paths.iter().map(|(from, to)| (from.clone(), self.home(to)));
        edges.filter(|(from, to)| from != to).collect()
    }

    /// The modules at the root of the crate.
    pub(crate) fn top(&self) -> impl Iterator<Item = &str> {
        self.files.keys().filter(|place| place.len() == 1).map(|place| place[0].as_str())
    }

    /// The module with a file of its own that defines something; names are followed to their
    /// origin.
    fn home(&self, path: &[String]) -> Place {
        let mut path = path.to_vec();
        // A name leads to another a few times at most.
        for _ in 0..8 {
            let is_name = |length: &usize| self.names.contains_key(&path[..*length]);
            let Some(length) = (1..=path.len()).rev().find(is_name) else { break };
            if self.files.contains_key(&path[..length]) {
                break;
            }
            let rest = path.split_off(length);
            path = self.names[&path].clone();
            path.extend(rest);
        }
        while !self.files.contains_key(&path) {
            path.pop();
        }
        path
    }

    fn read_file(&mut self, file: &Path, folder: &Path, place: Place) {
        let text =
            fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let tokens: TokenStream =
            text.parse().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.files.insert(place.clone(), file.to_owned());
        self.read_tokens(tokens, folder, &place, &place);
    }

    /// Reads the tokens of a module: `at` is the module, `home` the one of its file.
    fn read_tokens(&mut self, tokens: TokenStream, folder: &Path, home: &Place, at: &Place) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut is_test = false;
        let mut next = 0;
        while let Some(token) = tokens.get(next) {
            next += 1;
            match token {
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    is_test |=
                        tokens.get(next).is_some_and(|token| token.to_string() == "[cfg (test)]");
                    next += 1;
                }
                TokenTree::Ident(word) if *word == "mod" => {
                    let (Some(TokenTree::Ident(name)), Some(body)) =
                        (tokens.get(next), tokens.get(next + 1))
                    else {
                        continue;
                    };
                    let inner: Place = at.iter().cloned().chain([name.to_string()]).collect();
                    next += 2;
                    let is_left_out = std::mem::take(&mut is_test);
                    match body {
                        _ if is_left_out => {}
                        TokenTree::Group(body) => {
                            self.read_tokens(
                                body.stream(),
                                &folder.join(name.to_string()),
                                home,
                                &inner,
                            );
                        }
                        _ => self.read_module(&name.to_string(), folder, inner),
                    }
                }
                TokenTree::Ident(word) if *word == "use" => {
                    let end = |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == ';');
                    let length = tokens[next..].iter().position(end).unwrap_or(0);
                    if !std::mem::take(&mut is_test) {
                        self.read_use(&tokens[next..next + length], Vec::new(), home, at);
                    }
                    next += length;
                }
                TokenTree::Ident(word)
                    if ["crate", "super", "self"].iter().any(|start| word == start) =>
                {
                    let (path, length) = path(&tokens[next - 1..]);
                    if path.len() > 1
                        && let Some(to) = within(&path, at)
                    {
                        self.paths.insert((home.clone(), to));
                    }
                    next += length - 1;
                }
                TokenTree::Group(group) => {
                    // Attributes apply to an item up to the end of its body.
                    let is_body = group.delimiter() == Delimiter::Brace;
                    let is_left_out = std::mem::take(&mut is_test) && is_body;
                    if !is_left_out {
                        self.read_tokens(group.stream(), folder, home, at);
                    }
                }
                _ => {}
            }
        }
    }

    fn read_module(&mut self, name: &str, folder: &Path, place: Place) {
        let beside = folder.join(name).with_extension("rs");
        let file = if beside.exists() { beside } else { folder.join(name).join("mod.rs") };
        self.read_file(&file, &folder.join(name), place);
    }

    /// Reads one tree of a `use`, after the part that was read.
    fn read_use(&mut self, tokens: &[TokenTree], mut path: Place, home: &Place, at: &Place) {
        let mut next = 0;
        let mut alias = None;
        while let Some(token) = tokens.get(next) {
            next += 1;
            match token {
                TokenTree::Ident(word) if *word == "as" => {
                    alias = tokens.get(next).map(ToString::to_string);
                    next += 1;
                }
                TokenTree::Ident(word) => path.push(word.to_string()),
                TokenTree::Group(group) => {
                    for branch in branches(group) {
                        self.read_use(&branch, path.clone(), home, at);
                    }
                    return;
                }
                _ => {}
            }
        }
        let is_self = path.last().is_some_and(|last| last == "self") && path.len() > 1;
        if is_self {
            path.pop();
        }
        // A path that begins with another name leads out of the crate, or to a module beneath this
        // one.
        let beneath = || at.iter().chain(&path).cloned().collect();
        let to = within(&path, at).unwrap_or_else(beneath);
        if let Some(name) = alias.or_else(|| path.last().cloned()) {
            let known_as: Place = at.iter().cloned().chain([name]).collect();
            if known_as != to {
                self.names.insert(known_as, to.clone());
            }
        }
        self.paths.insert((home.clone(), to));
    }
}

/// The names of the path at the front, and the number of their tokens.
fn path(tokens: &[TokenTree]) -> (Place, usize) {
    let is_colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == ':');
    let mut names = Vec::new();
    let mut next = 0;
    while let Some(TokenTree::Ident(name)) = tokens.get(next) {
        names.push(name.to_string());
        next += 1;
        if !(is_colon(tokens.get(next)) && is_colon(tokens.get(next + 1))) {
            break;
        }
        next += 2;
    }
    (names, next.max(1))
}

/// A path from the root of the crate; none if it leads, or may lead, out of the crate.
fn within(path: &[String], at: &[String]) -> Option<Place> {
    let mut place = match path.first()?.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => at.to_vec(),
        _ => return None,
    };
    for name in path {
        match name.as_str() {
            "crate" | "self" => {}
            "super" => drop(place.pop()),
            _ => place.push(name.clone()),
        }
    }
    Some(place)
}

fn branches(group: &Group) -> Vec<Vec<TokenTree>> {
    let mut branches = vec![Vec::new()];
    for token in group.stream() {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == ',' => branches.push(Vec::new()),
            _ => branches.last_mut().expect("never empty").push(token),
        }
    }
    branches
}
