//! Readers: links, the frames that they are sent over a slow network, and the state that they have
//! to hold then.

use halfping_engine::{Cursor, Epoch, Priority, Watch};
use serde_json::Value;

use super::{CURSORS, Known, Outcome, Server, World, check_mirror, ensure, path_of};
use crate::client::{Connection, Link, Message, Sent, Spoken, Synced};
use crate::model::{self, Seen, is_own};
use crate::script::{Watching, brief, show};

impl World {
    pub(super) fn connect(&mut self, number: usize) -> Outcome {
        if self.clients[number].connection.is_some() {
            return Ok(());
        }
        let session = self.server().engine.open();
        let client = &mut self.clients[number];
        client.connection = Some(Connection { session, pipe: Default::default(), is_awake: false });
        // Some follow each link by its own cursor, as streams do; others all links by one, as
        // sessions do.
        let is_stream = number % 2 == 1;
        let common = client.synced;
        let mut watches = Vec::new();
        for (tag, link) in &mut client.links {
            self.generations += 1;
            link.generation = self.generations;
            let own = if is_stream { link.cursor } else { common.filter(|_| link.is_covered) };
            let since = own.filter(|_| !link.is_broken && link.value.is_some());
            match since {
                None => {
                    link.value = None;
                    (link.cursor, link.is_lenient) = (None, false);
                    // It may get a frame that others have, of an older state in which the view
                    // was the same.
                    link.newest = link.newest.filter(|_| link.view == 0);
                }
                Some(cursor) if cursor.epoch != Epoch::from_random(self.epoch) => {
                    self.report.count("resumed, other epoch");
                    link.is_lenient = true;
                }
                Some(_) => link.is_lenient = link.is_ahead || link.is_incomplete || !is_stream,
            }
            (link.is_incomplete, link.is_broken, link.is_covered) = (false, false, false);
            watches.push((*tag, link.clone(), since));
        }
        for (tag, link, since) in watches {
            self.open_link(session, tag, &link, since)?;
        }
        self.wake();
        Ok(())
    }

    pub(super) fn open_link(
        &mut self,
        session: halfping_engine::SessionId,
        tag: u32,
        link: &Link,
        since: Option<Cursor>,
    ) -> Outcome {
        let watch = Watch {
            since,
            view: model::view_of(link.view),
            depth: link.depth,
            whole: link.whole,
            interval_ms: link.interval_ms,
            priority: Priority::new(link.priority).unwrap_or_default(),
            ..Watch::new(path_of(&link.path))
        };
        self.has_rankings |= model::is_ranked(link.view);
        if is_own(&link.path) {
            self.unsent.insert(link.generation);
        }
        let opened = self.server().engine.watch(session, tag, &watch);
        ensure(opened, || format!("tag {tag} is said to be taken"))
    }

    pub(super) fn watch(&mut self, number: usize, watching: &Watching) -> Outcome {
        self.connect(number)?;
        self.unwatch_tag(number, watching.tag)?;
        self.generations += 1;
        let mut link = Link {
            depth: watching.depth,
            view: watching.view,
            whole: watching.whole,
            interval_ms: watching.interval_ms,
            priority: watching.priority,
            ..Link::new(self.generations, watching.path.clone())
        };
        let known = watching.since.and_then(|nth| self.known.get(nth % self.known.len().max(1)));
        if let Some(known) = known {
            (link.path, link.depth) = (known.path.clone(), known.depth);
            link.view = known.view;
            (link.value, link.cursor) = (Some(known.value.clone()), Some(known.cursor));
            link.is_lenient = known.is_later;
        }
        let since = link.cursor;
        let Some(connection) = &self.clients[number].connection else { return Ok(()) };
        let session = connection.session;
        self.open_link(session, watching.tag, &link, since)?;
        self.clients[number].links.insert(watching.tag, link);
        self.wake();
        Ok(())
    }

    pub(super) fn unwatch(&mut self, number: usize, nth: usize) -> Outcome {
        let tags: Vec<u32> = self.clients[number].links.keys().copied().collect();
        match tags.get(nth % tags.len().max(1)) {
            Some(tag) => self.unwatch_tag(number, *tag),
            None => Ok(()),
        }
    }

