//! The two worlds of a script, performed side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use halfping::{Commit, Rules, Severity};
use serde_json::{Value, json};

use super::Report;
use super::check::Sight;
use super::rules::{Asked, Claims, Rule, Seen};
use super::script::{Operation, Script, Tag, Way, Writing};
use super::server::{Follower, Mirror, Server};
use crate::model::{self, Act, Names};
use crate::mutants;
use crate::shrink::caught;

/// Silence after which followers are told that they are alive.
const SILENCE: Duration = Duration::from_secs(15);
const LINES: &str = "application/x-ndjson";

/// One world: a server, and the state that it has to have.
struct World {
    server: Server,
    state: Value,
    /// What the reader may see of that.
    seen: Seen,
    /// The paths of all that has ever been there.
    ever: BTreeSet<Names>,
}

/// Both worlds; the second has commits besides.
struct Pair<'a> {
    script: &'a Script,
    rules: Vec<Rule>,
    worlds: [World; 2],
    report: Report,
    is_told: bool,
    /// True if streams may be told more in one world than in the other (PROTOCOL I28c, I28e).
    is_loose: bool,
}

/// What a reader was told in one world.
struct Told {
    text: String,
    /// Of a stream: the cursor that came last. Of an answer there is none.
    last: Option<Option<String>>,
}

/// What comes after an operation.
enum Then {
    GoOn,
    /// The worlds are told apart by what the reader was allowed to do.
    End,
}

/// Performs a script. The error says in what the worlds differ, or what the reader should not hold.
pub(crate) fn attempt(
    script: &Script,
    mutant: &'static str,
    is_told: bool,
) -> Result<Report, String> {
    mutants::plant(mutant);
    let outcome = caught(|| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build();
        runtime.map_err(|error| error.to_string())?.block_on(perform(script, is_told))
    });
    mutants::plant("");
    outcome
}

/// Those of the rules that are good beside the others.
fn sound(mut rules: Vec<Rule>) -> Option<(Vec<Rule>, Rules)> {
    while !rules.is_empty() {
        let text: String = rules.iter().map(ToString::to_string).collect();
        let refused = match Rules::parse(&text) {
            Ok(parsed) => return Some((rules, parsed)),
            Err(refused) => refused,
        };
        let errors = refused.findings.iter().filter(|of| of.severity == Severity::Error);
        let wrong: Vec<usize> = errors.filter_map(|of| of.rule).collect();
        let (before, mut number) = (rules.len(), 0);
        rules.retain(|_| {
            number += 1;
            !wrong.contains(&number)
        });
        assert!(rules.len() < before, "{text}: {refused}");
    }
    None
}

async fn perform(script: &Script, is_told: bool) -> Result<Report, String> {
    let mut report = Report::default();
    let Some((rules, parsed)) = sound(script.rules.clone()) else {
        report.count("without rules");
        return Ok(report);
    };
    if Asked::of(&rules, &script.claims).may_read_all(&[]) {
        report.count("all may be read");
        return Ok(report);
    }
    report.count("pairs of worlds");
    let world = || {
        let server = Server::new(script, parsed.clone())?;
        Ok::<_, String>(World {
            server,
            state: json!({}),
            seen: Seen::new(),
            ever: BTreeSet::new(),
        })
    };
    let worlds = [world()?, world()?];
    let is_crowded = script.operations.iter().any(Operation::is_of_many);
    let forgets = script.tombstones < 1024 && !rules.iter().all(Rule::is_simple);
    let has_no_lens =
        |rule: &Rule| rule.is_without_lens() || rules.iter().any(|other| rule.is_beneath(other));
    let is_loose = is_crowded || forgets || rules.iter().any(has_no_lens);
    if is_loose {
        report.count("pairs that are not compared by streams");
    }
    let mut pair = Pair { script, rules, worlds, report, is_told, is_loose };
    let first = Writing { path: Vec::new(), act: Act::Put(script.first.clone()) };
    pair.commit(&[first]).await?;
    if script.is_followed {
        let shapes = [(Way::Lines, ""), (Way::Session, "")];
        for (number, (way, shape)) in (0..script.paths.len()).zip(shapes.into_iter().cycle()) {
            pair.follow(way, &[number], shape, Tag::None).await?;
        }
    }
    for (number, operation) in script.operations.iter().enumerate() {
        if is_told {
            println!("{number}: {operation:?}");
        }
        let then = pair.step(operation).await;
        match then.map_err(|what| format!("operation {number}: {what}"))? {
            Then::GoOn => {}
            Then::End => {
                pair.report.count("ended by a write");
                break;
            }
        }
    }
    for world in &pair.worlds {
        let state = world.server.api.get::<Value>("/").map_err(|error| error.to_string())?;
        if state.as_ref() != Some(&world.state) {
            return Err(format!("the model is wrong: {} is {state:?}", world.state));
        }
    }
    Ok(pair.report)
}

