//! What a reader may not see makes no difference to what it is told: two servers, of which the
//! second has commits besides, are asked the same over sockets (PROTOCOL I21 to I28).
//!
//! The simulator does this with thousands of generated rules, without sockets (`cargo xtask sim
//! --apart N`). Here the rules are few, and there are WebSockets, restarts and other rules after
//! them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::common::identity::{auth, bearer, put, token_for};
use crate::common::raw::Random;
use crate::common::session::Session;
use crate::common::{Running, runtime, serve_api};
use halfping::{Api, Hosts, Options};
use serde_json::{Value, json};

/// Own orders without their margin, own teams, and what is public.
const RULES: &str = r#"
    [[rule]]
    allow = ["read"]
    path = "/orders/{order}"
    when = "resource.owner == claims.sub"

    [[rule]]
    allow = ["create", "update", "delete"]
    path = "/orders/{order}"
    when = "(resource == null || resource.owner == claims.sub) && (new == null || new.owner == claims.sub)"

    [[rule]]
    deny = ["read", "write"]
    path = "/orders/{order}/margin"

    [[rule]]
    allow = ["read"]
    path = "/teams/{team}"
    when = "team in claims.teams"

    [[rule]]
    allow = ["read", "write"]
    path = "/public"
"#;

/// Other rights: own orders of a positive total, and no teams.
const OTHER_RULES: &str = r#"
    [[rule]]
    allow = ["read"]
    path = "/orders/{order}"
    when = "resource.owner == claims.sub && resource.total > 0"

    [[rule]]
    deny = ["read"]
    path = "/orders/{order}/margin"

    [[rule]]
    allow = ["read", "write"]
    path = "/public"
"#;

const PATHS: [&str; 5] = ["/orders", "/orders/1", "/public", "/teams", "/"];
/// A text by which a change is shorter than the whole.
const NOTE: &str = "a text by which a change is shorter than all of it, whatever it is about";

/// One server, and the session of the reader on it.
struct Side {
    server: Running,
    session: Session,
    /// Another session of the reader's, which watches all the time. So it is known what has left
    /// since any state (PROTOCOL I28c).
    keeper: Session,
    /// Cursors of states that the reader was told of, in order.
    given: Vec<String>,
    /// The last of them in its session. That of a first state may depend on what is hidden
    /// (PROTOCOL I28c), so it is only compared with the one before.
    last: Option<String>,
    /// Cursors of answers, in order of their first appearance.
    tags: Vec<String>,
    folder: Option<PathBuf>,
}

/// The first cursor in a text that only the server can read: where it begins and ends.
fn sealed(text: &str) -> Option<(usize, usize)> {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.match_indices('.').find_map(|(dot, _)| {
        let epoch = text.get(dot.checked_sub(12)?..dot)?;
        let rest = &text[dot + 1..];
        let length = rest.find(|c| !is_inside(c)).unwrap_or(rest.len());
        let is_sealed = epoch.chars().all(|c| c.is_ascii_hexdigit()) && length == 22;
        is_sealed.then_some((dot - 12, dot + 1 + length))
    })
}

impl Side {
    fn new(folder: Option<PathBuf>) -> Side {
        let server = open(folder.as_ref(), RULES);
        let order = |owner: &str| json!({ "owner": owner, "total": 1, "margin": 1, "note": NOTE });
        let orders = json!({ "1": order("u1"), "2": order("u2"), "3": order("u1") });
        put(&server, "/orders", &orders);
        put(&server, "/teams", &json!({ "red": { "n": 1 }, "blue": { "n": 1 }, "note": NOTE }));
        put(&server, "/public", &json!({ "a": 1, "note": NOTE }));
        Side::of(server, folder)
    }

    fn of(server: Running, folder: Option<PathBuf>) -> Side {
        let (session, mut keeper) = (server.session("/"), server.session("/"));
        keeper.ask(json!({ "auth": reader() }));
        keeper.ask(watch(None));
        keeper.state();
        let (given, tags, last) = (Vec::new(), Vec::new(), None);
        Side { server, session, keeper, given, tags, last, folder }
    }

    /// The text of an answer or message as it is the same for equal readers.
    fn plain(&mut self, text: &str) -> String {
        let (mut out, mut rest) = (String::new(), text);
        while let Some((start, end)) = sealed(rest) {
            let found = &rest[start..end];
            let number = self.tags.iter().position(|tag| tag == found);
            let number = number.unwrap_or_else(|| {
                self.tags.push(found.to_owned());
                self.tags.len() - 1
            });
            out.push_str(&format!("{}<{number}>", &rest[..start]));
            rest = &rest[end..];
        }
        out + rest
    }

    /// The text of a message of state, with whether its cursor is the one before.
    fn state(&mut self, mut message: Value) -> String {
        message["t"] = json!(0);
        let rev = message["rev"].as_str().unwrap().to_owned();
        assert_eq!(sealed(&rev), Some((0, rev.len())), "{message}");
        let is_same = self.last.as_ref() == Some(&rev);
        message["rev"] = json!(if is_same { "the same" } else { "another" });
        if !is_same {
            self.given.push(rev.clone());
            self.last = Some(rev);
        }
        message.to_string()
    }

