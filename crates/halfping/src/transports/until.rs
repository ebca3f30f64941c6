//! A stream of frames whose reader's identity may end before it does (PROTOCOL I17).

use std::ops::ControlFlow;
use std::sync::{Arc, Weak};
use std::task::Context;

use halfping_engine::{Cursor, Path, Tick, Watch};

use super::body::{Chunk, Source, Stream};
use super::encoding::Style;
use super::frames::Frames;
use crate::access::{Allowed, Follower};
use crate::auth::reason;
use crate::delivery::Deliver;
use crate::hub::{Shared, Subscription};

/// The frames, and who may have them. A type of its own, so that streams of readers who are not told
/// apart are as small as they can be.
pub(crate) struct Until {
    frames: Frames,
    follower: Follower,
    /// The paths of its links, in order; `None` of one that shows only what its reader may see.
    paths: Vec<Option<Path>>,
}

impl Stream<Until> {
    /// A stream of frames for a reader whose identity may end.
    pub(crate) fn until(
        subscription: Subscription,
        style: Style,
        since: Option<Cursor>,
        follower: Follower,
        watches: &[Allowed<Watch>],
    ) -> Self {
        let format = style.format;
        let is_in_sight =
            |watch: &Watch| watch.view.as_ref().is_some_and(|view| view.is_in_sight());
        let whole = |watch: &Allowed<Watch>| (!is_in_sight(watch)).then(|| watch.path.clone());
        let paths = watches.iter().map(whole).collect();
        let partial = follower.partial();
        let frames = Frames::new(subscription, style, since, partial);
        Stream::new(Until { frames, follower, paths }, format)
    }
}

impl Until {
    /// Writes the problem with which the stream ends, if its reader's identity is over and nobody
    /// may have all that it shows.
    fn end(&mut self, chunk: &mut Chunk) -> ControlFlow<()> {
        let Some(why) = self.follower.ended() else { return ControlFlow::Continue(()) };
        let auth_timeout_ms = self.shared().limits.auth_timeout_ms;
        let rights =
            self.follower.rights().and_then(|rights| rights.of_next(None, auth_timeout_ms).ok());
        if let Some(rights) = rights {
            self.follower.take_rights(rights);
        }
        let mut paths = self.paths.iter().zip(0..);
        let may_go_on = |path: &Path| self.follower.may_go_on(path).is_ok();
        match paths.find(|(path, _)| !path.as_ref().is_some_and(may_go_on)) {
            None => ControlFlow::Continue(()),
            Some((_, link)) => {
                let problem = reason(why);
                self.shared().metrics.refused(&problem);
                self.frames.refuse(link, &problem, chunk);
                ControlFlow::Break(())
            }
        }
    }
}

impl Source for Until {
    fn shared(&self) -> &Arc<Shared> {
        self.frames.shared()
    }

    fn deliver_to(&self, reader: Weak<dyn Deliver>) {
        self.frames.deliver_to(reader);
    }

    fn fill(&mut self, cx: &mut Context<'_>, chunk: &mut Chunk) -> ControlFlow<()> {
        self.end(chunk)?;
        self.frames.fill(cx, chunk)
    }

    fn due(&self) -> Option<Tick> {
        let ends = self.follower.lasts().map(|left| self.shared().clock.tick_in(left));
        self.frames.due().into_iter().chain(ends).min()
    }

    fn look_again(&mut self) {
        self.frames.look_again();
    }

    fn repeat_synced(&mut self, cx: &mut Context<'_>, chunk: &mut Chunk) {
        self.frames.repeat_synced(cx, chunk);
    }
}