/// A state after some writes, if they can be made.
fn after(state: &Value, writes: &[Writing]) -> Option<Value> {
    let mut state = state.clone();
    for Writing { path, act } in writes {
        model::write(&mut state, path, act).ok()?;
    }
    Some(state)
}

/// The head of an answer without its `ETag`.
fn without_tag(head: &str) -> String {
    let fields = head.split("; ").filter(|field| !field.contains("etag: "));
    fields.collect::<Vec<_>>().join("; ")
}

fn text(path: &[String]) -> String {
    format!("/{}", path.join("/"))
}

impl World {
    async fn commit(&mut self, writes: &[Writing], state: Value, seen: Seen) -> Result<(), String> {
        let mut commit = Commit::new();
        for Writing { path, act } in writes {
            let path = text(path);
            commit = match act {
                Act::Put(value) => commit.put(&path, value),
                Act::Merge(patch) => commit.merge(&path, patch),
                Act::Patch(operations) => commit.patch(&path, operations),
                Act::Delete => commit.delete(&path),
            };
        }
        let written = self.server.api.commit(commit).await;
        written.map_err(|error| format!("the model is wrong about {writes:?}: {error}"))?;
        self.take(state, seen);
        Ok(())
    }

    fn take(&mut self, state: Value, seen: Seen) {
        (self.state, self.seen) = (state, seen);
        paths(&self.state, &mut Vec::new(), &mut self.ever);
    }

    /// What has gone beneath values that come into sight with this state.
    fn gone_beneath(&self, state: &Value, seen: &Seen) -> BTreeSet<&Names> {
        let comes = |path: &&Names| seen.contains_key(*path) && !self.seen.contains_key(*path);
        let new: Vec<&Names> = seen.keys().filter(comes).collect();
        let now = |path: &Names| model::at(state, path).is_some();
        let all = self.ever.iter().filter(|path| !now(path));
        all.filter(|path| new.iter().any(|new| path.starts_with(new))).collect()
    }
}

/// Adds the paths of all values.
fn paths(value: &Value, path: &mut Names, into: &mut BTreeSet<Names>) {
    into.insert(path.clone());
    for (name, value) in value.as_object().into_iter().flatten() {
        path.push(name.clone());
        paths(value, path, into);
        path.pop();
    }
}

impl<'a> Asked<'a> {
    fn of(rules: &'a [Rule], claims: &'a Claims) -> Asked<'a> {
        Asked { rules, claims }
    }
}

