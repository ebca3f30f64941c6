//! Commits: worked out by the model as well, and compared.

use std::rc::Rc;

use halfping_engine::{
    Action, Condition, Cursor, Json, Patch, Path, Refusal, Revision, SessionId, States, Submitted,
    Update, Write, Written,
};
use serde_json::Value;

use super::{InLine, Outcome, Server, World, apply, class, ensure, path_of};
use crate::model::{self, Act, Diff, No, OWN, Seen, is_own};
use crate::script::{If, Writing, show};

impl World {
    pub(super) fn commit(&mut self, writes: &[Writing]) -> Outcome {
        let limits = &self.settings.limits;
        let is_limited = limits.members_per_object < 1_000_000 || limits.tree_bytes < 1 << 30;
        let patterns = self.patterns();
        let root = &self.tree.root;
        let is_ephemeral = !patterns.is_empty()
            && writes.iter().all(|w| model::is_ephemeral(&patterns, &w.path, root));
        // After a crash, the model would not know which of those in line were refused.
        if is_limited && !is_ephemeral && !self.pending.is_empty() {
            return Ok(());
        }
        let conditions: Vec<Condition> = writes.iter().map(|w| self.condition(w)).collect();
        let asked = writes.iter().zip(&conditions).map(|(w, condition)| {
            let (path, condition) = (path_of(&w.path), condition.clone());
            Ok(Write { path, action: self.action(&w.act)?, condition })
        });
        let Ok(asked) = asked.collect::<Result<Vec<Write>, No>>() else { return Ok(()) };
        let commit = InLine { writes: writes.to_vec(), conditions };
        let at = self.read_clock();
        let engine = &mut self.server().engine;
        match engine.submit(&asked, at) {
            Submitted::Busy => {
                self.report.count("busy");
                self.say(|| "   busy".to_owned());
                ensure(is_ephemeral && !self.pending.is_empty(), || {
                    "busy without a reason".to_owned()
                })
            }
            Submitted::Waits => {
                self.say(|| "   waits".to_owned());
                ensure(!is_ephemeral, || "an ephemeral commit waits".to_owned())?;
                self.pending.push(commit);
                Ok(())
            }
            Submitted::Follows => {
                self.report.count("follows");
                self.say(|| "   follows".to_owned());
                let is_behind = self.pending.iter().any(|other| other.meets(&commit, &self.tree));
                ensure(is_ephemeral && is_behind, || "it follows nothing".to_owned())?;
                self.pending.push(commit);
                Ok(())
            }
            Submitted::Done(result) => {
                let expected = commit.outcome(&self.tree, self.epoch);
                if let (Ok((_, diff)), Ok(_), false) = (&expected, &result, is_ephemeral) {
                    let mut after = (*self.tree.root).clone();
                    apply(diff, &mut after);
                    let durable = |value: &Value| model::durable(value, &patterns);
                    ensure(durable(&self.tree.root) == durable(&after), || {
                        "a durable commit is done before it was written".to_owned()
                    })?;
                    ensure(self.pending.is_empty(), || {
                        "a commit is done before those before it".to_owned()
                    })?;
                }
                if !self.pending.is_empty() {
                    self.report.count("in between");
                }
                self.settled(&commit, result)?;
                self.wake();
                Ok(())
            }
        }
    }

    /// Commits a change of the server's own state, which changes nothing else.
    pub(super) fn commit_own(&mut self, next: &Value) -> Outcome {
        let limits = &self.settings.limits;
        let json = |value: &Value| {
            Json::parse(value.to_string().as_bytes(), limits).map_err(|error| error.to_string())
        };
        let Some(change) = json(next)?.over(&json(&self.own)?) else { return Ok(()) };
        let (at, last) = (self.read_clock(), self.tree.revision);
        let (before, after) =
            (self.own_cursor(self.own_revision), self.own_cursor(self.own_revision + 1));
        let of_tree = self.cursor(last.max(after.revision.0));
        let Server { engine, own, .. } = self.server();
        let Some(root) = *own else { return Err("its own state is not kept".to_owned()) };
        // Any commit continues the work that others have left, which wakes others.
        let had_work = engine.has_work();
        engine.commit_to(root, &change, at);
        let (revision, woken) = (engine.revision().0, engine.take_woken());
        let given = engine.metadata(&Path::ROOT.child(OWN)).cursor();
        let still_named = engine.is_among(&[before, of_tree], given);
        ensure(revision == last, || {
            format!("it moves the tree from revision {last} to {revision}")
        })?;
        ensure(given == after, || format!("its cursor is {given}, not {after}"))?;
        ensure(!still_named, || format!("{before} or {of_tree} names its state at {given}"))?;
        self.report.count("own");
        (self.own_revision, self.own) = (after.revision.0, Rc::new(next.clone()));
        for client in &mut self.clients {
            let watches = client.links.values().any(|link| is_own(&link.path));
            let Some(connection) = &mut client.connection else { continue };
            let is_woken = woken.contains(&connection.session);
            ensure(watches || !is_woken || had_work, || {
                "who does not watch it is woken by it".to_owned()
            })?;
            connection.is_awake |= is_woken;
        }
        Ok(())
    }

    pub(super) fn seen(&self) -> Seen {
        Seen { root: self.tree.root.clone(), own: self.own.clone() }
    }