    fn command(&mut self, command: &Value) -> String {
        let answer = self.session.ask(command.clone());
        self.plain(&answer.to_string())
    }

    /// The messages of state up to one that is synced.
    fn told(&mut self) -> String {
        let mut text = String::new();
        loop {
            let state = self.session.state();
            let is_synced = state["synced"] == true;
            text.push_str(&self.state(state));
            if is_synced {
                return text;
            }
        }
    }

    /// Watches all paths in a new session, from a state that the reader was told of.
    fn connect(&mut self, since: Option<usize>) -> String {
        self.session = self.server.session("/");
        self.session.ask(json!({ "auth": reader() }));
        let since = since.filter(|_| !self.given.is_empty());
        self.last = since.map(|since| self.given[since % self.given.len()].clone());
        let answer = self.command(&watch(self.last.as_deref()));
        format!("{answer}\n{}", self.told())
    }

    fn get(&mut self, path: &str, tag: Option<usize>) -> String {
        let tag = tag.filter(|_| !self.given.is_empty());
        let tag = tag.map(|tag| self.given[tag % self.given.len()].clone());
        let tag = tag.map_or("X-None: 1".to_owned(), |tag| format!("If-None-Match: \"{tag}\""));
        let answer =
            self.server.talk().ask(&format!("GET {path}\n{tag}\n{}\n\n", bearer(&reader())));
        let etag = answer.header("etag").unwrap_or_default().to_owned();
        let text = format!("{} {etag} {}", answer.status, String::from_utf8_lossy(&answer.body));
        self.plain(&text)
    }

    /// Stops the server, and goes on with what is on disk and these rules.
    fn restart(self, rules: &str) -> Side {
        let Side { server, session, keeper, folder, .. } = self;
        drop((session, keeper));
        let api = server.api.clone();
        server.stop();
        runtime().block_on(api.close());
        drop(api);
        Side::of(open(folder.as_ref(), rules), folder)
    }
}

/// A command that watches all paths, from a state.
fn watch(since: Option<&str>) -> Value {
    let links: Vec<Value> = (1..).zip(PATHS).map(|(id, path)| json!([id, path])).collect();
    match since {
        Some(since) => json!({ "watch": links, "since": since }),
        None => json!({ "watch": links }),
    }
}

fn open(folder: Option<&PathBuf>, rules: &str) -> Running {
    let options = Options { auth: auth("", rules), hosts: Hosts::Any, ..Options::default() };
    let Some(folder) = folder else { return serve_api(Api::new(options)) };
    let opened = runtime().block_on(async { Api::open(folder, options, |_| {}) });
    serve_api(opened.unwrap().0)
}

/// A token of the reader. All are of one moment, so that all answers are equal.
fn reader() -> String {
    token_for("u1", 36_000, json!({ "teams": ["red"] }))
}

/// A commit that changes something that the reader may see, given the owners of orders.
fn visible(
    random: &mut Random,
    n: u64,
    owners: &mut BTreeMap<&'static str, &'static str>,
) -> (String, Value) {
    let id = ["1", "2", "3", "4"][random.below(4) as usize];
    let order = |owner: &str| json!({ "owner": owner, "total": n, "margin": n, "note": NOTE });
    match (owners.get(id).copied(), random.below(6)) {
        (_, 0) => ("/public/a".to_owned(), json!(n)),
        (_, 1) => ("/teams/red/n".to_owned(), json!(n)),
        (Some("u1"), 2 | 3) => (format!("/orders/{id}/total"), json!(n)),
        (Some("u1"), 4) => {
            owners.insert(id, "u2");
            (format!("/orders/{id}/owner"), json!("u2"))
        }
        (Some("u1"), _) => {
            owners.remove(id);
            (format!("/orders/{id}"), Value::Null)
        }
        (Some(_), _) => {
            owners.insert(id, "u1");
            (format!("/orders/{id}/owner"), json!("u1"))
        }
        (None, _) => {
            owners.insert(id, "u1");
            (format!("/orders/{id}"), order("u1"))
        }
    }
}

/// A commit of which the reader may see nothing.
fn hidden(
    random: &mut Random,
    n: u64,
    owners: &BTreeMap<&'static str, &'static str>,
) -> (String, Value) {
    let id = random.below(6);
    match random.below(7) {
        0 => ("/secret".to_owned(), json!(n)),
        1 => ("/teams/blue/n".to_owned(), json!(n)),
        2 => (format!("/orders/h{id}"), Value::Null),
        3 => match owners.keys().next() {
            Some(id) => (format!("/orders/{id}/margin"), json!(n)),
            None => ("/secret".to_owned(), json!({ "n": n })),
        },
        _ => (format!("/orders/h{id}"), json!({ "owner": "u2", "total": n, "margin": n })),
    }
}

