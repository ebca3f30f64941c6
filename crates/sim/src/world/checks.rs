//! Checks that must hold after each step, and when all is at rest.

use serde_json::Value;

use super::{
    FRAMES, Outcome, Server, World, check_mirror, difference, ensure, most_members, path_of,
    show_value,
};
use crate::client::{Link, Sent};
use crate::model::{self, Names, is_own};
use crate::script::{CLIENTS, Fate, show};

impl World {
    pub(super) fn read(&mut self, path: &Names) -> Outcome {
        let Some(Server { engine, .. }) = &self.server else { return Ok(()) };
        let reading = engine.read(&path_of(path), u32::MAX).map_err(|e| e.to_string())?;
        let theirs = reading.value.map(|v| serde_json::from_slice::<Value>(&v)).transpose();
        let theirs = theirs.map_err(|e| e.to_string())?;
        let ours = model::at(&self.tree.root, path);
        ensure(ours == theirs.as_ref(), || {
            format!("{} reads {}", show(path), difference(ours, theirs.as_ref()))
        })?;
        let revision = reading.revision;
        ensure(revision.0 <= self.tree.revision, || {
            format!("a cursor of the future: {revision:?}")
        })?;
        if let Some(changed) = self.tree.changed.get(&model::key(path)) {
            ensure(*changed == revision.0, || {
                format!("{} changed at {changed}, and says {revision:?}", show(path))
            })?;
        }
        self.told(revision);
        self.etag(path, revision);
        Ok(())
    }

    /// Resumes with a cursor. Its reader has the value that it had then, or, if there is one, a
    /// later state of the same.
    pub(super) fn probe(&mut self, cursor: usize, value: usize) -> Outcome {
        let count = self.known.len().max(1);
        let Some(known) = self.known.get(cursor % count).cloned() else { return Ok(()) };
        let later = self.known.get(value % count).filter(|later| {
            (&later.path, later.depth, later.view) == (&known.path, known.depth, known.view)
                && later.cursor.epoch == known.cursor.epoch
                && later.cursor.revision > known.cursor.revision
        });
        let is_later = later.is_some() || known.is_later;
        self.report.count(if is_later { "probes, later value" } else { "probes" });
        let has = later.map_or(known.value.clone(), |later| later.value.clone());
        let mut link = Link {
            depth: known.depth,
            view: known.view,
            value: Some(has.clone()),
            cursor: Some(known.cursor),
            is_lenient: is_later,
            newest: Some(known.cursor),
            ..Link::new(0, known.path.clone())
        };
        let session = self.server().engine.open();
        self.open_link(session, 0, &link, Some(known.cursor))?;
        let mut must_be_whole = is_own(&known.path);
        let told = |what: String| {
            format!(
                "a reader of {} resumes with {} and {}: {what}",
                show(&known.path),
                known.cursor,
                show_value(has.as_ref())
            )
        };
        for _ in 0..FRAMES {
            let Some(update) = self.next(session) else {
                check_mirror(&link, &self.seen()).map_err(told)?;
                ensure(!must_be_whole, || told("nothing is sent".to_owned()))?;
                self.server().engine.close(session);
                self.wake();
                self.report.steps += 1;
                return Ok(());
            };
            let frame = update.frame.map_err(|refusal| refusal.to_string())?;
            let body: Value = serde_json::from_slice(&frame.body).map_err(|e| e.to_string())?;
            let is_whole = matches!(frame.kind.name(), "snapshot" | "gone");
            ensure(!std::mem::take(&mut must_be_whole) || is_whole, || {
                told(format!("it begins with a {}", frame.kind.name()))
            })?;
            let cursor = frame.cursor();
            let sent = Sent { tag: 0, generation: 0, kind: frame.kind, body, cursor };
            link.apply(&sent, false).map_err(told)?;
        }
        Err(told("there is no end of frames".to_owned()))
    }

    /// Delivers everything; then every client has the current state.
    pub(super) fn rest(&mut self) -> Outcome {
        while self.server().engine.has_work() {
            self.work();
        }
        for number in 0..CLIENTS {
            for round in 0.. {
                ensure(round < FRAMES, || "there is no end of messages".to_owned())?;
                self.arrive(number, 1 << 30)?;
                if self.send(number, 16)? {
                    continue;
                }
                let Some(connection) = &self.clients[number].connection else { break };
                let session = connection.session;
                match self.server().engine.due(session) {
                    Some(due) => self.now = self.now.max(due.0),
                    None => break,
                }
            }
            let seen = self.seen();
            self.clients[number]
                .links
                .values()
                .filter(|_| self.clients[number].connection.is_some())
                .try_for_each(|link| {
                    check_mirror(link, &seen)
                        .map_err(|what| format!("client {number}, at rest: {what}"))
                })?;
        }
        self.read(&Vec::new())
    }

    /// Checks what holds after each step.
    pub(super) fn check(&mut self) -> Outcome {
        let connections = self.clients.iter().filter(|client| client.connection.is_some());
        let links: usize = connections.clone().map(|client| client.links.len()).sum();
        let sessions = connections.count();
        let Some(Server { engine, .. }) = &self.server else { return Ok(()) };
        let stats = engine.stats();
        ensure((stats.sessions, stats.links) == (sessions, links), || {
            format!(
                "{} sessions and {} links, not {sessions} and {links}",
                stats.sessions, stats.links
            )
        })?;
        let is_kept = stats.places == 0 || self.has_rankings;
        ensure(links > 0 || stats.views == 0 && is_kept, || {
            format!("{} places and {} views without a link", stats.places, stats.views)
        })?;
        ensure(stats.revision.0 == self.tree.revision, || {
            format!("the tree is at {:?}, not {}", stats.revision, self.tree.revision)
        })?;
        let is_escaped = |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}');
        let text = self.tree.root.to_string();
        // PROTOCOL V6: such a character takes six bytes.
        let bytes = text.len()
            + text.chars().filter(|c| is_escaped(*c)).map(|c| 6 - c.len_utf8()).sum::<usize>();
        ensure(stats.tree_bytes == bytes, || format!("{} bytes, not {bytes}", stats.tree_bytes))?;
        let (limits, most) = (&self.settings.limits, most_members(&self.tree.root));
        ensure(bytes <= limits.tree_bytes.max(2), || format!("{bytes} bytes, and {limits:?}"))?;
        ensure(most <= limits.members_per_object, || format!("{most} members of one object"))?;
        self.check_tombstones()
    }

    pub(super) fn check_tombstones(&self) -> Outcome {
        let Some(Server { engine, .. }) = &self.server else { return Ok(()) };
        let tombstones = engine.stats().tombstones;
        // Ephemeral members that were lost get tombstones whatever the bound.
        ensure(self.settings.regions != 0 || tombstones <= self.settings.limits.tombstones, || {
            format!("{tombstones} tombstones")
        })
    }

    pub(super) fn finish(&mut self) -> Outcome {
        self.rest()?;
        self.stop(None, Fate::Works)?;
        (0..CLIENTS).try_for_each(|client| self.connect(client))?;
        self.rest()
    }
}