    pub(super) fn unwatch_tag(&mut self, number: usize, tag: u32) -> Outcome {
        if self.clients[number].links.remove(&tag).is_none() {
            return Ok(());
        }
        let Some(connection) = &self.clients[number].connection else { return Ok(()) };
        let session = connection.session;
        let ended = self.server().engine.unwatch(session, tag);
        ensure(ended, || format!("tag {tag} is said not to be there"))
    }

    pub(super) fn cut(&mut self, number: usize) {
        if let Some(connection) = self.clients[number].connection.take() {
            self.server().engine.close(connection.session);
        }
    }

    /// Makes a message. True if there was anything to send.
    pub(super) fn send(&mut self, number: usize, frames_max: usize) -> Result<bool, String> {
        let (window, tick, epoch) =
            (self.settings.window, self.tick(), Epoch::from_random(self.epoch));
        let own_epoch = self.own_cursor(1).epoch;
        let client = &mut self.clients[number];
        let Some(connection) = &mut client.connection else { return Ok(false) };
        let Some(Server { engine, .. }) = &mut self.server else { return Ok(false) };
        let on_their_way: usize = connection.pipe.iter().map(|m| m.left).sum();
        let is_due = engine.due(connection.session).is_some_and(|due| due <= tick);
        if on_their_way >= window || !(connection.is_awake || is_due) {
            return Ok(false);
        }
        connection.is_awake = true;
        let mut frames = Vec::new();
        let mut newest = self.newest;
        let mut is_done = false;
        while frames.len() < frames_max {
            let Some(update) = engine.next(connection.session, tick) else {
                is_done = true;
                break;
            };
            let Some(link) = client.links.get(&update.tag) else {
                return Err(format!("a frame for tag {}, which is not watched", update.tag));
            };
            let frame = update.frame.map_err(|refusal| refusal.to_string())?;
            let cursor = frame.cursor();
            let body: Value = serde_json::from_slice(&frame.body).map_err(|e| e.to_string())?;
            self.report.count(if cursor.is_some() { frame.kind.name() } else { "slices" });
            let is_own = is_own(&link.path);
            ensure(frame.epoch == if is_own { own_epoch } else { epoch }, || {
                format!("a frame of {} has the cursor {cursor:?}", show(&link.path))
            })?;
            let is_whole = matches!(frame.kind.name(), "snapshot" | "gone");
            ensure(!self.unsent.remove(&link.generation) || is_whole, || {
                format!("{} begins with a {}", show(&link.path), frame.kind.name())
            })?;
            if let Some(revision) = frame.revision {
                if !is_own {
                    newest = newest.max(revision.0);
                }
                if let Some(changed) = self.tree.changed.get(&model::key(&link.path)) {
                    // What a view hides may have changed since a frame was made that others have.
                    let is_hidden = link.view > 0 && revision.0 < *changed;
                    ensure(*changed == revision.0 || is_hidden, || {
                        format!(
                            "a frame of {} leads to {revision:?}; it changed at {changed}",
                            show(&link.path)
                        )
                    })?;
                }
                let last = if is_own { self.own_revision } else { self.tree.revision };
                ensure(revision.0 <= last, || format!("a frame leads to {revision:?}"))?;
                ensure(frame.time.0 <= self.read, || {
                    format!("a frame of the time {:?}", frame.time)
                })?;
            }
            ensure(!link.whole || is_whole, || {
                format!("a {} for a link of whole values", frame.kind.name())
            })?;
            if self.is_told {
                println!("   tag {} {} {} {cursor:?}", update.tag, frame.kind.name(), brief(&body));
            }
            frames.push(Sent {
                tag: update.tag,
                generation: link.generation,
                kind: frame.kind,
                body,
                cursor,
            });
        }
        let mut synced = None;
        let woken = engine.take_woken();
        // Its turn is over; if it has not been told everything, it is woken.
        is_done &= !woken.contains(&connection.session);
        if is_done {
            connection.is_awake = false;
        }
        // A session with nothing left to tell may still have a link that is not marked. It is woken
        // when all are.
        let is_synced = is_done && engine.is_synced(connection.session);
        ensure(is_synced || !is_done || engine.has_work(), || {
            "nothing is left, and it is not synced".to_owned()
        })?;
        if is_synced {
            let revision = engine.resume_point(connection.session);
            let waits = engine.due(connection.session).is_some();
            // Only a link into the tree holds back what resumes the tree.
            let has_rate = |link: &Link| link.interval_ms > 0 && !is_own(&link.path);
            let is_held_back = waits && client.links.values().any(has_rate);
            ensure(
                if is_held_back {
                    revision.0 <= self.tree.revision
                } else {
                    revision.0 == self.tree.revision
                },
                || format!("synced at {revision:?}, waiting {waits}"),
            )?;
            newest = newest.max(revision.0);
            let links = client.links.iter().map(|(tag, link)| Spoken {
                tag: *tag,
                generation: link.generation,
                is_newest: !waits || link.interval_ms == 0,
            });
            synced = Some(Synced { cursor: Cursor { epoch, revision }, links: links.collect() });
        }
        self.newest = newest;
        let left = 20 + frames.iter().map(|f| f.body.to_string().len() + 20).sum::<usize>();
        let seen = Seen { root: self.tree.root.clone(), own: self.own.clone() };
        connection.pipe.push_back(Message { frames, seen, synced, left });
        self.awaken(&woken);
        self.report.steps += 1;
        Ok(true)
    }