/// Writes what the program that has the API writes; `null` removes.
fn write(server: &Running, (path, value): &(String, Value)) {
    match value {
        Value::Null => {
            // What is not there cannot be removed, and need not be.
            let _ = runtime().block_on(async { server.api.delete(path).await });
        }
        value => put(server, path, value),
    }
}

/// Asks two servers the same, and compares what they say.
fn compare(seed: u64, folders: Option<[PathBuf; 2]>) {
    let (mut random, mut others) = (Random(seed), Random(seed + 1));
    let is_stored = folders.is_some();
    let folders = folders.map_or([None, None], |folders| folders.map(Some));
    let mut sides = folders.map(Side::new);
    let mut owners = BTreeMap::from([("1", "u1"), ("2", "u2"), ("3", "u1")]);
    let both = |sides: &mut [Side; 2], what: &str, of: &mut dyn FnMut(&mut Side) -> String| {
        let [one, other] = sides.each_mut().map(of);
        assert_eq!(one, other, "seed {seed}: {what}");
        one
    };
    both(&mut sides, "the first state", &mut |side| side.connect(None));
    let mut has_other_rules = false;
    for n in 2..32 {
        for _ in 0..others.below(4) {
            write(&sides[1].server, &hidden(&mut others, n, &owners));
        }
        match random.below(10) {
            0..=3 => {
                let commit = visible(&mut random, n, &mut owners);
                sides.iter().for_each(|side| write(&side.server, &commit));
                let is_told = !has_other_rules || commit.0.starts_with("/public");
                if is_told {
                    both(&mut sides, &format!("{commit:?}"), &mut Side::told);
                } else {
                    both(&mut sides, &format!("{commit:?}"), &mut |side| side.connect(None));
                }
            }
            4 | 5 => {
                let path = PATHS[random.below(5) as usize];
                let tag = (random.below(2) == 0).then(|| random.below(64) as usize);
                both(&mut sides, &format!("GET {path} {tag:?}"), &mut |side| side.get(path, tag));
            }
            6 => {
                let id = ["1", "2", "3", "h1", "h2", "h3"][random.below(6) as usize];
                let path = format!("/orders/{id}");
                for command in [
                    json!({ "get": path }),
                    json!({ "put": path, "value": { "owner": "u2" } }),
                    json!({ "merge": path, "value": { "margin": n } }),
                    json!({ "put": path, "value": { "owner": "u2" }, "if": "*" }),
                    json!({ "patch": path, "value": [{ "op": "remove", "path": "/margin" }] }),
                ] {
                    let answer =
                        both(&mut sides, &command.to_string(), &mut |side| side.command(&command));
                    assert!(command.get("get").is_some() || !answer.contains("\"status\":20"));
                }
            }
            7 => {
                let command = json!({ "put": "/public/b", "value": n });
                both(&mut sides, "its own write", &mut |side| {
                    let answer = side.command(&command);
                    format!("{answer}\n{}", side.told())
                });
            }
            8 if is_stored => {
                let rules = if random.below(3) == 0 { OTHER_RULES } else { RULES };
                has_other_rules = rules == OTHER_RULES;
                sides = sides.map(|side| side.restart(rules));
                // Of what left before, the server now knows only what it is told in the tree: the
                // reader may be told a whole state by one and not by the other (PROTOCOL I28c). So
                // it begins anew.
                both(&mut sides, "after a restart", &mut |side| side.connect(None));
            }
            _ => {
                let since = random.below(64) as usize;
                both(&mut sides, "after a reconnect", &mut |side| side.connect(Some(since)));
            }
        }
    }
}

/// Pairs of servers: some hundreds in CI; `HALFPING_PAIRS` for more.
fn pairs(usual: u64) -> u64 {
    std::env::var("HALFPING_PAIRS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
fn a_session_is_told_the_same_whatever_is_hidden_from_it() {
    // PROTOCOL I22, I27, I28a, I28b
    (0..pairs(200)).for_each(|seed| compare(seed, None));
}

#[test]
fn so_it_is_through_restarts_and_with_other_rules_after_them() {
    // PROTOCOL I27, W9
    for seed in 0..pairs(200) / 20 {
        let folder = |side: u8| {
            let name = format!("halfping-apart-{}-{seed}-{side}", std::process::id());
            std::env::temp_dir().join(name)
        };
        let folders = [folder(0), folder(1)];
        compare(seed, Some(folders.clone()));
        folders.iter().for_each(|folder| std::fs::remove_dir_all(folder).unwrap());
    }
}

#[test]
fn the_comparison_leaves_a_cursor_that_can_be_read_as_it_is() {
    let mut side = Side::new(None);
    let sealed = side.get("/orders", None);
    assert!(sealed.contains("<0>") && !sealed.contains("<1>"), "{sealed}");
    assert_eq!(side.plain("\"0123456789ab.17\""), "\"0123456789ab.17\"");
}