    pub(super) fn condition(&self, writing: &Writing) -> Condition {
        let now = self.tree.changed.get(&model::key(&writing.path)).copied().unwrap_or(1);
        let these = |cursor| Some(States::These(vec![cursor]));
        let (is, is_not) = match writing.condition {
            If::Nothing => (None, None),
            If::Exists => (Some(States::Any), None),
            If::Absent => (None, Some(States::Any)),
            If::Current => (these(self.cursor(now)), None),
            If::NotCurrent => (None, these(self.cursor(now))),
            If::Newest => (these(self.cursor(self.newest.max(1))), None),
            If::Former(nth) => {
                let own: Vec<Cursor> = self
                    .etags
                    .iter()
                    .filter(|(path, _)| *path == writing.path)
                    .map(|(_, c)| *c)
                    .collect();
                let any = self.etags.get(nth % self.etags.len().max(1)).map(|(_, cursor)| *cursor);
                let cursor = own.get(nth % own.len().max(1)).copied().or(any);
                (these(cursor.unwrap_or(self.cursor(now))), None)
            }
        };
        Condition { is, is_not, ..Condition::default() }
    }

    pub(super) fn action(&self, act: &Act) -> Result<Action, No> {
        let limits = &self.settings.limits;
        let json = |value: &Value| {
            Json::parse(value.to_string().as_bytes(), limits).map_err(|_| No::Limit)
        };
        Ok(match act {
            Act::Put(value) => Action::Put(json(value)?),
            Act::Merge(value) => Action::Merge(json(value)?),
            Act::Patch(value) => Action::Patch(
                Patch::parse(value.to_string().as_bytes(), limits).map_err(|_| No::Limit)?,
            ),
            Act::Delete => Action::Delete,
        })
    }

    /// Checks the answer of a commit: it is the outcome at the commit's revision, whatever was done
    /// since it got in line.
    pub(super) fn settled(
        &mut self,
        commit: &InLine,
        result: Result<Vec<Written>, Refusal>,
    ) -> Outcome {
        let expected = commit.outcome(&self.tree, self.epoch);
        self.say(|| format!("   {result:?}"));
        self.report.count(if result.is_ok() { "commits" } else { "refused" });
        let written = match (expected, result) {
            (Err(no), Err(refusal)) if no == class(&refusal) => return Ok(()),
            (_, Err(Refusal::Limit { .. })) => return Ok(()),
            (Ok(_), Err(refusal)) => return Err(format!("refused without a reason: {refusal}")),
            (Err(no), other) => return Err(format!("expected {no:?}, got {other:?}")),
            (Ok((created, diff)), Ok(written)) => {
                let told: Vec<bool> = written.iter().map(|w| w.created).collect();
                ensure(told == created, || format!("created {told:?}, not {created:?}"))?;
                let revision = written.iter().map(|w| w.revision.0).max().unwrap_or_default();
                if diff != Diff::Keep {
                    let last = self.tree.revision;
                    let is_next =
                        if self.regions != 0 { revision > last } else { revision == last + 1 };
                    ensure(is_next, || format!("revision {revision} after {last}"))?;
                    self.tree.apply(&diff, revision);
                } else {
                    ensure(revision <= self.tree.revision, || {
                        format!("revision {revision}, and nothing has changed")
                    })?;
                }
                written
            }
        };
        for (Writing { path, .. }, written) in commit.writes.iter().zip(written) {
            if let Some(changed) = self.tree.changed.get(&model::key(path)) {
                let given = written.revision.0;
                ensure(given == *changed, || {
                    format!("the ETag of {} says {given}, and it changed at {changed}", show(path))
                })?;
            }
            self.told(written.revision);
            self.etag(path, written.revision);
        }
        Ok(())
    }

    pub(super) fn told(&mut self, revision: Revision) {
        self.newest = self.newest.max(revision.0);
    }

    pub(super) fn etag(&mut self, path: &[String], revision: Revision) {
        if self.etags.len() >= 200 {
            self.etags.swap_remove(self.now as usize % 200);
        }
        self.etags.push((path.to_vec(), self.cursor(revision.0)));
    }

    /// Does some of the work that commits have left.
    pub(super) fn work(&mut self) {
        let Some(server) = &mut self.server else { return };
        if server.engine.has_work() {
            drop(server.engine.work());
            self.report.count("steps of work");
            self.wake();
        }
    }

    pub(super) fn wake(&mut self) {
        let Some(server) = &mut self.server else { return };
        let woken = server.engine.take_woken();
        self.awaken(&woken);
    }

    /// Notes that sessions have something to send.
    pub(super) fn awaken(&mut self, woken: &[SessionId]) {
        for connection in self.clients.iter_mut().filter_map(|c| c.connection.as_mut()) {
            connection.is_awake |= woken.contains(&connection.session);
        }
    }

    /// The next frame of a session whose reader takes turn after turn.
    pub(super) fn next(&mut self, session: SessionId) -> Option<Update> {
        let tick = self.tick();
        loop {
            let engine = &mut self.server().engine;
            let update = engine.next(session, tick);
            let woken = engine.take_woken();
            self.awaken(&woken);
            if update.is_some() || !woken.contains(&session) {
                return update;
            }
        }
    }
}