    pub(super) fn arrive(&mut self, number: usize, bytes: usize) -> Outcome {
        let mut bytes = bytes;
        loop {
            let Some(connection) = &mut self.clients[number].connection else { return Ok(()) };
            let Some(message) = connection.pipe.front_mut() else { return Ok(()) };
            if message.left > bytes {
                message.left -= bytes;
                return Ok(());
            }
            bytes -= message.left;
            let Some(message) = connection.pipe.pop_front() else { return Ok(()) };
            self.take(number, &message).map_err(|what| format!("client {number}: {what}"))?;
        }
    }

    pub(super) fn take(&mut self, number: usize, message: &Message) -> Outcome {
        let keeps_nulls = self.mutant == "client-keeps-nulls";
        let client = &mut self.clients[number];
        let mut learned = Vec::new();
        for sent in &message.frames {
            let Some(link) =
                client.links.get_mut(&sent.tag).filter(|l| l.generation == sent.generation)
            else {
                continue;
            };
            link.apply(sent, keeps_nulls)
                .map_err(|what| format!("{}: {what}", show(&link.path)))?;
            if let Some(cursor) = sent.cursor {
                check_mirror(link, &message.seen)?;
                (link.cursor, link.is_ahead) = (Some(cursor), false);
                learned.push((cursor, link.clone(), false));
            }
        }
        if let Some(Synced { cursor, links }) = &message.synced {
            for Spoken { tag, generation, is_newest } in links {
                let Some(link) = client.links.get_mut(tag).filter(|l| l.generation == *generation)
                else {
                    continue;
                };
                link.is_covered = true;
                if !is_newest {
                    // It has the state of its last turn, which the cursor stands for as well.
                    ensure(link.value.is_some(), || {
                        format!("synced at {cursor} without {}", show(&link.path))
                    })?;
                    continue;
                }
                check_mirror(link, &message.seen)
                    .map_err(|what| format!("synced at {cursor}: {what}"))?;
                if link
                    .cursor
                    .is_none_or(|c| c.epoch != cursor.epoch || c.revision <= cursor.revision)
                {
                    (link.cursor, link.is_ahead) = (Some(*cursor), false);
                    learned.push((*cursor, link.clone(), false));
                }
            }
            client.synced = Some(*cursor);
        }
        for (cursor, link, is_later) in learned {
            self.learn(cursor, &link, is_later);
        }
        Ok(())
    }

    pub(super) fn learn(&mut self, cursor: Cursor, link: &Link, is_later: bool) {
        let Some(value) = link.value.clone() else { return };
        let (path, depth, view) = (link.path.clone(), link.depth, link.view);
        let known = Known { cursor, path, depth, view, value, is_later };
        if self.known.len() < CURSORS {
            self.known.push(known);
        } else {
            // Old ones stay, now and then.
            let place = (cursor.revision.0 as usize)
                .wrapping_mul(7)
                .wrapping_add(self.report.steps as usize)
                % (2 * CURSORS);
            if place < CURSORS {
                self.known[place] = known;
            }
        }
    }
}