impl Pair<'_> {
    fn seen(&self, state: &Value) -> Seen {
        Asked::of(&self.rules, &self.script.claims).seen(state)
    }

    fn exposed(&self, state: &Value, seen: &Seen) -> Vec<(Vec<String>, Option<Value>)> {
        Asked::of(&self.rules, &self.script.claims).exposed(state, seen)
    }

    async fn step(&mut self, operation: &Operation) -> Result<Then, String> {
        match operation {
            Operation::Commit(writes) => self.commit(writes).await?,
            Operation::Hide(commits) => {
                for writes in commits {
                    self.hide(writes).await?;
                }
            }
            Operation::Get { head, path, shape, tag } => {
                self.get(*head, *path, shape, *tag).await?;
            }
            Operation::Follow { way, paths, shape, since } => {
                self.follow(*way, paths, shape, *since).await?;
            }
            Operation::Wait { path, tag } => {
                for world in &mut self.worlds {
                    let server = &mut world.server;
                    let tag = server.quoted(*tag).unwrap_or_default();
                    let headers = [("if-none-match", &*tag), ("prefer", "wait=40")];
                    let request = server.request("GET", self.script.paths[*path], &headers, None);
                    server.wait(request);
                }
                let last = self.worlds[0].server.followers.len() - 1;
                self.read(last, !self.is_followed(""))?;
            }
            Operation::Read(number) => {
                let count = self.worlds[0].server.followers.len();
                if count > 0 {
                    self.read(number % count, self.is_loose)?;
                }
            }
            Operation::ReadAll => self.read_all()?,
            Operation::Leave(number) => {
                let count = self.worlds[0].server.followers.len();
                // Those that follow all the time come first.
                let stay = if self.script.is_followed { self.script.paths.len() } else { 0 };
                if count > stay {
                    for world in &mut self.worlds {
                        drop(world.server.followers.remove(stay + number % (count - stay)));
                    }
                }
            }
            Operation::Own { writing, tag, is_none } => {
                return self.own(writing, *tag, *is_none).await;
            }
            Operation::Silence => {
                tokio::time::advance(SILENCE).await;
                self.read_all()?;
            }
        }
        Ok(Then::GoOn)
    }

    /// Makes a commit in both worlds, if it can be made and comes to the same for the reader.
    async fn commit(&mut self, writes: &[Writing]) -> Result<(), String> {
        let [one, other] = &self.worlds;
        let (Some(one), Some(other)) = (after(&one.state, writes), after(&other.state, writes))
        else {
            return Ok(());
        };
        let seen = [self.seen(&one), self.seen(&other)];
        if seen[0] != seen[1] || self.exposed(&one, &seen[0]) != self.exposed(&other, &seen[1]) {
            self.report.count("commits left out");
            return Ok(());
        }
        self.report.count("commits");
        let [gone, other_gone] = [(&one, 0), (&other, 1)].map(|(state, world): (&Value, usize)| {
            self.worlds[world].gone_beneath(state, &seen[world])
        });
        if gone != other_gone && !self.is_loose {
            // Streams tell of what went before it came into sight (PROTOCOL I28e).
            self.is_loose = true;
            self.report.count("pairs that are not compared by streams from some time on");
        }
        for ((world, state), seen) in self.worlds.iter_mut().zip([one, other]).zip(seen) {
            world.commit(writes, state, seen).await?;
        }
        Ok(())
    }

    /// Makes a commit in the second world, if the reader may see nothing of it.
    async fn hide(&mut self, writes: &[Writing]) -> Result<(), String> {
        let Some(state) = after(&self.worlds[1].state, writes) else { return Ok(()) };
        if state == self.worlds[1].state {
            return Ok(());
        }
        let (seen, world) = (self.seen(&state), &self.worlds[1]);
        let is_hidden = seen == world.seen;
        if is_hidden && self.exposed(&state, &seen) != self.exposed(&world.state, &seen) {
            self.report.count("hidden commits left out, of what decides");
        } else if is_hidden {
            self.report.count("hidden commits");
            if self.is_told {
                println!("   hidden: {writes:?}");
            }
            self.worlds[1].commit(writes, state, seen).await?;
        }
        Ok(())
    }

    /// True if somebody follows all the time what is asked for in this shape, so that it is known
    /// what has left since any state.
    fn is_followed(&self, shape: &str) -> bool {
        let is_of_all = ["", "delta=false", "depth=1", "depth=2"].contains(&shape);
        self.script.is_followed && !self.is_loose && is_of_all
    }

    async fn get(&mut self, head: bool, path: usize, shape: &str, tag: Tag) -> Result<(), String> {
        let path = self.script.paths[path];
        let target = match shape {
            "" => path.to_owned(),
            shape => format!("{path}?{shape}"),
        };
        let mut answers = Vec::new();
        for world in &mut self.worlds {
            let tag = world.server.quoted(tag);
            let headers: Vec<_> = tag.iter().map(|tag| ("if-none-match", &**tag)).collect();
            let method = if head { "HEAD" } else { "GET" };
            let (told, body, _) = world.server.ask(method, &target, &headers, None, None).await;
            if !head && shape.is_empty() && (told.starts_with("200") || told.starts_with("404")) {
                let value = serde_json::from_str::<Value>(&body).ok();
                let held = value.filter(|_| told.starts_with("200"));
                let asked = Asked::of(&self.rules, &self.script.claims);
                let World { state: root, seen, .. } = world;
                Sight { asked, root, seen }.is_held(path, held.as_ref())?;
            }
            answers.push(Told { text: format!("{told}\n{body}"), last: None });
        }
        self.report.count("answers");
        let may_differ = matches!(tag, Tag::Given(_)) && !self.is_followed(shape);
        self.is_same(&format!("GET {target} {tag:?}"), &mut answers, may_differ).map(drop)
    }

    async fn follow(
        &mut self,
        way: Way,
        paths: &[usize],
        shape: &str,
        since: Tag,
    ) -> Result<(), String> {
        let paths: Vec<&'static str> = paths.iter().map(|path| self.script.paths[*path]).collect();
        let is_whole = ["", "delta=false"].contains(&shape);
        let is_session = matches!(way, Way::Session | Way::Refreshed);
        let first = if is_session { 1 } else { 0 };
        let mirrors: Option<BTreeMap<u64, Mirror>> = (is_whole && way != Way::Sse).then(|| {
            let mirror = |path: &&'static str| Mirror { path, value: None };
            (first..).zip(paths.iter().map(mirror)).collect()
        });
        let mut answers: Vec<(String, String, Option<Follower>)> = Vec::new();
        for world in &mut self.worlds {
            let server = &mut world.server;
            let accept = ("accept", if way == Way::Sse { "text/event-stream" } else { LINES });
            let answer = if is_session {
                let commands = server.commands(&paths, shape, since, way == Way::Refreshed);
                let headers = [accept, ("content-type", "application/json")];
                server.ask("POST", "/_streams", &headers, Some(&commands), mirrors.clone()).await
            } else {
                let parameters = format!("{shape}{}", server.since(since));
                let parameters = parameters.trim_start_matches('&');
                let target = match *paths {
                    [path] => format!("{path}?{parameters}"),
                    _ => {
                        let paths: Vec<_> =
                            paths.iter().map(|path| format!("path={path}")).collect();
                        format!("/_streams?{}&{parameters}", paths.join("&"))
                    }
                };
                let target = target.trim_end_matches(['?', '&']);
                server.ask("GET", target, &[accept], None, mirrors.clone()).await
            };
            answers.push(answer);
        }
        let texts: Vec<String> = answers
            .iter()
            .map(|(head, body, follower)| {
                // Links that end together do so in any order.
                let is_end = |line: &&str| line.starts_with("{\"error\"");
                let (mut ends, others): (Vec<&str>, Vec<&str>) = body.lines().partition(is_end);
                ends.sort_unstable();
                let (ends, others) = (ends.join("\n"), others.join("\n"));
                format!("{head}\n{ends}\n{others}\n{}", follower.is_some())
            })
            .collect();
        self.report.count("streams");
        let what = format!("{way:?} {paths:?} {shape} since {since:?}");
        let is_resumed = matches!(since, Tag::Given(_));
        // A mirror begins with nothing, so one that is resumed has what came since only.
        for ((_, _, follower), world) in answers.iter().zip(&self.worlds) {
            if let Some(follower) = follower.as_ref().filter(|_| !is_resumed) {
                self.holds(world, follower)?;
            }
        }
        let since = self.worlds.iter().map(|world| world.server.cursor(since).map(str::to_owned));
        let mut told: Vec<Told> =
            since.zip(texts).map(|(since, text)| Told { text, last: Some(since) }).collect();
        let may_differ = is_resumed && !self.is_followed(shape);
        let is_same = self.is_same(&what, &mut told, may_differ)?;
        let [one, other] = [0, 1].map(|world: usize| answers[world].2.is_some());
        if one != other || !is_same && !self.is_loose {
            return Ok(());
        }
        let followers = answers.into_iter().map(|(_, _, follower)| follower);
        for ((world, follower), told) in self.worlds.iter_mut().zip(followers).zip(told) {
            world.server.followers.extend(follower.map(|mut follower| {
                follower.mirrors = follower.mirrors.filter(|_| !is_resumed);
                follower.last = told.last;
                follower
            }));
        }
        Ok(())
    }

    fn holds(&self, world: &World, follower: &Follower) -> Result<(), String> {
        let asked = Asked::of(&self.rules, &self.script.claims);
        let World { state: root, seen, .. } = world;
        for mirror in follower.mirrors.iter().flat_map(BTreeMap::values) {
            if follower.is_synced {
                Sight { asked, root, seen }.is_held(mirror.path, mirror.value.as_ref())?;
            }
        }
        Ok(())
    }

    fn read_all(&mut self) -> Result<(), String> {
        let mut number = 0;
        while number < self.worlds[0].server.followers.len() {
            self.read(number, self.is_loose)?;
            number += 1;
        }
        Ok(())
    }

    fn read(&mut self, number: usize, may_differ: bool) -> Result<(), String> {
        let mut told = Vec::new();
        for world in &mut self.worlds {
            let follower = &mut world.server.followers[number];
            let text = follower.read();
            told.push(Told { text, last: follower.last.clone() });
        }
        for world in &self.worlds {
            self.holds(world, &world.server.followers[number])?;
        }
        self.report.count("reads");
        self.is_same(&format!("follower {number}"), &mut told, may_differ)?;
        for (world, told) in self.worlds.iter_mut().zip(told) {
            world.server.followers[number].last = told.last;
        }
        Ok(())
    }

    /// Compares what the reader was told in both worlds. False if it differs, and may. `may_differ`:
    /// it may, as it depends on a state in which nobody followed.
    fn is_same(&mut self, what: &str, told: &mut [Told], may_differ: bool) -> Result<bool, String> {
        let is_stream = told.iter().any(|told| told.last.is_some());
        let mut plain = |learns| {
            let mut worlds = self.worlds.iter_mut().zip(&mut *told);
            let [one, other] = [worlds.next(), worlds.next()].map(|world| {
                world.map_or(String::new(), |(world, told)| {
                    let last = told.last.clone();
                    let text = world.server.plain(&told.text, &mut told.last, learns);
                    if !learns {
                        told.last = last;
                    }
                    text
                })
            });
            (one, other)
        };
        let (one, other) = plain(false);
        if one != other && (may_differ || is_stream && self.is_loose) {
            self.report.count("told otherwise, as may be");
            return Ok(false);
        }
        if is_stream && self.is_loose {
            return Ok(true);
        }
        let (one, other) = plain(true);
        if self.is_told {
            println!("   {}", one.replace('\n', "\n   "));
        }
        match one == other {
            true => Ok(true),
            false => Err(format!("worlds differ: {what} is told\n   {one}\nand\n   {other}")),
        }
    }

    /// A write of the reader's own.
    async fn own(&mut self, writing: &Writing, tag: Tag, is_none: bool) -> Result<Then, String> {
        let path = text(&writing.path);
        let (method, body, kind) = match &writing.act {
            Act::Put(value) => ("PUT", Some(value), "application/json"),
            Act::Merge(patch) => ("PATCH", Some(patch), "application/merge-patch+json"),
            Act::Patch(list) => ("PATCH", Some(list), "application/json-patch+json"),
            Act::Delete => ("DELETE", None, ""),
        };
        let (mut texts, mut are_done) = (Vec::new(), Vec::new());
        let was_there: Vec<bool> = self
            .worlds
            .iter()
            .map(|world| model::at(&world.state, &writing.path).is_some())
            .collect();
        for world in &mut self.worlds {
            let condition = if is_none { "if-none-match" } else { "if-match" };
            let tag = world.server.quoted(tag);
            let mut headers: Vec<_> = tag.iter().map(|tag| (condition, &**tag)).collect();
            headers.extend(body.map(|_| ("content-type", kind)));
            let (head, text, _) = world.server.ask(method, &path, &headers, body, None).await;
            let is_done = head.starts_with('2');
            if is_done {
                let Some(state) = after(&world.state, std::slice::from_ref(writing)) else {
                    return Err(format!("the model is wrong: {method} {path} is answered {head}"));
                };
                let asked = Asked::of(&self.rules, &self.script.claims);
                if let Some(wrong) = asked.not_allowed(&writing.path, &world.state, &state) {
                    return Err(format!("{method} {path} {body:?} is answered {head}: {wrong}"));
                }
                let seen = asked.seen(&state);
                world.take(state, seen);
            }
            let asked = Asked::of(&self.rules, &self.script.claims);
            let may_know = asked.may_read_all(&writing.path);
            let head = if may_know { head } else { without_tag(&head) };
            texts.push(Told { text: format!("{head}\n{text}"), last: None });
            are_done.push(is_done);
        }
        self.report.count(if are_done[0] { "writes done" } else { "writes refused" });
        // Who may write somewhere may learn by that whether something is there.
        if are_done[0] && texts[1].text.starts_with("412") {
            self.report.count("refused by a state, for what is hidden");
        }
        if are_done[0] != are_done[1] || are_done[0] && was_there[0] != was_there[1] {
            return Ok(Then::End);
        }
        let asked = Asked::of(&self.rules, &self.script.claims);
        let tells_names = was_there[0] != was_there[1] && !asked.judges_values(&writing.path);
        // A cursor of a state is compared with the whole resource (PROTOCOL I28f).
        let is_by_state = matches!(tag, Tag::Given(_)) && !asked.may_read_all(&writing.path);
        let tells_state = is_by_state && texts.iter().any(|told| told.text.starts_with("412"));
        let may_differ = (tells_names || tells_state) && !are_done[0];
        self.is_same(&format!("{method} {path} {body:?} {tag:?}"), &mut texts, may_differ)?;
        match self.worlds[0].seen == self.worlds[1].seen {
            true => Ok(Then::GoOn),
            false => Ok(Then::End),
        }
    }
}
